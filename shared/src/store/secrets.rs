//! Secrets without their values: a head each, gates that flows pass by, listing rows per owner, notes of
//! what is half done, and who read a value.

use std::sync::atomic::{AtomicBool, Ordering};

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    Update,
};
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};

use super::item::{self, Row, read, read_head};
use super::keys::{self, GATES, HEAD, Partition};
use super::list::MAX_BATCH;
use super::{Error, Item, Receipt, Store, Tombstone, Written, error, passed, refused, size, update};
use crate::flow::{Actor, Flow, FlowId, MAX_ANSWER_BYTES, ObjectId, SecretId, Status, Timestamp};
use crate::secrets::{Secret, SecretOwner};

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

/// What an operation has on a secret so that no flow takes it up meanwhile: every gate of it, until a time.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The operation; of two the later one has its way.
    operation: ObjectId,
    /// Which secret.
    pub(crate) secret: SecretId,
    /// When flows go on whatever became of the operation.
    until: Timestamp,
    /// Whether a gate may be held.
    is_taken: AtomicBool,
}

impl Hold {
    /// A hold that is not taken yet.
    pub(crate) fn new(secret: SecretId, until: Timestamp) -> Self {
        Self { operation: ObjectId::generate(), secret, until, is_taken: AtomicBool::new(false) }
    }

    /// Whether there may be something to let go of.
    pub(crate) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    fn operation(&self) -> AttributeValue {
        AttributeValue::S(self.operation.to_string())
    }
}

/// What the condition of a flow that takes a secret up is about. A secret has several with the same content,
/// and each flow looks at one: looking at one item, flows that start at once would be in each other's way.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gate {
    /// Who may use the secret, as a condition can look for it.
    owner_keys: Vec<String>,
}

impl Gate {
    fn of(secret: &Secret) -> Self {
        Self { owner_keys: secret.owners.iter().map(SecretOwner::key).collect() }
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
    item::with_key(head_key(secret.id), secret)
}

fn gate_key(id: SecretId, number: u8) -> Item {
    keys::item(&keys::secret(id), &keys::gate(number))
}

/// The gate by which a flow passes.
fn gate_of(id: SecretId, flow: FlowId) -> Item {
    gate_key(id, flow.shard(GATES))
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

    /// Stores a new secret and forgets the note of it; tells whether the note was still there: whoever has settled
    /// it has ended the value. One call.
    pub(crate) async fn insert_secret(
        &self,
        secret: &Secret,
        note: &Unsettled,
        receipt: Option<&Receipt>,
    ) -> Result<bool, Error> {
        let head = self.put(live_item(secret)?).condition_expression("attribute_not_exists(pk)");
        let mut writes = vec![put(head)?];
        for number in 0..GATES {
            writes.push(put(self.put(item::with_key(gate_key(secret.id, number), &Gate::of(secret))?))?);
        }
        for owner in &secret.owners {
            writes.push(put(self.put(item::with_key(row_key(owner, secret.id), secret)?))?);
        }
        let noted = writes.len();
        let forget = Delete::builder().table_name(&self.table).set_key(Some(note.key()));
        let forget = forget.condition_expression("attribute_exists(pk)").build().map_err(refused)?;
        writes.push(TransactWriteItem::builder().delete(forget).build());
        let place = receipt.map(|_| writes.len());
        if let Some(receipt) = receipt {
            writes.push(self.write_receipt(receipt)?);
        }
        match self.write_with(writes, place).await? {
            Written::Yes => Ok(true),
            Written::Refused(refused) if refused.iter().all(|(at, _)| *at == noted) => Ok(false),
            Written::Refused(refused) => {
                let taken = refused.into_iter().find(|(at, _)| Some(*at) == place);
                Err(match receipt.zip(taken) {
                    Some((receipt, (_, other))) => receipt.answered(other),
                    None => Error::Unavailable("the id is taken".into()),
                })
            }
        }
    }

    /// Stores another state of a secret; tells whether it was still as it was `before`, and is still held if
    /// it had to be: then it is not any more. One call.
    pub(crate) async fn replace_secret(
        &self,
        before: &Secret,
        after: &Secret,
        hold: Option<&Hold>,
    ) -> Result<bool, Error> {
        let head = update::difference(&live_item(before)?, size::fits(live_item(after)?)?)
            .condition_expression("#sequence = :seen")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":seen", AttributeValue::N(before.sequence.to_string()));
        let mut writes = vec![self.update_item(head)?];
        if hold.is_some() || after.owners != before.owners {
            for number in 0..GATES {
                writes.push(self.change_gate(after, number, hold)?);
            }
        }
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
        self.write_held(writes, hold).await
    }

    /// Writes that end a hold, if it is one's own and they are done.
    async fn write_held(&self, writes: Vec<TransactWriteItem>, hold: Option<&Hold>) -> Result<bool, Error> {
        let is_done = matches!(self.write(writes).await?, Written::Yes);
        if let Some(hold) = hold.filter(|_| is_done) {
            hold.is_taken.store(false, Ordering::Relaxed);
        }
        Ok(is_done)
    }

    /// Another content of a gate, and the end of the hold if there is one.
    fn change_gate(
        &self,
        secret: &Secret,
        number: u8,
        hold: Option<&Hold>,
    ) -> Result<TransactWriteItem, Error> {
        let owners = Gate::of(secret).owner_keys.into_iter().map(AttributeValue::S).collect();
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(gate_key(secret.id, number)))
            .update_expression("SET ownerKeys = :owners")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":owners", AttributeValue::L(owners));
        if let Some(hold) = hold {
            update = update
                .update_expression("SET ownerKeys = :owners REMOVE heldBy, heldUntil")
                .condition_expression("heldBy = :operation")
                .expression_attribute_values(":operation", hold.operation());
        }
        Ok(TransactWriteItem::builder().update(update.build().map_err(refused)?).build())
    }

    /// Keeps flows from starting with a secret, or taking it up; tells whether it is there and no later
    /// operation holds it. A call a gate: as one transaction they would be in the way of every flow that starts.
    pub(crate) async fn hold_secret(&self, hold: &Hold) -> Result<bool, Error> {
        hold.is_taken.store(true, Ordering::Relaxed);
        let gates = (0..GATES).map(|number| async move {
            let call = self
                .client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(gate_key(hold.secret, number)))
                .update_expression("SET heldBy = :operation, heldUntil = :until")
                // Of two that hold it at once one must get all gates; and who comes again after a crash, that.
                .condition_expression("attribute_exists(pk) AND (attribute_not_exists(heldBy) OR heldBy <= :operation OR heldUntil < :now)")
                .expression_attribute_values(":operation", hold.operation())
                .expression_attribute_values(":until", millis(hold.until))
                .expression_attribute_values(":now", millis(Timestamp::now()));
            passed(call.send().await)
        });
        // All are waited for: one that was let go of on its way would come after the hold has ended.
        let are_held = join_all(gates).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(are_held.into_iter().all(|is_held| is_held))
    }

    /// Takes that back, but for gates that another operation holds by now. A call a gate.
    pub(crate) async fn release_secret(&self, hold: &Hold) -> Result<(), Error> {
        let gates = (0..GATES).map(|number| async move {
            let call = self
                .client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(gate_key(hold.secret, number)))
                .update_expression("REMOVE heldBy, heldUntil")
                .condition_expression("heldBy = :operation")
                .expression_attribute_values(":operation", hold.operation());
            passed(call.send().await).map(drop)
        });
        // One that fails keeps no other from being opened.
        join_all(gates).await.into_iter().collect()
    }

    /// Deletes a secret, and notes what has to become of its value; tells whether it was still as it was
    /// `before`, and is still held if it had to be. One call.
    pub(crate) async fn delete_secret(
        &self,
        before: &Secret,
        actor: Actor,
        hold: Option<&Hold>,
        notes: &[Unsettled],
    ) -> Result<bool, Error> {
        let tombstone = Tombstone::of(before.id, (before.sequence, before.updated_at), actor);
        let head = unchanged(self.put(item::with_key(head_key(before.id), &tombstone)?), before);
        let mut writes = vec![put(head)?];
        for number in 0..GATES {
            let mut gate =
                Delete::builder().table_name(&self.table).set_key(Some(gate_key(before.id, number)));
            if let Some(hold) = hold {
                gate = gate
                    .condition_expression("heldBy = :operation")
                    .expression_attribute_values(":operation", hold.operation());
            }
            writes.push(TransactWriteItem::builder().delete(gate.build().map_err(refused)?).build());
        }
        for owner in &before.owners {
            writes.push(self.delete(row_key(owner, before.id))?);
        }
        for note in notes {
            writes.push(put(self.put(item::with_key(note.key(), note)?))?);
        }
        self.write_held(writes, hold).await
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

    /// Some of the flows that use this secret, are not inactive, and are in the way; at most `max`. One call per
    /// hundred flows that use it, and one more for each of these calls that finds any that run and for every
    /// `max` of those.
    pub(crate) async fn running_users(
        &self,
        id: SecretId,
        max: usize,
        is_in_the_way: impl Fn(&Flow) -> bool + Send,
    ) -> Result<Vec<Flow>, Error> {
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
            let running = self.with_status(rows, |status| status != Status::Inactive).await?;
            for rows in running.chunks(max) {
                for head in self.batch(rows, None).await? {
                    // One that was stopped in between is no hindrance any more.
                    let flow = read_head(head)?.live().filter(|flow| flow.status != Status::Inactive);
                    found.extend(flow.filter(&is_in_the_way));
                }
                if found.len() >= max {
                    found.truncate(max);
                    return Ok(found);
                }
            }
            if output.last_evaluated_key.is_none() || start.is_none() {
                return Ok(found);
            }
        }
    }

    /// The condition that a secret that a flow takes up is there, that whoever changed the flow may use it, and
    /// that no operation holds it at the moment.
    pub(super) fn check_secret(&self, id: SecretId, flow: &Flow) -> Result<TransactWriteItem, Error> {
        let own = SecretOwner::of(&flow.actor.user, flow.actor.tenant.as_deref());
        let names: Vec<_> = (0..own.len()).map(|n| format!(":owner{n}")).collect();
        let owned: Vec<_> = names.iter().map(|name| format!("contains(ownerKeys, {name})")).collect();
        let mut check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(gate_of(id, flow.id)))
            .condition_expression(format!(
                "({}) AND (attribute_not_exists(heldUntil) OR heldUntil < :now)",
                owned.join(" OR ")
            ))
            .expression_attribute_values(":now", millis(Timestamp::now()))
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
        let gates = secrets.iter().map(|id| gate_of(*id, after.id)).collect();
        let gates = self.batch_items(gates, None).await?;
        let mut unknown = secrets;
        for gate in gates {
            let id = gate.get("pk").and_then(|key| keys::secret_of(key.as_s().ok()?));
            if may_pass(Some(gate), &after.actor)? {
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

fn millis(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.millis().to_string())
}

/// Whether this is the gate of a secret that the actor may use, were it not held.
pub(super) fn may_pass(gate: Option<Item>, actor: &Actor) -> Result<bool, Error> {
    let Some(gate) = gate.map(read::<Gate>).transpose()? else { return Ok(false) };
    let own = SecretOwner::of(&actor.user, actor.tenant.as_deref());
    Ok(own.iter().any(|owner| gate.owner_keys.contains(&owner.key())))
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
