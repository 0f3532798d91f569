//! Flows and secrets in DynamoDB: one head each, one listing row per owner, every write conditional.

mod gone;
mod item;
mod keys;
mod list;
mod packing;
mod receipt;
mod retry;
mod secrets;
mod size;
mod update;
mod versions;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};

use crate::config::{self, Config, ConfigError};
use crate::flow::{Actor, Fault, Flow, FlowId, SecretId, ShownDocument, StoredDocument, Timestamp};
use crate::identity::OwnerKey;
use crate::limits::{DYNAMODB_ITEM_BYTES, DYNAMODB_TRANSACTION_BYTES};
use item::Row;

pub use gone::Leaving;
pub use item::{Head, Tombstone, read_head};
pub use keys::{Kind, flow_of_key};
pub use list::{FlowPage, ListFilter, ListOrder, ListQuery, Paging, Position, Scope, SortKey};
pub use receipt::{Receipt, ReceiptKey, StoredAnswer};
pub use retry::client_config;
pub(crate) use retry::pause;
pub(crate) use secrets::{Hold, Unsettled};
pub use secrets::{
    SecretHead, SecretPage, SecretPaging, SecretQuery, SecretRead, read_secret_head, read_secret_read,
};
pub use versions::{Version, VersionPage};

/// Flows that wait, of each shard, in one call.
const MAX_UNCONFIRMED: i32 = 100;
/// A transaction takes 4 MB; a head, the document that it replaces and a receipt may be 1.2 MB of it.
const MAX_ROWS_BYTES: usize = 2560 * 1024;
const _: () = assert!(MAX_ROWS_BYTES + 3 * DYNAMODB_ITEM_BYTES <= DYNAMODB_TRANSACTION_BYTES);

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
    /// Users or tenants were to become owners that have been deleted. Secrets that are not known are told with
    /// it.
    #[error("an owner has been deleted")]
    OwnersGone(Vec<Fault>),
    /// The flow does not fit an item.
    #[error("the flow is too large")]
    TooLarge,
    /// The same request has been answered meanwhile; with this.
    #[error("the request has been answered")]
    Answered(Box<StoredAnswer>),
    /// Another request has been answered under the same key.
    #[error("the key belongs to another request")]
    KeyReused,
    /// The same request is under way.
    #[error("the request is under way")]
    UnderWay,
    /// A flow has the id, or what belonged to one that is being erased.
    #[error("the id is taken")]
    Taken(Option<Box<Flow>>),
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
    /// Leave it as it is, and give it with these notes.
    Note(Box<Flow>),
    /// Store this state of it.
    Save(Box<Flow>),
    /// Erase it for good, in the name of this actor.
    Erase(Actor),
}

impl Change {
    /// From this flow to what a document makes of it.
    #[must_use]
    pub fn between(before: &Flow, next: Option<Flow>) -> Self {
        match next {
            Some(noted) if noted.sequence == before.sequence => Self::Note(Box::new(noted)),
            next => next.into(),
        }
    }

    /// Whether the flow stays as it is.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::Keep | Self::Note(_))
    }
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
    /// How long a version of a flow is kept after it was replaced; none is for ever.
    keep_versions: Option<Duration>,
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
    Overtaken(Option<Box<Head>>),
}

/// A write of a flow's head.
struct Commit<'a> {
    before: Option<&'a Flow>,
    head: Item,
    after: Option<&'a Flow>,
    receipt: Option<&'a Receipt>,
}

impl Store {
    /// The table of these settings, through a client of its own.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub fn open(config: &Config, aws: &SdkConfig) -> Result<Self, ConfigError> {
        let store = Self::with_client(Client::from_conf(client_config(aws).build()), config.table_name()?);
        Ok(store.keeping_versions(config.keep_versions()?))
    }

    /// The table of this name, through this client: see [`client_config`].
    #[must_use]
    pub const fn with_client(client: Client, table: String) -> Self {
        Self { client, table, keep_versions: None }
    }

    /// The same with versions kept for so long after they were replaced; none is for ever.
    #[must_use]
    pub fn keeping_versions(self, keep_versions: Option<Duration>) -> Self {
        Self { keep_versions, ..self }
    }

    /// The table of this process's settings.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::open(&config::environment(), &config::aws()?)
    }

    /// The flow, if there is one. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, id: FlowId) -> Result<Option<Flow>, Error> {
        self.find(id, &Scope::All).await
    }

    /// The flow, if there is one in this scope. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn find(&self, id: FlowId, scope: &Scope) -> Result<Option<Flow>, Error> {
        Ok(self.head(id, scope).await?.and_then(Head::live))
    }

    /// The same only to be shown. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn show(&self, id: FlowId, scope: &Scope) -> Result<Option<Flow<ShownDocument>>, Error> {
        Ok(self.head(id, scope).await?.and_then(Head::live))
    }

    /// The flow, if there is one in this scope, also one that was deleted and can be restored. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn find_any(&self, id: FlowId, scope: &Scope) -> Result<Option<Flow>, Error> {
        Ok(self.head(id, scope).await?.and_then(Head::flow))
    }

    async fn head<D: StoredDocument>(&self, id: FlowId, scope: &Scope) -> Result<Option<Head<D>>, Error> {
        let item = self.item(item::head_key(id)).await?;
        item.filter(|head| scope.contains_head(head)).map(read_head).transpose()
    }

    /// The item of this key as it is now, if there is one. One call.
    async fn item(&self, key: Item) -> Result<Option<Item>, Error> {
        let call = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        Ok(call.send().await.map_err(error)?.item)
    }

    /// Stores a new flow, with a receipt if there is one. Two calls.
    ///
    /// # Errors
    /// [`Error::Taken`] when its id is; else see [`Error`].
    pub async fn insert(&self, flow: &Flow, receipt: Option<&Receipt>) -> Result<(), Error> {
        let commit = Commit { before: None, head: item::next_head(None, flow)?, after: Some(flow), receipt };
        match self.commit(commit).await? {
            Committed::Yes => Ok(()),
            Committed::Overtaken(newer) => {
                Err(Error::Taken(newer.and_then(|newer| newer.live()).map(Box::new)))
            }
        }
    }

    /// Reads a flow, lets `decide` say what to do with it, and does that on the condition that
    /// nothing has changed since. When something has, `decide` is asked again with the newer state.
    /// Two calls, one when there is nothing to do, three when the flow gets owners. Gives the state the flow
    /// is left in.
    ///
    /// # Errors
    /// What `decide` says, or see [`Error`].
    pub async fn change<E: From<Error>>(
        &self,
        id: FlowId,
        decide: impl FnMut(Option<&Flow>) -> Result<Change, E> + Send,
    ) -> Result<Option<Flow>, E> {
        self.change_seen(self.get(id).await?, decide, |_| Ok(None)).await
    }

    /// The same of a flow as it was `seen`, and together with the receipt for the state it is left in.
    ///
    /// # Errors
    /// What `decide` and `receipt` say, or see [`Error`].
    pub async fn change_seen<E: From<Error>>(
        &self,
        seen: Option<Flow>,
        decide: impl FnMut(Option<&Flow>) -> Result<Change, E> + Send,
        receipt: impl Fn(&Flow) -> Result<Option<Receipt>, E> + Send,
    ) -> Result<Option<Flow>, E> {
        self.change_head(seen, Head::live, decide, receipt).await
    }

    /// The same of a flow in this scope that may have been deleted; [`Flow::deletion`] tells.
    ///
    /// # Errors
    /// What `decide` and `receipt` say, or see [`Error`].
    pub async fn change_any<E: From<Error>>(
        &self,
        id: FlowId,
        scope: &Scope,
        decide: impl FnMut(Option<&Flow>) -> Result<Change, E> + Send,
        receipt: impl Fn(&Flow) -> Result<Option<Receipt>, E> + Send,
    ) -> Result<Option<Flow>, E> {
        self.change_head(self.find_any(id, scope).await?, Head::flow, decide, receipt).await
    }

    async fn change_head<E: From<Error>>(
        &self,
        mut seen: Option<Flow>,
        as_seen: impl Fn(Head) -> Option<Flow> + Send,
        mut decide: impl FnMut(Option<&Flow>) -> Result<Change, E> + Send,
        receipt: impl Fn(&Flow) -> Result<Option<Receipt>, E> + Send,
    ) -> Result<Option<Flow>, E> {
        loop {
            let change = decide(seen.as_ref())?;
            let Some(flow) = seen else { return Ok(None) };
            let (head, next) = match change {
                Change::Keep => return self.keep(flow, receipt).await,
                Change::Note(noted) => return self.keep(*noted, receipt).await,
                Change::Save(next) => (item::next_head(Some(&flow), &next)?, Some(*next)),
                Change::Erase(actor) => {
                    let last = (flow.sequence, flow.changed_at);
                    (item::tombstone_item(&Tombstone::of(flow.id, last, actor))?, None)
                }
            };
            let receipt = next.as_ref().map(&receipt).transpose()?.flatten();
            let commit =
                Commit { before: Some(&flow), head, after: next.as_ref(), receipt: receipt.as_ref() };
            match self.commit(commit).await? {
                Committed::Yes => return Ok(next),
                Committed::Overtaken(newer) => seen = newer.and_then(|newer| as_seen(*newer)),
            }
        }
    }

    /// A flow that stays as it is, with the receipt for that.
    async fn keep<E: From<Error>>(
        &self,
        flow: Flow,
        receipt: impl Fn(&Flow) -> Result<Option<Receipt>, E> + Send,
    ) -> Result<Option<Flow>, E> {
        if let Some(receipt) = receipt(&flow)? {
            self.keep_receipt(&receipt).await?;
        }
        Ok(Some(flow))
    }

    /// The state in which [`Self::change`] would leave a flow, without a write. One call, two when it takes
    /// up secrets.
    ///
    /// # Errors
    /// What `decide` says, or see [`Error`].
    pub async fn preview<E: From<Error>>(
        &self,
        seen: Option<Flow>,
        mut decide: impl FnMut(Option<&Flow>) -> Result<Change, E> + Send,
    ) -> Result<Option<Flow>, E> {
        match (decide(seen.as_ref())?, &seen) {
            (Change::Save(next), Some(before)) => {
                self.check(Some(before), &next).await?;
                Ok(Some(*next))
            }
            (Change::Note(noted), _) => Ok(Some(*noted)),
            _ => Ok(seen),
        }
    }

    /// Whether a write of a flow would be refused for its size, its owners or its secrets. No call, one when
    /// it gets owners, and one when it takes up secrets.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::OwnersGone`] and [`Error::UnknownSecrets`]; else see [`Error`].
    pub async fn check(&self, before: Option<&Flow>, after: &Flow) -> Result<(), Error> {
        item::next_head(before, after)?;
        self.write_rows(before, Some(after), HashMap::new())?;
        self.check_owners(before, Some(after)).await?;
        self.check_secrets(before, after).await
    }

    /// Whether a change makes nobody an owner who is gone; where it does, what is wrong with the secrets that it
    /// takes up is said with that.
    async fn check_owners(&self, before: Option<&Flow>, after: Option<&Flow>) -> Result<(), Error> {
        let gone = match (self.check_new_owners(before, after).await, after) {
            (Err(Error::OwnersGone(gone)), Some(after)) => (gone, after),
            (checked, _) => return checked,
        };
        let (gone, after) = gone;
        match self.check_secrets(before, after).await {
            Err(Error::UnknownSecrets(unknown)) => Err(Error::OwnersGone([unknown, gone].concat())),
            _ => Err(Error::OwnersGone(gone)),
        }
    }

    /// Writes a head, what it changes of the listing rows, the version that it replaces and a receipt,
    /// all or nothing, if the flow is still as it was `before` and whoever made it may use the secrets
    /// that it takes up.
    async fn commit(&self, commit: Commit<'_>) -> Result<Committed, Error> {
        let Commit { before, head, after, receipt } = commit;
        self.check_owners(before, after).await?;
        let mut writes = vec![self.write_head(before, head, after.is_some())?];
        let secrets = after.map(|flow| flow.secrets_taken_up(before)).unwrap_or_default();
        for (id, flow) in secrets.iter().zip(std::iter::repeat(after).flatten()) {
            writes.push(self.check_secret(*id, flow)?);
        }
        writes.extend(self.write_rows(before, after, self.carried(before, after).await?)?);
        if let Some((before, after)) = before.zip(after).filter(|(a, b)| a.revision != b.revision) {
            writes.extend(self.write_version(before, after.changed_at)?);
        }
        let receipt_place = receipt.map(|_| writes.len());
        if let Some(receipt) = receipt {
            writes.push(self.write_receipt(receipt)?);
        }
        match self.write_with(writes, receipt_place).await? {
            Written::Yes => Ok(Committed::Yes),
            Written::Refused(mut refused) => {
                // Whatever else has changed was changed by the same request.
                if let Some(receipt) = receipt
                    && let Some(place) = refused.iter().position(|(place, _)| Some(*place) == receipt_place)
                {
                    return Err(receipt.answered(refused.swap_remove(place).1));
                }
                match refused.iter().position(|(place, _)| *place == 0) {
                    Some(head) => {
                        let newer = refused.swap_remove(head).1;
                        Ok(Committed::Overtaken(newer.map(read_head).transpose()?.map(Box::new)))
                    }
                    // Only what is there afterwards has secrets to check.
                    None => Err(match after {
                        Some(after) => refused_secrets(before, after, &secrets, refused),
                        None => Error::Unavailable("a condition failed that was not set".into()),
                    }),
                }
            }
        }
    }

    /// Writes a head if the flow is still as it was `before`: anew, or what of it differs. When it is not, the
    /// refusal has the newer one.
    fn write_head(
        &self,
        before: Option<&Flow>,
        head: Item,
        is_flow: bool,
    ) -> Result<TransactWriteItem, Error> {
        const OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;
        // The sequence counts every change, so this holds ownership, status and document still.
        const UNCHANGED: &str = "#sequence = :seen";

        let seen = |before: &Flow| AttributeValue::N(before.sequence.to_string());
        if let Some(before) = before.filter(|_| is_flow) {
            let update = update::difference(&item::live_item(before)?, head)
                .condition_expression(UNCHANGED)
                .expression_attribute_names("#sequence", "sequence")
                .expression_attribute_values(":seen", seen(before))
                .return_values_on_condition_check_failure(OLD);
            return self.update_item(update);
        }
        let put = Put::builder().table_name(&self.table).set_item(Some(head));
        let put = match before {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(before) => put
                .condition_expression(UNCHANGED)
                .expression_attribute_names("#sequence", "sequence")
                .expression_attribute_values(":seen", seen(before)),
        };
        let put = put.return_values_on_condition_check_failure(OLD).build().map_err(refused)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// What newer versions have written in the listing rows that the deletion of a flow, or its undoing, puts
    /// elsewhere, by the partitions they come to. One call, none for any other change.
    async fn carried(
        &self,
        before: Option<&Flow>,
        after: Option<&Flow>,
    ) -> Result<HashMap<String, Item>, Error> {
        let moved = before.zip(after).filter(|(a, b)| a.deletion.is_some() != b.deletion.is_some());
        let Some((before, after)) = moved else { return Ok(HashMap::new()) };
        let listing = |flow| Row::all_of(flow).into_iter().filter(Row::is_listing).collect::<Vec<_>>();
        let (old, new) = (listing(before), listing(after));
        let mut stored = self.batch_items(old.iter().map(Row::key).collect(), None).await?;
        let mut carried = HashMap::new();
        // Nothing but the place is another one, so both are in the same order.
        for (old, new) in old.iter().zip(new) {
            if let Some(place) = stored.iter().position(|item| is_of(item, &old.pk)) {
                carried.insert(new.pk, update::unknown(stored.swap_remove(place), &old.item()?));
            }
        }
        Ok(carried)
    }

    /// What a change makes of the listing rows; those that are put elsewhere take this along.
    fn write_rows(
        &self,
        before: Option<&Flow>,
        after: Option<&Flow>,
        mut carried: HashMap<String, Item>,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        let rows = after.map(Row::all_of).unwrap_or_default();
        let old_rows = before.map(Row::all_of).unwrap_or_default();
        let gone = || old_rows.iter().filter(|old| !rows.iter().any(|row| row.pk == old.pk));
        if rows.iter().chain(gone()).map(Row::size).sum::<usize>() > MAX_ROWS_BYTES {
            return Err(Error::TooLarge);
        }
        let mut writes = Vec::new();
        for row in rows.iter().filter(|row| !old_rows.contains(row)) {
            if let Some(old) = old_rows.iter().find(|old| old.pk == row.pk) {
                writes.push(self.update_item(update::difference(&old.item()?, row.item()?))?);
                continue;
            }
            let mut item = row.item()?;
            for (name, value) in carried.remove(&row.pk).unwrap_or_default() {
                item.entry(name).or_insert(value);
            }
            writes.push(self.put_item(item)?);
        }
        for row in gone() {
            let delete = Delete::builder()
                .table_name(&self.table)
                .set_key(Some(row.key()))
                .build()
                .map_err(refused)?;
            writes.push(TransactWriteItem::builder().delete(delete).build());
        }
        Ok(writes)
    }

    /// Writes an item whatever was there.
    fn put_item(&self, item: Item) -> Result<TransactWriteItem, Error> {
        let put = Put::builder().table_name(&self.table).set_item(Some(size::fits(item)?));
        Ok(TransactWriteItem::builder().put(put.build().map_err(refused)?).build())
    }

    fn update_item(&self, update: UpdateBuilder) -> Result<TransactWriteItem, Error> {
        let update = update.table_name(&self.table).build().map_err(refused)?;
        Ok(TransactWriteItem::builder().update(update).build())
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
        self.write_with(writes, None).await
    }

    /// The same, with a receipt at this place.
    async fn write_with(
        &self,
        writes: Vec<TransactWriteItem>,
        receipt: Option<usize>,
    ) -> Result<Written, Error> {
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(Written::Yes),
            Err(failure) => {
                let failed = retry::failed_conditions(failure.as_service_error());
                if !failed.is_empty() {
                    Ok(Written::Refused(failed))
                } else if retry::is_invalid(failure.as_service_error()) {
                    Err(Error::Refused(failure.into()))
                } else if receipt.is_some_and(|place| retry::is_in_conflict(&failure, place)) {
                    Err(Error::UnderWay)
                } else {
                    Err(error(failure))
                }
            }
        }
    }

    /// The flows that have this owner, or its deleted ones, in order of their ids, from after `after`
    /// on; at most `limit`. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ids_of_owner(
        &self,
        owner: &OwnerKey,
        are_deleted: bool,
        after: Option<FlowId>,
        limit: i32,
    ) -> Result<Vec<FlowId>, Error> {
        let partition = keys::Partition::Owner(owner.clone());
        let partition = if are_deleted { partition.of_deleted() } else { partition };
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
        match secrets::may_pass(secret, &after.actor) {
            Ok(false) => unknown.extend(place.checked_sub(1).and_then(|place| secrets.iter().nth(place))),
            Ok(true) => return Error::Unavailable("a secret is held".into()),
            Err(error) => return error,
        }
    }
    Error::UnknownSecrets(after.unknown_secrets(before, &unknown))
}

fn is_of(item: &Item, partition: &str) -> bool {
    item.get("pk").and_then(|pk| pk.as_s().ok()).is_some_and(|pk| pk == partition)
}

fn refused(failure: aws_sdk_dynamodb::error::BuildError) -> Error {
    Error::Refused(failure.into())
}
