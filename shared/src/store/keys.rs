//! The primary keys of the one table.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Item;
use crate::flow::{FlowId, SecretId};
use crate::identity::OwnerKey;
use crate::secrets::SecretOwner;

/// The sort key of a flow's or a secret's head.
pub(super) const HEAD: &str = "HEAD";
/// How many [gates](gate) a secret has. Stored gates depend on the number.
pub(super) const GATES: u8 = 8;
/// How the sort keys of readings of a secret's value begin.
pub(super) const READ: &str = "READ#";
/// How the sort keys of a flow's former versions begin.
pub(super) const VERSION: &str = "REV#";
/// The sort key of what a request was answered.
pub(super) const RECEIPT: &str = "RECEIPT";
/// The partition of changes of values that may be half done.
pub(super) const UNSETTLED: &str = "UNSETTLED";

/// The partition of deleted users and tenants that may still own something.
pub(super) const LEAVING: &str = "LEAVING";
/// How the partition keys of flows begin.
const FLOW: &str = "FLOW#";

/// The index of flows that wait for the orchestrator, and the attributes of its key.
pub(super) const UNCONFIRMED: &str = "unconfirmed";
/// The index of runs by who has started them, and its attribute.
pub(super) const STARTED_BY: &str = "startedBy";

/// Administrators' listing rows are spread over this many partitions, so that no single one has to
/// take every write of the installation. Stored rows depend on the number.
const SHARDS: u8 = 4;

/// The partition key of everything that belongs to one flow.
pub(super) fn flow(id: FlowId) -> String {
    format!("{FLOW}{id}")
}

/// The flow that a partition key belongs to.
pub(super) fn flow_of(key: &str) -> Option<FlowId> {
    key.strip_prefix(FLOW)?.parse().ok()
}

/// The sort key of a former version; in the order of their numbers.
pub(super) fn version(number: u64) -> String {
    format!("{VERSION}{number:012}")
}

/// The sort key of a document that former versions have.
pub(super) fn body(hash: &str) -> String {
    format!("BODY#{hash}")
}

/// The partition key of what a request was answered.
pub(super) fn receipt(id: &str) -> String {
    format!("IDEMPOTENCY#{id}")
}

/// The partition key of everything that belongs to one secret.
pub(super) fn secret(id: SecretId) -> String {
    format!("SECRET#{id}")
}

/// The key of what is remembered of a deleted user or tenant.
pub(super) fn gone(kind: &str, id: &str) -> Item {
    item(&format!("GONE#{kind}#{id}"), "GONE")
}

/// The key of the note of one that may still own something. Ids may be longer than sort keys.
pub(super) fn leaving(kind: &str, id: &str) -> Item {
    item(LEAVING, &format!("{kind}#{}", URL_SAFE_NO_PAD.encode(digest(&SHA256, id.as_bytes()))))
}

/// The secret that a partition key belongs to.
pub(super) fn secret_of(key: &str) -> Option<SecretId> {
    key.strip_prefix("SECRET#")?.parse().ok()
}

/// The sort key of one of a secret's gates.
pub(super) fn gate(number: u8) -> String {
    format!("GATE#{number}")
}

/// The partition key of one owner's secrets.
pub(super) fn secrets_of(owner: &SecretOwner) -> String {
    format!("SECRETS#{}", owner.key())
}

/// The primary key of one item.
pub(super) fn item(partition: &str, sort: &str) -> Item {
    let text = |text: &str| AttributeValue::S(text.into());
    HashMap::from([("pk".into(), text(partition)), ("sk".into(), text(sort))])
}

/// A partition of listing rows, whose sort keys are flow ids and so the order of creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Partition {
    /// The flows of one owner.
    Owner(OwnerKey),
    /// A share of all flows.
    Shard(u8),
    /// The deleted flows of one owner.
    DeletedOfOwner(OwnerKey),
    /// A share of all deleted flows.
    DeletedShard(u8),
    /// The flows that use one secret.
    Users(SecretId),
}

impl Partition {
    /// The share of all flows that this one belongs to.
    pub(super) fn shard_of(id: FlowId) -> Self {
        Self::Shard(id.shard(SHARDS))
    }

    pub(super) fn all_shards() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self::Shard)
    }

    /// Where the rows of deleted flows are that were in this one.
    pub(super) fn of_deleted(self) -> Self {
        match self {
            Self::Owner(owner) => Self::DeletedOfOwner(owner),
            Self::Shard(number) => Self::DeletedShard(number),
            other => other,
        }
    }

    pub(super) fn key(&self) -> String {
        match self {
            Self::Owner(owner) => format!("OWNER#{owner}"),
            Self::Shard(number) => format!("ALL#{number}"),
            Self::DeletedOfOwner(owner) => format!("DELETED#{owner}"),
            Self::DeletedShard(number) => format!("DELETED-ALL#{number}"),
            Self::Users(secret) => format!("USERS#{secret}"),
        }
    }

    /// Whose flows, if they are those of one owner.
    pub(super) const fn owner(&self) -> Option<&OwnerKey> {
        match self {
            Self::Owner(owner) | Self::DeletedOfOwner(owner) => Some(owner),
            _ => None,
        }
    }

    /// The key of this flow's row.
    pub(super) fn position(&self, id: FlowId) -> Item {
        item(&self.key(), &id.to_string())
    }
}

/// What an item of the table's stream is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The head of a flow.
    Flow,
    /// The head of a secret.
    Secret,
    /// Somebody was given the value of a secret.
    SecretRead,
}

/// The flow that the item of this key belongs to.
#[must_use]
pub fn flow_of_key(key: &serde_dynamo::Item) -> Option<FlowId> {
    flow_of(text(key, "pk"))
}

fn text<'a>(key: &'a serde_dynamo::Item, name: &str) -> &'a str {
    match key.get(name) {
        Some(serde_dynamo::AttributeValue::S(text)) => text,
        _ => "",
    }
}

impl Kind {
    /// By the key of the item. Whatever it is not is taken for a flow, and fails to be read as one.
    #[must_use]
    pub fn of(key: &serde_dynamo::Item) -> Self {
        match (text(key, "pk").starts_with("SECRET#"), text(key, "sk").starts_with(READ)) {
            (false, _) => Self::Flow,
            (true, false) => Self::Secret,
            (true, true) => Self::SecretRead,
        }
    }
}
