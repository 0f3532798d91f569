//! Secrets without their values: a head each, listing rows per owner, notes of what is half done, and
//! who read a value.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::item::{self, Row, read, read_head};
use super::keys::{self, HEAD, Partition};
use super::list::MAX_BATCH;
use super::{Error, Item, Receipt, Store, Tombstone, Written, error, passed, refused, size, update};
use crate::flow::{Actor, Flow, FlowId, MAX_ANSWER_BYTES, ObjectId, SecretId, Status, Timestamp};
use crate::secrets::{Secret, SecretOwner};

/// How long a deletion may take; after that flows can start with the secret again. No request lasts
/// as long.
const HOLD_SECONDS: u64 = 60;
/// How long the table keeps who read a value: 90 days. The event says it for ever.
const READ_SECONDS: u64 = 90 * 24 * 60 * 60;
/// Notes in one call.
const MAX_NOTES: i32 = 100;

/// What the head of a secret says.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretHead {
    /// The secret.
    Live(Box<Secret>),
    /// It was deleted.
    Deleted(Tombstone<SecretId>),
}

impl SecretHead {
    /// The secret, unless it was deleted.
    #[must_use]
    pub fn live(self) -> Option<Secret> {
        match self {
            Self::Live(secret) => Some(*secret),
            Self::Deleted(_) => None,
        }
    }
}

/// A change of a value that may be half done, or is still to be made. It names itself by an id, and so by
/// the time when it began or is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unsettled {
    /// The change.
    #[serde(rename = "sk")]
    pub(crate) operation: ObjectId,
    /// Of which secret.
    pub(crate) secret: SecretId,
    /// Whether the value, if it is nobody's, is destroyed at once: nobody can restore it.
    pub(crate) destroy: bool,
}

impl Unsettled {
    /// A change that begins now.
    pub(crate) fn of(secret: SecretId) -> Self {
        Self { operation: ObjectId::generate(), secret, destroy: false }
    }

    /// That the value is to be destroyed this long after now, if it is nobody's then.
    pub(crate) fn destruction(secret: SecretId, after: Duration) -> Self {
        Self { operation: ObjectId::generate().plus(after), secret, destroy: true }
    }

    fn key(&self) -> Item {
        keys::item(keys::UNSETTLED, &self.operation.to_string())
    }
}

/// Somebody was given a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRead {
    /// Which reading.
    pub id: ObjectId,
    /// Of which secret.
    pub secret: SecretId,
    /// Who.
    pub actor: Actor,
    /// When.
    pub read_at: Timestamp,
    expires_at: u64,
}

impl SecretRead {
    /// A reading now.
    #[must_use]
    pub fn new(secret: SecretId, actor: Actor) -> Self {
        let read_at = Timestamp::now();
        let expires_at = read_at.seconds() + READ_SECONDS;
        Self { id: ObjectId::generate(), secret, actor, read_at, expires_at }
    }
}

/// Which page of a list of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPaging {
    /// The page of this number, from 1, with the exact total.
    Number(usize),
    /// What comes after this secret, or the beginning.
    After(Option<SecretId>),
}

/// One question to the list of secrets.
#[derive(Clone, Debug)]
pub struct SecretQuery {
    /// Whose.
    pub owners: Vec<SecretOwner>,
    /// Secrets a page.
    pub size: usize,
    /// Which page.
    pub paging: SecretPaging,
}

/// One page of a list of secrets, in the order in which they were created.
#[derive(Debug)]
pub struct SecretPage {
    /// The secrets.
    pub secrets: Vec<Secret>,
    /// How many there are on all pages; not counted with [`SecretPaging::After`].
    pub total: Option<usize>,
    /// After which secret the next page begins, if there is one.
    pub next: Option<SecretId>,
}

/// Reads the head of a secret as the table or its stream gives it.
///
/// # Errors
/// When it is none.
pub fn read_secret_head(item: impl Into<serde_dynamo::Item>) -> Result<SecretHead, Error> {
    let item = item.into();
    if item.contains_key("deletedAt") {
        return read(item).map(SecretHead::Deleted);
    }
    read(item).map(|secret| SecretHead::Live(Box::new(secret)))
}

/// Reads who was given a value as the table's stream gives it.
///
/// # Errors
/// When it is none.
pub fn read_secret_read(item: impl Into<serde_dynamo::Item>) -> Result<SecretRead, Error> {
    read(item)
}

fn head_key(id: SecretId) -> Item {
    keys::item(&keys::secret(id), HEAD)
}

fn live_item(secret: &Secret) -> Result<Item, Error> {
    // What a condition can look for.
    let owners = secret.owners.iter().map(|owner| AttributeValue::S(owner.key())).collect();
    let mut item = item::with_key(head_key(secret.id), secret)?;
    item.insert("ownerKeys".into(), AttributeValue::L(owners));
    Ok(item)
}

fn row_key(owner: &SecretOwner, id: SecretId) -> Item {
    keys::item(&keys::secrets_of(owner), &id.to_string())
}

/// How many of an answer's bytes a secret takes in a list, at most.
fn answer_size(secret: &Secret) -> usize {
    let owners: usize = secret.owners.iter().map(|owner| owner.id.len() + 30).sum();
    2 * (secret.name.len() + secret.domain.as_ref().map_or(0, String::len) + owners + 300)
}

impl Store {
    /// The secret, if there is one. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn secret(&self, id: SecretId) -> Result<Option<Secret>, Error> {
        let call = self.client.get_item().table_name(&self.table).set_key(Some(head_key(id)));
        let output = call.consistent_read(true).send().await.map_err(error)?;
        Ok(output.item.map(read_secret_head).transpose()?.and_then(SecretHead::live))
    }

    /// Stores a new secret and forgets the note of it. One call.
    pub(crate) async fn insert_secret(
        &self,
        secret: &Secret,
        note: &Unsettled,
        receipt: Option<&Receipt>,
    ) -> Result<(), Error> {
        let head = self.put(live_item(secret)?).condition_expression("attribute_not_exists(pk)");
        let mut writes = vec![put(head)?];
        for owner in &secret.owners {
            writes.push(put(self.put(item::with_key(row_key(owner, secret.id), secret)?))?);
        }
        writes.push(self.delete(note.key())?);
        let place = receipt.map(|_| writes.len());
        if let Some(receipt) = receipt {
            writes.push(self.write_receipt(receipt)?);
        }
        match self.write_with(writes, place).await? {
            Written::Yes => Ok(()),
            Written::Refused(refused) => {
                let taken = refused.into_iter().find(|(at, _)| Some(*at) == place);
                Err(match receipt.zip(taken) {
                    Some((receipt, (_, other))) => receipt.answered(other),
                    None => Error::Unavailable("the id is taken".into()),
                })
            }
        }
    }

    /// Stores another state of a secret; tells whether it was still as it was `before`. One call.
    pub(crate) async fn replace_secret(&self, before: &Secret, after: &Secret) -> Result<bool, Error> {
        let head = update::difference(&live_item(before)?, size::fits(live_item(after)?)?)
            .condition_expression("#sequence = :seen")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":seen", AttributeValue::N(before.sequence.to_string()));
        let mut writes = vec![self.update_item(head)?];
        for owner in &after.owners {
            let row = |secret| item::with_key(row_key(owner, after.id), secret);
            writes.push(if before.owners.contains(owner) {
                self.update_item(update::difference(&row(before)?, row(after)?))?
            } else {
                self.put_item(row(after)?)?
            });
        }
        for owner in before.owners.iter().filter(|owner| !after.owners.contains(owner)) {
            writes.push(self.delete(row_key(owner, before.id))?);
        }
        Ok(matches!(self.write(writes).await?, Written::Yes))
    }

    /// Keeps flows from starting with a secret, or taking it up, while this operation deletes it; tells
    /// whether it was still as it was `before`. One call.
    pub(crate) async fn hold_secret(&self, before: &Secret, operation: ObjectId) -> Result<bool, Error> {
        let call = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(head_key(before.id)))
            .update_expression("SET deletion = :operation")
            .condition_expression("#sequence = :seen")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":seen", AttributeValue::N(before.sequence.to_string()))
            .expression_attribute_values(":operation", AttributeValue::S(operation.to_string()));
        passed(call.send().await)
    }

    /// Takes that back, unless another operation holds the secret by now. One call.
    pub(crate) async fn release_secret(&self, secret: &Secret, operation: ObjectId) -> Result<(), Error> {
        let call = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(head_key(secret.id)))
            .update_expression("REMOVE deletion")
            .condition_expression("deletion = :operation")
            .expression_attribute_values(":operation", AttributeValue::S(operation.to_string()));
        passed(call.send().await).map(drop)
    }

    /// Deletes a secret, and notes what has to become of its value; tells whether it was still as it was
    /// `before`, and is still held by this operation if it had to be. One call.
    pub(crate) async fn delete_secret(
        &self,
        before: &Secret,
        actor: Actor,
        holder: Option<ObjectId>,
        notes: &[Unsettled],
    ) -> Result<bool, Error> {
        let tombstone = Tombstone::of(before.id, (before.sequence, before.updated_at), actor);
        let mut head = unchanged(self.put(item::with_key(head_key(before.id), &tombstone)?), before);
        if let Some(operation) = holder {
            head = head
                .condition_expression("#sequence = :seen AND deletion = :operation")
                .expression_attribute_values(":operation", AttributeValue::S(operation.to_string()));
        }
        let mut writes = vec![put(head)?];
        for owner in &before.owners {
            writes.push(self.delete(row_key(owner, before.id))?);
        }
        for note in notes {
            writes.push(put(self.put(item::with_key(note.key(), note)?))?);
        }
        Ok(matches!(self.write(writes).await?, Written::Yes))
    }

    /// Writes down that a change of a value begins. One call.
    pub(crate) async fn note_unsettled(&self, note: &Unsettled) -> Result<(), Error> {
        let item = item::with_key(note.key(), note)?;
        let call = self.client.put_item().table_name(&self.table).set_item(Some(item));
        call.send().await.map(drop).map_err(error)
    }

    /// Forgets that. One call.
    pub(crate) async fn forget_unsettled(&self, note: &Unsettled) -> Result<(), Error> {
        let call = self.client.delete_item().table_name(&self.table).set_key(Some(note.key()));
        call.send().await.map(drop).map_err(error)
    }

    /// Some of the changes that began, or were due, before this one and have not been forgotten, the oldest first,
    /// from after `after` on. One call.
    pub(crate) async fn unsettled(
        &self,
        after: Option<ObjectId>,
        before: ObjectId,
    ) -> Result<Vec<Unsettled>, Error> {
        let call = self
            .query(keys::UNSETTLED.into())
            .key_condition_expression("pk = :pk AND sk < :before")
            .expression_attribute_values(":before", AttributeValue::S(before.to_string()))
            .set_exclusive_start_key(after.map(|id| keys::item(keys::UNSETTLED, &id.to_string())))
            .limit(MAX_NOTES);
        let output = call.send().await.map_err(error)?;
        output.items.unwrap_or_default().into_iter().map(read).collect()
    }

    /// Writes down who was given a value. One call.
    pub(crate) async fn record_secret_read(&self, reading: &SecretRead) -> Result<(), Error> {
        let key = keys::item(&keys::secret(reading.secret), &format!("{}{}", keys::READ, reading.id));
        let call = self.client.put_item().table_name(&self.table);
        let call = call.set_item(Some(item::with_key(key, reading)?));
        call.send().await.map(drop).map_err(error)
    }

    /// One page of the secrets of these owners. [`SecretPaging::After`] costs one call an owner,
    /// however many secrets there are.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_secrets(&self, query: &SecretQuery) -> Result<SecretPage, Error> {
        let SecretQuery { owners, size, paging } = query;
        let size = *size;
        let (limit, after, skipped) = match paging {
            // One more than the page, to know whether there is a next one.
            SecretPaging::After(after) => (size + 1, *after, 0),
            SecretPaging::Number(number) => (usize::MAX, None, (number - 1).saturating_mul(size)),
        };
        let rows = owners.iter().map(|owner| self.secrets_of(owner, after, limit));
        let mut secrets: Vec<Secret> = try_join_all(rows).await?.into_iter().flatten().collect();
        secrets.sort_by_key(|secret| secret.id);
        secrets.dedup_by_key(|secret| secret.id);
        let total = matches!(paging, SecretPaging::Number(_)).then_some(secrets.len());
        let mut page: Vec<Secret> = secrets.into_iter().skip(skipped).take(size + 1).collect();
        let mut bytes = 0;
        let fitting = page.iter().take(size).take_while(|secret| {
            bytes += answer_size(secret);
            bytes <= MAX_ANSWER_BYTES
        });
        let fitting = fitting.count();
        if fitting < page.len().min(size) && total.is_some() {
            return Err(Error::PageTooLarge);
        }
        let more = page.len() > fitting;
        page.truncate(fitting);
        let next = page.last().map(|secret| secret.id).filter(|_| more);
        Ok(SecretPage { secrets: page, total, next })
    }

    async fn secrets_of(
        &self,
        owner: &SecretOwner,
        after: Option<SecretId>,
        limit: usize,
    ) -> Result<Vec<Secret>, Error> {
        let mut secrets = Vec::new();
        let mut start = after.map(|id| row_key(owner, id));
        loop {
            let call = self.query(keys::secrets_of(owner)).set_limit(i32::try_from(limit).ok());
            let output = call.set_exclusive_start_key(start).send().await.map_err(error)?;
            for row in output.items.unwrap_or_default() {
                secrets.push(read(row)?);
            }
            start = output.last_evaluated_key;
            if start.is_none() || secrets.len() >= limit {
                return Ok(secrets);
            }
        }
    }

    /// The secrets that have this owner, from after `after` on; at most `limit`. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn secret_ids_of_owner(
        &self,
        owner: &SecretOwner,
        after: Option<SecretId>,
        limit: i32,
    ) -> Result<Vec<SecretId>, Error> {
        let call = self
            .query(keys::secrets_of(owner))
            .set_exclusive_start_key(after.map(|id| row_key(owner, id)))
            .limit(limit);
        let output = call.send().await.map_err(error)?;
        let secrets = output.items.unwrap_or_default().into_iter().map(read::<Secret>);
        secrets.map(|secret| secret.map(|secret| secret.id)).collect()
    }

    /// Some of the flows that use this secret and are not inactive; at most `max`. One call per
    /// hundred flows that use it, and one more for each of these calls that finds any.
    pub(crate) async fn running_users(&self, id: SecretId, max: usize) -> Result<Vec<Flow>, Error> {
        let partition = Partition::Users(id);
        let mut found = Vec::new();
        let mut start: Option<FlowId> = None;
        loop {
            let call = self
                .query(partition.key())
                .set_limit(i32::try_from(MAX_BATCH).ok())
                .set_exclusive_start_key(start.map(|id| partition.position(id)));
            let output = call.send().await.map_err(error)?;
            let rows = output.items.unwrap_or_default().into_iter().map(read::<Row>);
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            start = rows.last().map(|row| row.sk);
            let mut running = self.with_status(rows, |status| status != Status::Inactive).await?;
            running.truncate(max - found.len());
            for head in self.batch(&running, None).await? {
                // One that was stopped in between is no hindrance any more.
                let flow = read_head(head)?.live();
                found.extend(flow.filter(|flow| flow.status != Status::Inactive));
            }
            if output.last_evaluated_key.is_none() || start.is_none() || found.len() >= max {
                return Ok(found);
            }
        }
    }

    /// The condition that this secret is there, that this actor may use it, and that nobody deletes
    /// it at the moment.
    pub(super) fn check_secret(&self, id: SecretId, actor: &Actor) -> Result<TransactWriteItem, Error> {
        let own = SecretOwner::of(&actor.user, actor.tenant.as_deref());
        let names: Vec<_> = (0..own.len()).map(|n| format!(":owner{n}")).collect();
        let owned: Vec<_> = names.iter().map(|name| format!("contains(ownerKeys, {name})")).collect();
        let mut check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(head_key(id)))
            .condition_expression(format!(
                "({}) AND (attribute_not_exists(deletion) OR deletion < :lapsed)",
                owned.join(" OR ")
            ))
            .expression_attribute_values(":lapsed", AttributeValue::S(lapsed().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (name, owner) in names.into_iter().zip(own) {
            check = check.expression_attribute_values(name, AttributeValue::S(owner.key()));
        }
        Ok(TransactWriteItem::builder().condition_check(check.build().map_err(refused)?).build())
    }

    /// What [`Self::check_secret`] would say of the secrets that a flow takes up, without a write. One
    /// call, none when there are none.
    pub(super) async fn check_secrets(&self, before: Option<&Flow>, after: &Flow) -> Result<(), Error> {
        let secrets = after.secrets_taken_up(before);
        if secrets.is_empty() {
            return Ok(());
        }
        let heads = self.batch_items(secrets.iter().map(|id| head_key(*id)).collect(), None).await?;
        let mut unknown = secrets;
        for head in heads {
            let id = head.get("id").and_then(|id| id.as_s().ok()?.parse().ok());
            if is_held(Some(head), &after.actor)? {
                id.inspect(|id| {
                    unknown.remove(id);
                });
            }
        }
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Error::UnknownSecrets(after.unknown_secrets(before, &unknown)))
        }
    }

    fn put(&self, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(item))
    }

    fn delete(&self, key: Item) -> Result<TransactWriteItem, Error> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key)).build().map_err(refused)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// Deletions that began before this id was made have ended, one way or another.
fn lapsed() -> ObjectId {
    ObjectId::at(Timestamp::from_millis(Timestamp::now().millis().saturating_sub(HOLD_SECONDS * 1000)))
}

/// Whether this is the head of a secret that the actor may use, were it not being deleted.
pub(super) fn is_held(head: Option<Item>, actor: &Actor) -> Result<bool, Error> {
    let secret = head.map(read_secret_head).transpose()?.and_then(SecretHead::live);
    let own = SecretOwner::of(&actor.user, actor.tenant.as_deref());
    Ok(secret.is_some_and(|secret| secret.is_owned_by(&own)))
}

fn unchanged(
    put: aws_sdk_dynamodb::types::builders::PutBuilder,
    before: &Secret,
) -> aws_sdk_dynamodb::types::builders::PutBuilder {
    put.condition_expression("#sequence = :seen")
        .expression_attribute_names("#sequence", "sequence")
        .expression_attribute_values(":seen", AttributeValue::N(before.sequence.to_string()))
}

fn put(put: aws_sdk_dynamodb::types::builders::PutBuilder) -> Result<TransactWriteItem, Error> {
    Ok(TransactWriteItem::builder().put(put.build().map_err(refused)?).build())
}
