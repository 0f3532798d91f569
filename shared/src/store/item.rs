//! How flows are written down: the head with the whole flow, and one listing row per owner.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::{self, HEAD, Partition};
use super::{Error, Item, packing, size};
use crate::flow::{
    Actor, Deletion, FinalDocument, Flow, FlowId, ObjectId, Status, Stored, StoredDocument, Timestamp,
};
use crate::identity::OwnerKey;

/// More than a body of 1 MiB can become.
const MAX_DOCUMENT_BYTES: usize = 2 * 1024 * 1024;
/// How long the head of what was deleted stays, so that the stream can say who deleted it.
const TOMBSTONE_SECONDS: u64 = 24 * 60 * 60;

/// What the head of a flow says.
#[derive(Clone, Debug, PartialEq)]
pub enum Head<D = FinalDocument> {
    /// The flow.
    Live(Box<Flow<D>>),
    /// The flow, which was deleted and can be restored.
    Deleted(Box<Flow<D>>),
    /// It was erased.
    Erased(Tombstone<FlowId>),
}

impl<D> Head<D> {
    /// The flow, unless it was deleted.
    #[must_use]
    pub fn live(self) -> Option<Flow<D>> {
        match self {
            Self::Live(flow) => Some(*flow),
            Self::Deleted(_) | Self::Erased(_) => None,
        }
    }

    /// The flow, also one that was deleted and can be restored.
    #[must_use]
    pub fn flow(self) -> Option<Flow<D>> {
        match self {
            Self::Live(flow) => Some(*flow),
            // The table takes its time to remove what has expired.
            Self::Deleted(flow) => {
                let kept = |deletion: &Deletion| deletion.expires_at > Timestamp::now();
                Some(*flow).filter(|flow| flow.deletion.as_ref().is_some_and(kept))
            }
            Self::Erased(_) => None,
        }
    }
}

/// What stays of an erased flow or a deleted secret for a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone<Id> {
    /// What it was.
    pub id: Id,
    /// Counts the changes on.
    pub sequence: u64,
    /// When it was deleted.
    pub deleted_at: Timestamp,
    /// Who deleted it.
    pub actor: Actor,
    expires_at: u64,
}

impl<Id> Tombstone<Id> {
    /// Of what this sequence has come to, at this time.
    pub(super) fn of(id: Id, (sequence, changed_at): (u64, Timestamp), actor: Actor) -> Self {
        let deleted_at = Timestamp::now().max(changed_at);
        let expires_at = deleted_at.seconds() + TOMBSTONE_SECONDS;
        Self { id, sequence: sequence + 1, deleted_at, actor, expires_at }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LiveItem {
    id: FlowId,
    /// The document as JSON, compressed with zstd.
    #[serde(with = "serde_bytes")]
    document: Vec<u8>,
    /// What is looked at of the document without unpacking it: its tag, and whose it is.
    tag: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    owners: Vec<String>,
    revision: u64,
    sequence: u64,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_id: Option<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    orphan: Option<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    /// Unless it is `changed_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_since: Option<Timestamp>,
    /// Together with the next one the key of [`keys::UNCONFIRMED`]: the shard of a flow that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unconfirmed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    announced_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_zero")]
    repeats: u32,
    created_at: Timestamp,
    /// Unless it is `changed_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
    changed_at: Timestamp,
    actor: Actor,
    /// Unless it is the actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author: Option<Actor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    /// In seconds, as the table wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

pub(super) fn head_key(id: FlowId) -> Item {
    keys::item(&keys::flow(id), HEAD)
}

/// The head that a change leaves, if the table takes it.
pub(super) fn next_head(before: Option<&Flow>, after: &Flow) -> Result<Item, Error> {
    let head = live_item(after)?;
    let is_saved = before.is_none_or(|before| before.revision != after.revision);
    // What the platform does with a flow is not refused for what may come after it.
    if is_saved && after.actor != Actor::platform() {
        size::fits_with_reserve(head)
    } else {
        size::fits(head)
    }
}

pub(super) fn live_item(flow: &Flow) -> Result<Item, Error> {
    let document = pack_document(&flow.document)?;
    let item = LiveItem {
        id: flow.id,
        document: document.into(),
        tag: flow.document.tag().map_err(unreadable)?.into(),
        owners: flow.document.owner_keys().map(|owner| owner.to_string()).collect(),
        revision: flow.revision,
        sequence: flow.sequence,
        status: flow.status,
        run_id: flow.run_id,
        started_by: flow.started_by.clone(),
        orphan: flow.orphan,
        status_reason: flow.status_reason.clone(),
        status_since: Some(flow.status_since).filter(|since| *since != flow.changed_at),
        unconfirmed: flow.announced_at.map(|_| Partition::shard_of(flow.id).key()),
        announced_at: flow.announced_at,
        repeats: flow.repeats,
        created_at: flow.created_at,
        updated_at: Some(flow.updated_at).filter(|updated| *updated != flow.changed_at),
        changed_at: flow.changed_at,
        actor: flow.actor.clone(),
        author: Some(&flow.author).filter(|author| **author != flow.actor).cloned(),
        summary: flow.summary.clone(),
        deleted_at: flow.deletion.map(|deletion| deletion.at),
        expires_at: flow.deletion.map(|deletion| deletion.expires_at.seconds()),
    };
    with_key(head_key(flow.id), &item)
}

/// A document as JSON, compressed with zstd.
pub(super) fn pack_document(document: &FinalDocument) -> Result<&[u8], Error> {
    document.packed(|document| {
        let json = document.json().map_err(unreadable)?;
        if json.len() > MAX_DOCUMENT_BYTES {
            return Err(Error::TooLarge);
        }
        packing::pack(json.as_bytes())
    })
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::Unreadable(error.into())
}

pub(super) fn unpack_document<D: StoredDocument>(
    packed: Vec<u8>,
    tag: Option<String>,
    owners: Vec<String>,
) -> Result<D, Error> {
    let json =
        String::from_utf8(packing::unpack(&packed)?).map_err(|error| Error::Unreadable(error.into()))?;
    D::read(Stored { json, packed, tag, owners }).map_err(unreadable)
}

pub(super) fn tombstone_item(tombstone: &Tombstone<FlowId>) -> Result<Item, Error> {
    with_key(head_key(tombstone.id), tombstone)
}

pub(super) fn with_key(key: Item, rest: &impl Serialize) -> Result<Item, Error> {
    let mut item: Item = serde_dynamo::to_item(rest).map_err(|error| Error::Unreadable(error.into()))?;
    item.extend(key);
    Ok(item)
}

/// Reads a head as the table or its stream gives it.
///
/// # Errors
/// When it is none.
pub fn read_head<D: StoredDocument>(item: impl Into<serde_dynamo::Item>) -> Result<Head<D>, Error> {
    let item = item.into();
    if item.contains_key("deletedAt") && !item.contains_key("document") {
        return read(item).map(Head::Erased);
    }
    let item: LiveItem = read(item)?;
    let deletion = item
        .deleted_at
        .zip(item.expires_at)
        .map(|(at, seconds)| Deletion { at, expires_at: Timestamp::from_millis(seconds * 1000) });
    let head = if deletion.is_some() { Head::Deleted } else { Head::Live };
    Ok(head(Box::new(Flow {
        id: item.id,
        document: unpack_document(item.document, Some(item.tag), item.owners)?,
        revision: item.revision,
        sequence: item.sequence,
        status: item.status,
        run_id: item.run_id,
        started_by: item.started_by,
        orphan: item.orphan,
        status_reason: item.status_reason,
        status_since: item.status_since.unwrap_or(item.changed_at),
        announced_at: item.announced_at,
        repeats: item.repeats,
        created_at: item.created_at,
        updated_at: item.updated_at.unwrap_or(item.changed_at),
        changed_at: item.changed_at,
        author: item.author.unwrap_or_else(|| item.actor.clone()),
        actor: item.actor,
        summary: item.summary,
        deletion,
        notes: Vec::new(),
    })))
}

pub(super) fn read<T: DeserializeOwned>(item: impl Into<serde_dynamo::Item>) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(|error| Error::Unreadable(error.into()))
}

/// What a list filters and sorts by. Everything but the key is optional, because a list reads only
/// what it needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) pk: String,
    pub(super) sk: FlowId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Name and description in lower case, for `search`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// Not in the rows of all flows: starting and stopping would have to write one more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from_template: Option<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) updated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owners: Option<Vec<String>>,
    /// When the row of a deleted flow goes, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<u64>,
}

impl Row {
    /// The listing rows of a flow: one per owner, one per secret it uses, and one among all flows. Those
    /// of a deleted one are elsewhere, and its secrets are not used.
    pub(super) fn all_of(flow: &Flow) -> Vec<Self> {
        let document = &flow.document;
        let place = |partition: Partition| {
            if flow.deletion.is_some() { partition.of_deleted().key() } else { partition.key() }
        };
        let mut keys: Vec<OwnerKey> = document.owner_keys().collect();
        keys.sort_unstable();
        keys.dedup();
        let owners: Vec<_> = keys.iter().map(ToString::to_string).collect();
        let owners = Some(owners).filter(|owners| !owners.is_empty());
        let name = document.name.value().cloned();
        let text = [&document.name, &document.description]
            .map(|text| search_text(text.value().map_or("", String::as_str)));
        let all = Self {
            pk: place(Partition::shard_of(flow.id)),
            sk: flow.id,
            name,
            text: Some(text.join(TEXT_SEPARATOR)).filter(|text| text != TEXT_SEPARATOR),
            status: None,
            kind: document.kind.value().cloned(),
            from_template: document.from_template.value().copied(),
            updated_at: Some(flow.updated_at),
            owners: owners.clone(),
            expires_at: flow.deletion.map(|deletion| deletion.expires_at.seconds()),
        };
        let mut rows: Vec<_> = keys
            .into_iter()
            .map(|key| Self { pk: place(Partition::Owner(key)), status: Some(flow.status), ..all.clone() })
            .collect();
        let secrets = document.graph.secrets().filter(|_| flow.deletion.is_none());
        rows.extend(secrets.map(|secret| Self {
            pk: Partition::Users(secret).key(),
            sk: flow.id,
            name: None,
            text: None,
            status: None,
            kind: None,
            from_template: None,
            updated_at: None,
            // Who may not see the flow is not to learn that there is one.
            owners: owners.clone(),
            expires_at: None,
        }));
        rows.push(all);
        rows
    }

    /// Whether it is one that lists of flows read; one of a secret's users has its key alone.
    pub(super) const fn is_listing(&self) -> bool {
        self.updated_at.is_some()
    }

    /// About how many bytes the row takes.
    pub(super) fn size(&self) -> usize {
        let texts = [&self.name, &self.text, &self.kind].map(|text| text.as_ref().map_or(0, String::len));
        let owners = self.owners.iter().flatten().map(String::len).sum::<usize>();
        self.pk.len() + texts.iter().sum::<usize>() + owners + 200
    }

    pub(super) fn key(&self) -> Item {
        keys::item(&self.pk, &self.sk.to_string())
    }

    pub(super) fn item(&self) -> Result<Item, Error> {
        serde_dynamo::to_item(self).map_err(|error| Error::Unreadable(error.into()))
    }
}

/// Between name and description; no search can contain it, so none finds across the two.
const TEXT_SEPARATOR: &str = "\0";

/// The form in which texts are compared without regard to case, in any script. Letter by letter, so
/// that a part of a text has the form that it has in the whole; Greek has two small sigmas.
pub(super) fn search_text(text: &str) -> String {
    let letters =
        text.chars().filter(|letter| !TEXT_SEPARATOR.contains(*letter)).flat_map(char::to_lowercase);
    letters.map(|letter| if letter == 'ς' { 'σ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::flow::{ComponentCheck, Role, ShownDocument, read_fields};
    use crate::identity::Caller;
    use crate::store::Scope;

    #[test]
    fn a_head_says_whose_the_flow_is_before_its_document_is_unpacked() {
        let body = serde_json::from_str(r#"{"graph":{"nodes":[{"id":"a"}]}}"#).unwrap();
        let anna = Caller::new("anna", Some("acme"), []);
        let flow =
            Flow::create(&anna, read_fields(body).unwrap(), ComponentCheck::AtStart, Role::Owner).unwrap();
        let head = live_item(&flow).unwrap();
        let read: Flow = read_head(head.clone()).unwrap().live().unwrap();
        assert_eq!(read, flow);
        let shown: Flow<ShownDocument> = read_head(head.clone()).unwrap().live().unwrap();
        assert_eq!(shown.document.tag().unwrap(), &flow.document.hash().unwrap()[..8]);
        assert_eq!(shown.document.json().unwrap(), flow.document.json().unwrap());
        for (key, is_owner) in [
            (OwnerKey::user("anna"), true),
            (OwnerKey::tenant("acme"), true),
            (OwnerKey::user("acme"), false),
            (OwnerKey::tenant("anna"), false),
            (OwnerKey::user("ann"), false),
            (OwnerKey::user("anna#"), false),
            (OwnerKey::user(""), false),
        ] {
            assert_eq!(flow.document.is_owned_by(&key), is_owner, "{key}");
            assert_eq!(shown.document.is_owned_by(&key), is_owner, "{key}");
            assert_eq!(Scope::Owners(vec![key.clone()]).contains_head(&head), is_owner, "{key}");
        }
        assert!(Scope::All.contains_head(&head));
    }

    #[test]
    fn a_head_says_nothing_twice() {
        let body = serde_json::from_str(r#"{"graph":{"nodes":[{"id":"a"}]}}"#).unwrap();
        let anna = Caller::new("anna", Some("acme"), []);
        let mut flow =
            Flow::create(&anna, read_fields(body).unwrap(), ComponentCheck::AtStart, Role::Owner).unwrap();
        let said = |flow: &Flow| {
            let head = live_item(flow).unwrap();
            let read: Flow = read_head(head.clone()).unwrap().live().unwrap();
            assert_eq!(&read, flow);
            ["author", "statusSince", "updatedAt"].map(|name| head.contains_key(name))
        };
        assert_eq!(said(&flow), [false; 3]);
        flow.changed_at = flow.changed_at.plus(Duration::from_secs(1));
        assert_eq!(said(&flow), [false, true, true]);
        flow.actor = Actor::platform();
        assert_eq!(said(&flow), [true; 3]);
    }
}
