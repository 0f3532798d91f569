//! Users and tenants that were deleted: remembered for longer than a token of theirs lives, each with a
//! note as long as something may be theirs; docs/adr/0025-deleted-identities.md.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::item::{self, Head, read, read_head, with_key};
use super::{Error, Item, Scope, Store, Written, error, keys, passed};
use crate::flow::{Fault, Flow, FlowId, Timestamp};
use crate::identity::OwnerKind;
use crate::secrets::{OwnerType, Secret, SecretOwner};

/// For how long nobody can make a deleted user or tenant an owner: longer than an identity provider lets
/// a token live, and than an editor is left open with the owners it was shown. After that the id may be
/// somebody else's.
const REMEMBERED: Duration = Duration::from_hours(24 * 30);
/// By then whoever had read that an owner was still there has written or given up: no request is waited for
/// longer than 30 seconds, and five more are for a write that was on its way.
const STRAGGLERS: Duration = Duration::from_secs(35);

/// A deleted user or tenant.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gone {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    deleted_at: Timestamp,
    /// In seconds, as the table wants it.
    expires_at: u64,
}

/// A deleted user or tenant that may still own something: what has to be done is found by its rows, so
/// that it can be begun again at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaving {
    /// Who.
    pub owner: SecretOwner,
    /// Nobody was made an owner by mistake after that: what is done from then on is done for good.
    pub last_from: Timestamp,
    /// When to go on; somebody is at it until then.
    pub due: Timestamp,
}

impl Leaving {
    fn key(&self) -> Item {
        keys::leaving(name_of(self.owner.kind), &self.owner.id)
    }
}

/// The type of an owner as flows have it.
const fn name_of(kind: OwnerType) -> &'static str {
    match kind {
        OwnerType::User => "user",
        OwnerType::Tenant => "tenant",
    }
}

impl Store {
    /// Remembers that a user or a tenant is gone, and that everything has to be taken from it, which the
    /// caller is at until `due`. One call. There is nothing it could depend on: the deletion is a fact,
    /// and whoever is at an earlier one of the same sees that its note is not its own any more.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn leave(&self, owner: SecretOwner, due: Timestamp) -> Result<Leaving, Error> {
        let deleted_at = Timestamp::now();
        let kind = name_of(owner.kind);
        let gone = Gone {
            kind: kind.into(),
            id: owner.id.clone(),
            deleted_at,
            expires_at: deleted_at.plus(REMEMBERED).seconds(),
        };
        let gone = with_key(keys::gone(kind, &owner.id), &gone)?;
        let note = Leaving { owner, last_from: deleted_at.plus(STRAGGLERS), due };
        let writes = vec![self.put_item(gone)?, self.put_item(with_key(note.key(), &note)?)?];
        match self.write(writes).await? {
            Written::Yes => Ok(note),
            Written::Refused(_) => Err(Error::Unavailable("a condition failed that was not set".into())),
        }
    }

    /// The notes that somebody has to go on with at this time. One call a megabyte of notes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn leaving(&self, now: Timestamp) -> Result<Vec<Leaving>, Error> {
        let (mut notes, mut start) = (Vec::new(), None);
        loop {
            let call = self
                .query(keys::LEAVING.into())
                .filter_expression("due <= :now")
                .expression_attribute_values(":now", AttributeValue::N(now.millis().to_string()))
                .set_exclusive_start_key(start);
            let output = call.send().await.map_err(error)?;
            for item in output.items.unwrap_or_default() {
                notes.push(read(item)?);
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(notes);
            }
        }
    }

    /// Puts off when to go on with a note; none when somebody else has. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn put_off(&self, note: &Leaving, due: Timestamp) -> Result<Option<Leaving>, Error> {
        let next = Leaving { due, ..note.clone() };
        let call = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(with_key(next.key(), &next)?))
            .condition_expression("due = :due AND lastFrom = :from")
            .expression_attribute_values(":due", AttributeValue::N(note.due.millis().to_string()))
            .expression_attribute_values(":from", AttributeValue::N(note.last_from.millis().to_string()));
        Ok(passed(call.send().await)?.then_some(next))
    }

    /// Forgets a note, unless it is another one by now. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn has_left(&self, note: &Leaving) -> Result<(), Error> {
        let call = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(note.key()))
            .condition_expression("due = :due AND lastFrom = :from")
            .expression_attribute_values(":due", AttributeValue::N(note.due.millis().to_string()))
            .expression_attribute_values(":from", AttributeValue::N(note.last_from.millis().to_string()));
        passed(call.send().await).map(drop)
    }

    /// Those of these users and tenants, by type and id, that are gone. One call, none for nobody.
    pub(crate) async fn gone<'a>(
        &self,
        owners: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<(String, String)>, Error> {
        let owners: BTreeSet<_> = owners.collect();
        let keys = owners.into_iter().map(|(kind, id)| keys::gone(kind, id)).collect();
        // The table takes its time to remove what has expired.
        let now = Timestamp::now().seconds();
        let items = self.batch_items(keys, None).await?.into_iter().map(read::<Gone>);
        let found = items.collect::<Result<Vec<_>, _>>()?.into_iter();
        Ok(found.filter(|gone| gone.expires_at > now).map(|gone| (gone.kind, gone.id)).collect())
    }

    /// The flow, if there is one in this scope, and whether this user is gone, who could otherwise start a run that
    /// nobody ends: those who are gone are looked for among the runs once more, and not again. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn find_for(
        &self,
        id: FlowId,
        scope: &Scope,
        user: &str,
    ) -> Result<(Option<Flow>, bool), Error> {
        let key = item::head_key(id);
        let keys = vec![key.clone(), keys::gone(OwnerKind::User.as_str(), user)];
        let items = self.batch_items(keys, None).await?.into_iter();
        let (heads, gone): (Vec<_>, Vec<_>) = items.partition(|item| item.get("pk") == key.get("pk"));
        let head = heads.into_iter().find(|head| scope.contains_head(head));
        let (flow, gone) =
            (head.map(read_head).transpose()?, gone.into_iter().next().map(read::<Gone>).transpose()?);
        Ok((flow.and_then(Head::live), gone.is_some_and(|gone| gone.expires_at > Timestamp::now().seconds())))
    }

    /// Whether a change of a flow makes nobody an owner who is gone. It is read before the write and not held
    /// by it: what is written in between is found when everything is taken from the owner for the last
    /// time. One call, none when nobody becomes one.
    pub(super) async fn check_new_owners(
        &self,
        before: Option<&Flow>,
        after: Option<&Flow>,
    ) -> Result<(), Error> {
        let had: Vec<_> = before.into_iter().flat_map(|before| before.document.owner_keys()).collect();
        let owners = after.into_iter().flat_map(|after| after.document.owner_keys());
        let added: Vec<_> = owners.filter(|owner| !had.contains(owner)).collect();
        self.refuse_gone(added.iter().map(|owner| (owner.kind.as_str(), owner.id.as_str()))).await
    }

    /// The same of a secret.
    pub(crate) async fn check_owners_of_secret(
        &self,
        before: Option<&Secret>,
        after: &Secret,
    ) -> Result<(), Error> {
        let had = before.map(|before| before.owners.as_slice()).unwrap_or_default();
        let added = after.owners.iter().filter(|owner| !had.contains(owner));
        self.refuse_gone(added.map(|owner| (name_of(owner.kind), owner.id.as_str()))).await
    }

    async fn refuse_gone<'a>(&self, owners: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Error> {
        let faults = self.gone(owners).await?.into_iter().map(|(kind, id)| Fault {
            message: format!("The {kind} \"{id}\" has been deleted, and cannot be an owner."),
            reason: "owner.deleted",
            pointer: "/owners".into(),
            help: None,
        });
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::OwnersGone(faults)) }
    }

    /// The flows whose run this user has started and that are not inactive again, in order of their ids,
    /// from after `after` on; at most `limit`. The index is a moment behind. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn runs_started_by(
        &self,
        user: &str,
        after: Option<FlowId>,
        limit: i32,
    ) -> Result<Vec<FlowId>, Error> {
        #[derive(Deserialize)]
        struct Key {
            id: FlowId,
        }

        // An empty text is no key; every id comes after a zero.
        let after = after.map_or_else(|| "0".into(), |after| after.to_string());
        let call = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(keys::STARTED_BY)
            .key_condition_expression("startedBy = :user AND id > :after")
            .expression_attribute_values(":user", AttributeValue::S(user.into()))
            .expression_attribute_values(":after", AttributeValue::S(after))
            .limit(limit);
        let output = call.send().await.map_err(error)?;
        let keys = output.items.unwrap_or_default().into_iter().map(read::<Key>);
        keys.map(|key| Ok(key?.id)).collect()
    }
}
