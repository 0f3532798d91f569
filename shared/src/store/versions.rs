//! Former versions of flows: an item each, and their documents, one for all versions that have it. They
//! are written when they are replaced, so a flow that nobody changes costs nothing more.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use futures_util::future;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::keys::{self, HEAD};
use super::{Error, Item, Store, error, item, passed};
use crate::flow::{Actor, FinalDocument, Flow, FlowId, Timestamp, tag_of};

/// Items deleted at once.
const CONCURRENCY: usize = 8;

/// One state of a flow's document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its number; each is higher than those before.
    pub revision: u64,
    /// Who made it.
    pub author: Actor,
    /// When.
    pub created_at: Timestamp,
    /// What has changed with it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Names the document by its content.
    pub hash: String,
}

/// One page of versions, the newest first.
#[derive(Debug)]
pub struct VersionPage {
    /// The versions.
    pub versions: Vec<Version>,
    /// Before which one the next page begins, if there is one.
    pub next: Option<u64>,
}

/// A version that was replaced.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionItem {
    #[serde(flatten)]
    version: Version,
    replaced_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl VersionItem {
    /// The version, unless it has expired: the table takes its time to remove it.
    fn kept(self) -> Option<Version> {
        let is_kept = self.expires_at.is_none_or(|seconds| seconds > Timestamp::now().seconds());
        is_kept.then_some(self.version)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BodyItem {
    /// The document as JSON, compressed with zstd.
    #[serde(with = "serde_bytes")]
    document: Vec<u8>,
    replaced_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl Version {
    /// Whether none was before it: every change of a document says what it was.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.summary.is_none()
    }

    /// The version that a flow is now.
    ///
    /// # Errors
    /// When its document cannot be written as JSON.
    pub fn of(flow: &Flow) -> Result<Self, serde_json::Error> {
        Ok(Self {
            revision: flow.revision,
            author: flow.author.clone(),
            created_at: flow.updated_at,
            summary: flow.summary.clone(),
            hash: flow.document.hash()?,
        })
    }
}

impl Store {
    /// Keeps the version that a flow was until now. A document that other versions have too is written
    /// again, to last as long as the youngest of them.
    pub(super) fn write_version(
        &self,
        flow: &Flow,
        replaced_at: Timestamp,
    ) -> Result<[TransactWriteItem; 2], Error> {
        let version = Version::of(flow).map_err(|error| Error::Unreadable(error.into()))?;
        let expires_at = self.keep_versions.map(|kept| replaced_at.plus(kept).seconds());
        let partition = keys::flow(flow.id);
        let body =
            BodyItem { document: item::pack_document(&flow.document)?.into(), replaced_at, expires_at };
        let body = item::with_key(keys::item(&partition, &keys::body(&version.hash)), &body)?;
        let key = keys::item(&partition, &keys::version(version.revision));
        let version = item::with_key(key, &VersionItem { version, replaced_at, expires_at })?;
        Ok([self.put_item(version)?, self.put_item(body)?])
    }

    /// One page of the versions that a flow was before this one, the newest first. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn versions(&self, id: FlowId, before: u64, size: usize) -> Result<VersionPage, Error> {
        let call = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", AttributeValue::S(keys::flow(id)))
            .expression_attribute_values(":first", AttributeValue::S(keys::version(1)))
            .expression_attribute_values(":last", AttributeValue::S(keys::version(before.saturating_sub(1))))
            .scan_index_forward(false)
            // One more than the page, to know whether there is a next one.
            .limit(i32::try_from(size + 1).unwrap_or(i32::MAX))
            .consistent_read(true);
        let output = call.send().await.map_err(error)?;
        // An answer of DynamoDB ends at 1 MB too.
        let is_cut = output.last_evaluated_key.is_some();
        let items = output.items.unwrap_or_default().into_iter().map(item::read::<VersionItem>);
        let mut items = items.collect::<Result<Vec<_>, _>>()?;
        let is_last = !is_cut && items.len() <= size;
        items.truncate(size);
        let next = items.last().map(|item| item.version.revision).filter(|_| !is_last);
        Ok(VersionPage { versions: items.into_iter().filter_map(VersionItem::kept).collect(), next })
    }

    /// A former version of a flow and its document, if it is kept. Two calls, one when it is not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn version(&self, id: FlowId, number: u64) -> Result<Option<(Version, FinalDocument)>, Error> {
        let partition = keys::flow(id);
        let found = self.item(keys::item(&partition, &keys::version(number))).await?;
        let found = found.map(item::read::<VersionItem>).transpose()?.and_then(VersionItem::kept);
        let Some(version) = found else { return Ok(None) };
        let body = self.item(keys::item(&partition, &keys::body(&version.hash))).await?;
        let Some(body) = body.map(item::read::<BodyItem>).transpose()? else { return Ok(None) };
        let document = item::unpack_document(body.document, Some(tag_of(&version.hash)), Vec::new())?;
        Ok(Some((version, document)))
    }

    /// Whether anything is there under an id, of a flow or of one that is being erased. One call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn is_taken(&self, id: FlowId) -> Result<bool, Error> {
        let output = self.query(keys::flow(id)).limit(1).projection_expression("pk").send().await;
        Ok(!output.map_err(error)?.items.unwrap_or_default().is_empty())
    }

    /// Erases the versions of a flow that is gone, as far as they were replaced until this time; gives how
    /// many items that was. Those of one that has come back stay. Two calls, and one per item.
    ///
    /// # Errors
    /// See [`Error`]: what is left is erased by the next attempt.
    pub async fn erase_versions(&self, id: FlowId, replaced_until: Timestamp) -> Result<usize, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Key {
            sk: String,
            replaced_at: Option<Timestamp>,
        }

        #[derive(Deserialize)]
        struct Status {
            status: Option<crate::flow::Status>,
        }

        let head = self
            .query(keys::flow(id))
            .key_condition_expression("pk = :pk AND sk = :head")
            .expression_attribute_values(":head", AttributeValue::S(HEAD.into()))
            .projection_expression("#status")
            .expression_attribute_names("#status", "status");
        for head in head.send().await.map_err(error)?.items.unwrap_or_default() {
            // A tombstone has none.
            if item::read::<Status>(head)?.status.is_some() {
                return Ok(0);
            }
        }
        let (mut erased, mut start) = (0, None);
        loop {
            let call = self.query(keys::flow(id)).projection_expression("sk, replacedAt");
            let output = call.set_exclusive_start_key(start).send().await.map_err(error)?;
            let items = output.items.unwrap_or_default().into_iter().map(item::read::<Key>);
            let keys = items.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|key| {
                key.sk != HEAD && key.replaced_at.is_some_and(|replaced_at| replaced_at <= replaced_until)
            });
            let keys: Vec<Item> = keys.map(|key| keys::item(&keys::flow(id), &key.sk)).collect();
            let until = AttributeValue::N(replaced_until.millis().to_string());
            let deletions = keys.into_iter().map(|key| {
                let call = self.client.delete_item().table_name(&self.table).set_key(Some(key));
                // A document that is written again meanwhile is of a flow that is there.
                let call = call
                    .condition_expression("replacedAt <= :until")
                    .expression_attribute_values(":until", until.clone());
                async move { passed(call.send().await) }
            });
            let deletions = stream::iter(deletions).buffer_unordered(CONCURRENCY);
            let deleted =
                deletions.try_filter(|passed| future::ready(*passed)).try_collect::<Vec<_>>().await?;
            erased += deleted.len();
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(erased);
            }
        }
    }
}
