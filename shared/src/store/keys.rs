//! The primary keys of the one table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Item;
use crate::flow::FlowId;

/// The sort key of a flow's head.
pub(super) const HEAD: &str = "HEAD";

/// Administrators' listing rows are spread over this many partitions, so that no single one has to
/// take every write of the installation. Stored rows depend on the number.
const SHARDS: u8 = 4;

/// The partition key of everything that belongs to one flow.
pub(super) fn flow(id: FlowId) -> String {
    format!("FLOW#{id}")
}

/// A partition of listing rows, whose sort keys are flow ids and so the order of creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Partition {
    /// The flows of one owner.
    Owner(String),
    /// A share of all flows.
    Shard(u8),
}

impl Partition {
    /// The share of all flows that this one belongs to.
    pub(super) fn shard_of(id: FlowId) -> Self {
        Self::Shard(id.shard(SHARDS))
    }

    pub(super) fn all_shards() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self::Shard)
    }

    pub(super) fn key(&self) -> String {
        match self {
            Self::Owner(id) => format!("OWNER#{id}"),
            Self::Shard(number) => format!("ALL#{number}"),
        }
    }

    /// The key of this flow's row.
    pub(super) fn position(&self, id: FlowId) -> Item {
        HashMap::from([
            ("pk".into(), AttributeValue::S(self.key())),
            ("sk".into(), AttributeValue::S(id.to_string())),
        ])
    }
}
