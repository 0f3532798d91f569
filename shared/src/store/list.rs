//! Lists: rows of one or more partitions, merged without duplicates, and then the heads of one page.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::item::{self, Row, read_head, search_text};
use super::keys::{self, Partition};
use super::retry::{MAX_ATTEMPTS, pause};
use super::{Error, Item, Store, error};
use crate::flow::{
    FinalDocument, Flow, FlowId, MAX_ANSWER_BYTES, ObjectId, SecretId, Status, StoredDocument, Timestamp,
};
use crate::identity::OwnerKey;
use crate::limits::DYNAMODB_ITEMS;

/// `BatchGetItem` takes no more keys.
pub(super) const MAX_BATCH: usize = DYNAMODB_ITEMS;
/// Batches under way at once.
const CONCURRENCY: usize = 8;

/// Whose flows are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of these owners.
    Owners(Vec<OwnerKey>),
    /// Every flow.
    All,
}

impl Scope {
    /// Whether this flow is among them.
    #[must_use]
    pub fn contains(&self, flow: &Flow<impl StoredDocument>) -> bool {
        match self {
            Self::All => true,
            Self::Owners(keys) => keys.iter().any(|key| flow.document.is_owned_by(key)),
        }
    }

    /// Whether the flow of this head is among them, by what can be seen before its document is unpacked:
    /// one that is not costs as little as none.
    pub(super) fn contains_head(&self, head: &Item) -> bool {
        let Self::Owners(keys) = self else { return true };
        let owners = head.get("owners").and_then(|owners| owners.as_l().ok());
        owners
            .into_iter()
            .flatten()
            .any(|owner| owner.as_s().is_ok_and(|owner| keys.iter().any(|key| key.is(owner))))
    }
}

/// Which of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// That have this status.
    pub status: Option<Status>,
    /// That have this type.
    pub kind: Option<String>,
    /// That have a user or a tenant of this id among their owners.
    pub user: Option<String>,
    /// That were made from this template.
    pub from_template: Option<ObjectId>,
    /// That have this in name or description, in any case.
    pub search: Option<String>,
    /// That use this secret; by itself and in the order of creation.
    pub secret: Option<SecretId>,
    /// That were deleted and can be restored, instead of those that there are.
    pub deleted: bool,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortKey {
    /// When the flow was created, which is the order of ids.
    #[default]
    CreatedAt,
    /// When its document was last changed.
    UpdatedAt,
    /// Its name, by code points.
    Name,
}

/// In which order; ties go by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListOrder {
    /// By what.
    pub key: SortKey,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// Which page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paging {
    /// The page of this number, from 1, with the exact total.
    Number(usize),
    /// What comes after this position, or the beginning.
    After(Option<Position>),
}

/// A place in a list: the last flow seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    id: FlowId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
}

/// One question to the list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Whose flows.
    pub scope: Scope,
    /// Which of them.
    pub filter: ListFilter,
    /// In which order.
    pub order: ListOrder,
    /// Flows a page.
    pub size: usize,
    /// Which page.
    pub paging: Paging,
}

/// One page of a list.
#[derive(Debug)]
pub struct FlowPage<D = FinalDocument> {
    /// The flows, in order.
    pub flows: Vec<Flow<D>>,
    /// How many there are on all pages; not counted with [`Paging::After`].
    pub total: Option<usize>,
    /// Where the next page begins, if there is one.
    pub next: Option<Position>,
}

impl Store {
    /// One page. In the default order, [`Paging::After`] costs one call a partition and one for the
    /// page, however many flows there are; everything else reads all rows of the scope.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list<D: StoredDocument>(&self, query: &ListQuery) -> Result<FlowPage<D>, Error> {
        let partitions = partitions(query);
        let walk = query.order.key == SortKey::CreatedAt && matches!(query.paging, Paging::After(_));
        // One more than the page, to know whether there is a next one.
        let limit = if walk { query.size + 1 } else { usize::MAX };
        let rows = partitions.iter().map(|partition| self.rows(partition, query, limit));
        let mut rows: Vec<Row> = try_join_all(rows).await?.into_iter().flatten().collect();
        // A flow may be in several partitions, even with two names if it was renamed in between.
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(row.sk));
        rows.sort_by(|a, b| compare(query.order, &position(a), &position(b)));

        let (total, skipped) = match &query.paging {
            Paging::Number(number) => (Some(rows.len()), (number - 1).saturating_mul(query.size)),
            Paging::After(None) => (None, 0),
            Paging::After(Some(last)) => {
                (None, rows.partition_point(|row| compare(query.order, &position(row), last).is_le()))
            }
        };
        let mut page: Vec<Row> = rows.into_iter().skip(skipped).take(query.size + 1).collect();
        let more = page.len() > query.size;
        page.truncate(query.size);
        let (flows, cut_after) = self.flows(&page, &query.scope, query.filter.deleted).await?;
        if cut_after.is_some() && total.is_some() {
            return Err(Error::PageTooLarge);
        }
        let last = cut_after.or_else(|| page.last().map(position).filter(|_| more));
        Ok(FlowPage { flows, total, next: last })
    }

    /// The rows of one partition that pass the filter, from where the page begins if that is known;
    /// at most about `limit`.
    async fn rows(&self, partition: &Partition, query: &ListQuery, limit: usize) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let by_time = query.order.key == SortKey::CreatedAt;
        let mut start = match &query.paging {
            Paging::After(Some(last)) if by_time => Some(partition.position(last.id)),
            _ => None,
        };
        let filter = RowFilter::new(partition, query);
        // Only owners' rows have a status; the heads of others have to be asked.
        let status_of_head = query.filter.status.filter(|_| partition.owner().is_none());
        let at_once = if status_of_head.is_some() { limit.max(MAX_BATCH) } else { limit };
        loop {
            let call = self
                .query(partition.key())
                .scan_index_forward(!(by_time && query.order.descending))
                .set_limit(i32::try_from(at_once).ok().filter(|_| filter.0.is_empty()))
                .set_exclusive_start_key(start);
            let output = filter.apply(call, query.order.key).send().await.map_err(error)?;
            let found = output.items.unwrap_or_default().into_iter().map(item::read::<Row>);
            let mut found = found.collect::<Result<Vec<_>, _>>()?;
            // The table takes its time to remove what has expired.
            let now = Timestamp::now().seconds();
            found.retain(|row| row.expires_at.is_none_or(|seconds| seconds > now));
            rows.extend(match status_of_head {
                Some(wanted) => self.with_status(found, |status| status == wanted).await?,
                None => found,
            });
            start = output.last_evaluated_key;
            if start.is_none() || rows.len() >= limit {
                return Ok(rows);
            }
        }
    }

    /// Those of the rows whose heads have a status that is wanted.
    pub(super) async fn with_status(
        &self,
        mut rows: Vec<Row>,
        is_wanted: impl Fn(Status) -> bool,
    ) -> Result<Vec<Row>, Error> {
        #[derive(Deserialize)]
        struct StatusOnly {
            pk: String,
            // A tombstone has none.
            status: Option<Status>,
        }

        let batches: Vec<_> =
            rows.chunks(MAX_BATCH).map(|rows| self.batch(rows, Some("pk, #status"))).collect();
        let heads: Vec<Vec<Item>> = stream::iter(batches).buffered(CONCURRENCY).try_collect().await?;
        let mut found = HashSet::new();
        for head in heads.into_iter().flatten() {
            let head: StatusOnly = item::read(head)?;
            if head.status.is_some_and(&is_wanted) {
                found.insert(head.pk);
            }
        }
        rows.retain(|row| found.contains(&keys::flow(row.sk)));
        Ok(rows)
    }

    /// The flows of these rows, and the position after which the rest would not fit an answer. One
    /// batch after the other, so that never more is held than one batch and what is answered.
    async fn flows<D: StoredDocument>(
        &self,
        rows: &[Row],
        scope: &Scope,
        deleted: bool,
    ) -> Result<(Vec<Flow<D>>, Option<Position>), Error> {
        let mut flows = Vec::with_capacity(rows.len());
        let (mut bytes, mut last) = (0, None);
        for rows in rows.chunks(MAX_BATCH) {
            let items = self.batch(rows, None).await?.into_iter();
            let mut items: HashMap<String, Item> =
                items.filter_map(|item| Some((item.get("pk")?.as_s().ok()?.clone(), item))).collect();
            for row in rows {
                // A flow that was deleted or given away since its row was read is left out.
                if let Some(item) = items.remove(&keys::flow(row.sk))
                    && let Some(flow) = read_head(item)?.flow()
                    && flow.deletion.is_some() == deleted
                    && scope.contains(&flow)
                {
                    bytes += flow.answer_size();
                    if bytes > MAX_ANSWER_BYTES && !flows.is_empty() {
                        return Ok((flows, last));
                    }
                    flows.push(flow);
                }
                last = Some(position(row));
            }
        }
        Ok((flows, None))
    }

    /// The heads of at most [`MAX_BATCH`] rows, or the part of them that `projection` names.
    pub(super) async fn batch(&self, rows: &[Row], projection: Option<&str>) -> Result<Vec<Item>, Error> {
        self.batch_items(rows.iter().map(|row| item::head_key(row.sk)).collect(), projection).await
    }

    /// At most [`MAX_BATCH`] items, or the part of them that `projection` names.
    pub(super) async fn batch_items(
        &self,
        mut keys: Vec<Item>,
        projection: Option<&str>,
    ) -> Result<Vec<Item>, Error> {
        let mut items = Vec::with_capacity(keys.len());
        // Since it last gave a part.
        let mut tried = 0;
        while !keys.is_empty() {
            let mut wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
            if let Some(projection) = projection {
                wanted =
                    wanted.projection_expression(projection).expression_attribute_names("#status", "status");
            }
            let wanted = wanted.build().map_err(|error| Error::Refused(error.into()))?;
            let call = self.client.batch_get_item().request_items(&self.table, wanted);
            let mut output = call.send().await.map_err(error)?;
            let found =
                output.responses.as_mut().and_then(|tables| tables.remove(&self.table)).unwrap_or_default();
            // What did not fit one answer of 16 MB, or was too much at once, is asked for again.
            keys = output
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(&self.table))
                .map_or_else(Vec::new, |rest| rest.keys);
            tried = if found.is_empty() { tried + 1 } else { 1 };
            items.extend(found);
            if keys.is_empty() {
                break;
            }
            if tried == MAX_ATTEMPTS {
                return Err(Error::Unavailable("the table gives no part of a batch".into()));
            }
            pause(tried).await;
        }
        Ok(items)
    }
}

/// Where the rows are that a query is about.
fn partitions(query: &ListQuery) -> Vec<Partition> {
    if let Some(secret) = query.filter.secret {
        return vec![Partition::Users(secret)];
    }
    let live: Vec<_> = match (&query.scope, &query.filter.user) {
        (Scope::All, None) => Partition::all_shards().collect(),
        (Scope::All, Some(id)) => named(id).into_iter().map(Partition::Owner).collect(),
        (Scope::Owners(own), user) => {
            // Of what is one's own, one's own rows are enough.
            let is_meant = |key: &&OwnerKey| user.as_ref().is_some_and(|id| key.id == *id);
            let meant: Vec<_> = own.iter().filter(is_meant).cloned().collect();
            let keys = if meant.is_empty() { own.clone() } else { meant };
            keys.into_iter().map(Partition::Owner).collect()
        }
    };
    if query.filter.deleted { live.into_iter().map(Partition::of_deleted).collect() } else { live }
}

/// The user and the tenant of this id.
fn named(id: &str) -> [OwnerKey; 2] {
    [OwnerKey::user(id), OwnerKey::tenant(id)]
}

fn position(row: &Row) -> Position {
    Position { id: row.sk, name: row.name.clone(), updated_at: row.updated_at }
}

fn compare(order: ListOrder, a: &Position, b: &Position) -> Ordering {
    let by_key = match order.key {
        SortKey::CreatedAt => Ordering::Equal,
        SortKey::UpdatedAt => a.updated_at.cmp(&b.updated_at),
        SortKey::Name => a.name.cmp(&b.name),
    };
    let ordering = by_key.then_with(|| a.id.cmp(&b.id));
    if order.descending { ordering.reverse() } else { ordering }
}

/// The filter as DynamoDB applies it, so that rows that do not pass are not sent.
struct RowFilter(Vec<Condition>);

/// What an attribute must be, or contain; one of several values is enough.
struct Condition {
    attribute: &'static str,
    values: Vec<String>,
    contains: bool,
}

impl RowFilter {
    fn new(partition: &Partition, query: &ListQuery) -> Self {
        let filter = &query.filter;
        let is = |attribute, value: Option<String>| {
            value.map(|value| Condition { attribute, values: vec![value], contains: false })
        };
        let has = |attribute, values: Vec<String>| Condition { attribute, values, contains: true };
        let texts = |keys: &[OwnerKey]| keys.iter().map(ToString::to_string).collect();
        let status = filter.status.filter(|_| partition.owner().is_some());
        let user = filter.user.as_ref().filter(|id| partition.owner().is_none_or(|owner| owner.id != **id));
        // Other rows than those of a secret are the scope's own.
        let scope = match (&query.scope, partition) {
            (Scope::Owners(keys), Partition::Users(_)) => Some(has("owners", texts(keys))),
            _ => None,
        };
        let conditions = [
            is("status", status.map(|status| status.as_str().to_owned())),
            is("type", filter.kind.clone()),
            is("fromTemplate", filter.from_template.map(|id| id.to_string())),
            filter.search.as_deref().map(|text| has("text", vec![search_text(text)])),
            user.map(|id| has("owners", texts(&named(id)))),
            scope,
        ];
        Self(conditions.into_iter().flatten().collect())
    }

    /// Adds the filter, and reads nothing of a row but what the order needs.
    fn apply(&self, mut call: QueryFluentBuilder, key: SortKey) -> QueryFluentBuilder {
        call = match key {
            SortKey::CreatedAt => call.projection_expression("pk, sk, expiresAt"),
            SortKey::UpdatedAt => call.projection_expression("pk, sk, expiresAt, updatedAt"),
            SortKey::Name => call
                .projection_expression("pk, sk, expiresAt, #name")
                .expression_attribute_names("#name", "name"),
        };
        let mut conditions = Vec::with_capacity(self.0.len());
        for (place, Condition { attribute, values, contains }) in self.0.iter().enumerate() {
            let name = format!("#{attribute}");
            let mut ways = Vec::with_capacity(values.len());
            for (way, value) in values.iter().enumerate() {
                let given = format!(":c{place}_{way}");
                let is = if *contains {
                    format!("contains({name}, {given})")
                } else {
                    format!("{name} = {given}")
                };
                ways.push(is);
                call = call.expression_attribute_values(given, AttributeValue::S(value.clone()));
            }
            conditions.push(format!("({})", ways.join(" OR ")));
            call = call.expression_attribute_names(name, *attribute);
        }
        call.set_filter_expression(Some(conditions.join(" AND ")).filter(|conditions| !conditions.is_empty()))
    }
}
