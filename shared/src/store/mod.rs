//! Flows and secrets in DynamoDB: one head each, one listing row per owner, every write conditional.

mod item;
mod keys;
mod list;
mod retry;
mod secrets;

use std::collections::{BTreeSet, HashMap};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};

use crate::config::{self, ConfigError};
use crate::flow::{Actor, Fault, Flow, FlowId, SecretId, Timestamp};
use item::Row;

pub use item::{Head, Tombstone, read_head};
pub use keys::Kind;
pub use list::{FlowPage, ListFilter, ListOrder, ListQuery, Paging, Position, Scope, SortKey};
pub use retry::client_config;
pub(crate) use secrets::Unsettled;
pub use secrets::{
    SecretHead, SecretPage, SecretPaging, SecretQuery, SecretRead, read_secret_head, read_secret_read,
};

/// Flows that wait, of each shard, in one call.
const MAX_UNCONFIRMED: i32 = 100;
/// A transaction takes 4 MB; a head may be 400 KB of it.
const MAX_ROWS_BYTES: usize = 3 * 1024 * 1024;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// Why a flow could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Throttled, in conflict or out of reach; a later attempt may succeed. Nothing was half-written.
    #[error("the table is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The flow takes up secrets that there are not, or that its user may not use.
    #[error("the flow takes up secrets that are not known")]
    UnknownSecrets(Vec<Fault>),
    /// The flow does not fit an item.
    #[error("the flow is too large")]
    TooLarge,
    /// A page of flows does not fit an answer.
    #[error("the page is too large")]
    PageTooLarge,
    /// An item is not what this version writes.
    #[error("an item cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The call is wrong or not allowed: no attempt will succeed.
    #[error("the table refuses the call")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What to do with a flow.
pub enum Change {
    /// Leave it as it is.
    Keep,
    /// Store this state of it.
    Save(Box<Flow>),
    /// Delete it, in the name of this actor.
    Delete(Actor),
}

impl From<Option<Flow>> for Change {
    fn from(next: Option<Flow>) -> Self {
        next.map_or(Self::Keep, |next| Self::Save(Box::new(next)))
    }
}

/// The table.
#[derive(Clone)]
pub struct Store {
    client: Client,
    table: String,
}

/// What became of a transaction.
enum Written {
    Yes,
    /// Nothing of it was done, because of these of its writes, with the newest states of their items.
    Refused(Vec<(usize, Option<Item>)>),
}

enum Committed {
    Yes,
    /// Somebody was faster; this is what they left.
    Overtaken(Option<Box<Flow>>),
}

impl Store {
    /// The table of this name, through a client of its own.
    #[must_use]
    pub fn new(aws: &SdkConfig, table: String) -> Self {
        Self::with_client(Client::from_conf(client_config(aws).build()), table)
    }

    /// The table of this name, through this client: see [`client_config`].
    #[must_use]
    pub const fn with_client(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The table of this process's settings.
    ///
    /// # Errors
    /// When a setting is missing.
    pub async fn from_env() -> Result<Self, ConfigError> {
        Ok(Self::new(&config::aws().await, config::environment().table_name()?))
    }

    /// The flow, if there is one. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, id: FlowId) -> Result<Option<Flow>, Error> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(item::head_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(error)?;
        Ok(output.item.map(read_head).transpose()?.and_then(Head::live))
    }

    /// Stores a new flow. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn insert(&self, flow: &Flow) -> Result<(), Error> {
        match self.commit(None, item::live_item(flow)?, Some(flow)).await? {
            Committed::Yes => Ok(()),
            Committed::Overtaken(_) => Err(Error::Unavailable("the id is taken".into())),
        }
    }

    /// Reads a flow, lets `decide` say what to do with it, and does that on the condition that
    /// nothing has changed since. When something has, `decide` is asked again with the newer state.
    /// Two calls, one when there is nothing to do. Gives the state the flow is left in.
    ///
    /// # Errors
    /// What `decide` says, or see [`Error`].
    pub async fn change<E: From<Error>>(
        &self,
        id: FlowId,
        mut decide: impl FnMut(Option<&Flow>) -> Result<Change, E> + Send,
    ) -> Result<Option<Flow>, E> {
        let mut seen = self.get(id).await?;
        loop {
            let change = decide(seen.as_ref())?;
            let Some(flow) = seen else { return Ok(None) };
            let (head, next) = match change {
                Change::Keep => return Ok(Some(flow)),
                Change::Save(next) => (item::live_item(&next)?, Some(*next)),
                Change::Delete(actor) => {
                    (item::tombstone_item(&Tombstone::of(flow.id, flow.sequence, actor))?, None)
                }
            };
            match self.commit(Some(&flow), head, next.as_ref()).await? {
                Committed::Yes => return Ok(next),
                Committed::Overtaken(newer) => seen = newer.map(|flow| *flow),
            }
        }
    }

    /// Writes a head and what it changes of the listing rows, all or nothing, if the flow is still
    /// as it was `before` and whoever made it may use the secrets that it takes up.
    async fn commit(
        &self,
        before: Option<&Flow>,
        head: Item,
        after: Option<&Flow>,
    ) -> Result<Committed, Error> {
        let put = || Put::builder().table_name(&self.table);
        let head_put = put().set_item(Some(head));
        let head_put = match before {
            None => head_put.condition_expression("attribute_not_exists(pk)"),
            // The sequence counts every change, so this holds ownership, status and document still.
            Some(before) => head_put
                .condition_expression("#sequence = :seen")
                .expression_attribute_names("#sequence", "sequence")
                .expression_attribute_values(":seen", AttributeValue::N(before.sequence.to_string())),
        };
        let head_put =
            head_put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut writes = vec![TransactWriteItem::builder().put(head_put.build().map_err(refused)?).build()];
        let secrets = after.map(|flow| flow.secrets_taken_up(before)).unwrap_or_default();
        for (id, flow) in secrets.iter().zip(std::iter::repeat(after).flatten()) {
            writes.push(self.check_secret(*id, &flow.actor)?);
        }
        let rows = after.map(Row::all_of).unwrap_or_default();
        let old_rows = before.map(Row::all_of).unwrap_or_default();
        let gone = || old_rows.iter().filter(|old| !rows.iter().any(|row| row.pk == old.pk));
        if rows.iter().chain(gone()).map(Row::size).sum::<usize>() > MAX_ROWS_BYTES {
            return Err(Error::TooLarge);
        }
        for row in rows.iter().filter(|row| !old_rows.contains(row)) {
            let put = put().set_item(Some(row.item()?)).build().map_err(refused)?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        for row in gone() {
            let delete = Delete::builder()
                .table_name(&self.table)
                .set_key(Some(row.key()))
                .build()
                .map_err(refused)?;
            writes.push(TransactWriteItem::builder().delete(delete).build());
        }
        match self.write(writes).await? {
            Written::Yes => Ok(Committed::Yes),
            Written::Refused(mut refused) => match refused.iter().position(|(place, _)| *place == 0) {
                Some(head) => {
                    let newer = refused.swap_remove(head).1;
                    let newer = newer.map(read_head).transpose()?.and_then(Head::live);
                    Ok(Committed::Overtaken(newer.map(Box::new)))
                }
                // Only what is there afterwards has secrets to check.
                None => Err(match after {
                    Some(after) => refused_secrets(before, after, &secrets, refused),
                    None => Error::Unavailable("a condition failed that was not set".into()),
                }),
            },
        }
    }

    /// A question to one partition, whose answer has all that was written before it.
    fn query(&self, partition: String) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(partition))
            .consistent_read(true)
    }

    /// Does all of these writes or none.
    async fn write(&self, writes: Vec<TransactWriteItem>) -> Result<Written, Error> {
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(Written::Yes),
            Err(failure) => {
                let failed = retry::failed_conditions(failure.as_service_error());
                if !failed.is_empty() {
                    Ok(Written::Refused(failed))
                } else if retry::is_invalid(failure.as_service_error()) {
                    Err(Error::Refused(failure.into()))
                } else {
                    Err(error(failure))
                }
            }
        }
    }

    /// The flows that have this owner, in order of their ids, from after `after` on; at most `limit`.
    /// One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ids_of_owner(
        &self,
        owner: &str,
        after: Option<FlowId>,
        limit: i32,
    ) -> Result<Vec<FlowId>, Error> {
        let partition = keys::Partition::Owner(owner.into());
        let output = self
            .query(partition.key())
            .projection_expression("pk, sk")
            .set_exclusive_start_key(after.map(|id| partition.position(id)))
            .limit(limit)
            .send()
            .await
            .map_err(error)?;
        let rows = output.items.unwrap_or_default().into_iter().map(item::read::<Row>);
        rows.map(|row| row.map(|row| row.sk)).collect()
    }

    /// Some flows that wait for a start or stop to be confirmed that was announced before this time: the
    /// first hundred of each shard. One call a shard.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unconfirmed(&self, announced_before: Timestamp) -> Result<Vec<FlowId>, Error> {
        #[derive(serde::Deserialize)]
        struct Key {
            pk: String,
        }

        let shards = keys::Partition::all_shards().map(|shard| async move {
            let call = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(keys::UNCONFIRMED)
                .key_condition_expression("unconfirmed = :shard AND announcedAt < :before")
                .expression_attribute_values(":shard", AttributeValue::S(shard.key()))
                .expression_attribute_values(
                    ":before",
                    AttributeValue::N(announced_before.millis().to_string()),
                )
                .limit(MAX_UNCONFIRMED);
            call.send().await.map_err(error)
        });
        let mut ids = Vec::new();
        for output in futures_util::future::try_join_all(shards).await? {
            for item in output.items.unwrap_or_default() {
                let key: Key = item::read(item)?;
                ids.extend(keys::flow_of(&key.pk));
            }
        }
        Ok(ids)
    }

    /// Asks the table for an item that is never there.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn ping(&self) -> Result<(), Error> {
        let key = |text: &str| AttributeValue::S(text.into());
        let call =
            self.client.get_item().table_name(&self.table).key("pk", key("PING")).key("sk", key("PING"));
        call.send().await.map(drop).map_err(error)
    }
}

/// Sorts the failure of any call by whether a later attempt may succeed.
fn error<E>(failure: SdkError<E>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let passing = |service: &E| service.code().is_some_and(|code| retry::PASSING.contains(&code));
    let is_5xx = failure.raw_response().is_some_and(|response| response.status().is_server_error());
    let retryable = match failure.as_service_error() {
        Some(service) => is_5xx || passing(service),
        None => !matches!(failure, SdkError::ConstructionFailure(_)),
    };
    if retryable { Error::Unavailable(failure.into()) } else { Error::Refused(failure.into()) }
}

/// Whether a write of one item passed its condition.
fn passed<T, E>(result: Result<T, SdkError<E>>) -> Result<bool, Error>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(true),
        Err(failure) if failure.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(failure) => Err(error(failure)),
    }
}

/// Why a flow may not take up secrets whose checks failed; the checks come after the head.
fn refused_secrets(
    before: Option<&Flow>,
    after: &Flow,
    secrets: &BTreeSet<SecretId>,
    failed: Vec<(usize, Option<Item>)>,
) -> Error {
    let mut unknown = BTreeSet::new();
    for (place, secret) in failed {
        match secrets::is_held(secret, &after.actor) {
            Ok(false) => unknown.extend(place.checked_sub(1).and_then(|place| secrets.iter().nth(place))),
            Ok(true) => return Error::Unavailable("a secret is being deleted".into()),
            Err(error) => return error,
        }
    }
    Error::UnknownSecrets(after.unknown_secrets(before, &unknown))
}

fn refused(failure: aws_sdk_dynamodb::error::BuildError) -> Error {
    Error::Refused(failure.into())
}
