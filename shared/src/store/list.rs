//! Lists: rows of one or more partitions, merged without duplicates, and then the heads of one page.

use std::cmp::Ordering;
use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::item::{self, Head, Row, read_head, search_text};
use super::keys::Partition;
use super::{Error, Item, Store, error};
use crate::flow::{Flow, FlowId, ObjectId, Status, Timestamp};

/// `BatchGetItem` takes no more keys.
const MAX_BATCH: usize = 100;
/// Batches under way at once.
const CONCURRENCY: usize = 8;
/// An answer of a function is at most 6 MB; JSON in JSON needs some of that for escapes.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Whose flows are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of these owners.
    Owners(Vec<String>),
    /// Every flow.
    All,
}

impl Scope {
    /// Whether this flow is among them.
    #[must_use]
    pub fn contains(&self, flow: &Flow) -> bool {
        match self {
            Self::All => true,
            Self::Owners(ids) => ids.iter().any(|id| flow.document.is_owned_by(id)),
        }
    }
}

/// Which of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// That have this status.
    pub status: Option<Status>,
    /// That have this type.
    pub kind: Option<String>,
    /// That have this owner too.
    pub user: Option<String>,
    /// That were made from this template.
    pub from_template: Option<ObjectId>,
    /// That have this in name or description, in any case.
    pub search: Option<String>,
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
pub struct FlowPage {
    /// The flows, in order.
    pub flows: Vec<Flow>,
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
    pub async fn list(&self, query: &ListQuery) -> Result<FlowPage, Error> {
        let partitions = partitions(query);
        let walk = query.order.key == SortKey::CreatedAt && matches!(query.paging, Paging::After(_));
        // One more than the page, to know whether there is a next one.
        let limit = if walk { query.size + 1 } else { usize::MAX };
        let rows = partitions.iter().map(|partition| self.rows(partition, query, limit));
        let mut rows: Vec<Row> = try_join_all(rows).await?.into_iter().flatten().collect();
        rows.sort_by(|a, b| compare(query.order, &position(a), &position(b)));
        rows.dedup_by_key(|row| row.sk);

        let (total, skipped) = match &query.paging {
            Paging::Number(number) => (Some(rows.len()), (number - 1).saturating_mul(query.size)),
            Paging::After(None) => (None, 0),
            Paging::After(Some(last)) => {
                (None, rows.partition_point(|row| compare(query.order, &position(row), last).is_le()))
            }
        };
        let mut page: Vec<Row> = rows.into_iter().skip(skipped).take(query.size + 1).collect();
        let mut more = page.len() > query.size;
        page.truncate(query.size);

        let mut heads = self.heads(&page).await?;
        let mut flows = Vec::with_capacity(page.len());
        let mut bytes = 0;
        let mut last = None;
        for row in &page {
            if let Some((flow, size)) = heads.remove(&row.sk) {
                bytes += size;
                if bytes > MAX_PAGE_BYTES && !flows.is_empty() {
                    if total.is_some() {
                        return Err(Error::PageTooLarge);
                    }
                    more = true;
                    break;
                }
                // The flow may have been given away since its row was read.
                if query.scope.contains(&flow) {
                    flows.push(flow);
                }
            }
            last = Some(position(row));
        }
        Ok(FlowPage { flows, total, next: last.filter(|_| more) })
    }

    /// The rows of one partition that pass the filter, from where the page begins if that is known;
    /// at most about `limit`.
    async fn rows(&self, partition: &Partition, query: &ListQuery, limit: usize) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let mut start = match &query.paging {
            Paging::After(Some(last)) if query.order.key == SortKey::CreatedAt => {
                Some(partition.position(last.id))
            }
            _ => None,
        };
        let filter = RowFilter::new(partition, query);
        let by_head = matches!(partition, Partition::Shard(_)) && query.filter.status.is_some();
        let at_once = if by_head { limit.max(MAX_BATCH) } else { limit };
        loop {
            let call = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", AttributeValue::S(partition.key()))
                .scan_index_forward(!(query.order.key == SortKey::CreatedAt && query.order.descending))
                .consistent_read(true)
                .set_limit(i32::try_from(at_once).ok().filter(|_| filter.is_empty()))
                .set_exclusive_start_key(start);
            let output = filter.apply(call, query.order.key).send().await.map_err(error)?;
            for row in output.items.unwrap_or_default() {
                rows.push(item::read::<Row>(row)?);
            }
            if let Some(status) = query.filter.status.filter(|_| by_head) {
                rows = self.with_status(rows, status).await?;
            }
            start = output.last_evaluated_key;
            if start.is_none() || rows.len() >= limit {
                return Ok(rows);
            }
        }
    }

    /// Of rows that have no status, those whose heads have this one.
    async fn with_status(&self, rows: Vec<Row>, status: Status) -> Result<Vec<Row>, Error> {
        let (known, unknown): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.status.is_some());
        let heads = self.heads(&unknown).await?;
        let found = unknown.into_iter().filter_map(|row| {
            let own = heads.get(&row.sk)?.0.status;
            (own == status).then_some(Row { status: Some(own), ..row })
        });
        Ok(known.into_iter().chain(found).collect())
    }

    /// The flows of these rows with the bytes of their documents.
    async fn heads(&self, rows: &[Row]) -> Result<HashMap<FlowId, (Flow, usize)>, Error> {
        let batches: Vec<Vec<Item>> = rows
            .chunks(MAX_BATCH)
            .map(|rows| rows.iter().map(|row| item::head_key(row.sk)).collect())
            .collect();
        let heads: Vec<Vec<Item>> = stream::iter(batches)
            .map(|keys| self.batch(keys))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut flows = HashMap::with_capacity(rows.len());
        for item in heads.into_iter().flatten() {
            if let Head::Live(flow) = read_head(item)? {
                let size = serde_json::to_vec(&flow.document).map_or(0, |json| json.len());
                flows.insert(flow.id, (*flow, size));
            }
        }
        Ok(flows)
    }

    async fn batch(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, Error> {
        let mut items = Vec::with_capacity(keys.len());
        while !keys.is_empty() {
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let wanted = wanted.map_err(|error| Error::Refused(error.into()))?;
            let call = self.client.batch_get_item().request_items(&self.table, wanted);
            let mut output = call.send().await.map_err(error)?;
            let found =
                output.responses.as_mut().and_then(|tables| tables.remove(&self.table)).unwrap_or_default();
            // What did not fit one answer of 16 MB is asked for again.
            keys = output
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(&self.table))
                .map_or_else(Vec::new, |rest| rest.keys);
            if found.is_empty() && !keys.is_empty() {
                return Err(Error::Unavailable("the table gives no part of a batch".into()));
            }
            items.extend(found);
        }
        Ok(items)
    }
}

/// Where the rows are that a query is about.
fn partitions(query: &ListQuery) -> Vec<Partition> {
    match (&query.scope, &query.filter.user) {
        (Scope::All, None) => Partition::all_shards().collect(),
        (Scope::All, Some(user)) => vec![Partition::Owner(user.clone())],
        (Scope::Owners(ids), Some(user)) if ids.contains(user) => {
            vec![Partition::Owner(user.clone())]
        }
        (Scope::Owners(ids), _) => ids.iter().cloned().map(Partition::Owner).collect(),
    }
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
struct RowFilter {
    conditions: Vec<&'static str>,
    names: Vec<(&'static str, &'static str)>,
    values: Vec<(&'static str, AttributeValue)>,
}

impl RowFilter {
    fn new(partition: &Partition, query: &ListQuery) -> Self {
        let filter = &query.filter;
        let mut this = Self { conditions: Vec::new(), names: Vec::new(), values: Vec::new() };
        if let (Partition::Owner(_), Some(status)) = (partition, filter.status) {
            this.add("#status = :status", ("#status", "status"), (":status", status.as_str()));
        }
        if let Some(kind) = &filter.kind {
            this.add("#type = :type", ("#type", "type"), (":type", kind));
        }
        if let Some(template) = &filter.from_template {
            this.add(
                "#template = :template",
                ("#template", "fromTemplate"),
                (":template", &template.to_string()),
            );
        }
        if let Some(search) = &filter.search {
            this.add("contains(#text, :search)", ("#text", "text"), (":search", &search_text(search)));
        }
        if let Some(user) =
            filter.user.as_ref().filter(|user| *partition != Partition::Owner((*user).clone()))
        {
            this.add("contains(#owners, :user)", ("#owners", "owners"), (":user", user));
        }
        this
    }

    fn add(
        &mut self,
        condition: &'static str,
        name: (&'static str, &'static str),
        value: (&'static str, &str),
    ) {
        self.conditions.push(condition);
        self.names.push(name);
        self.values.push((value.0, AttributeValue::S(value.1.to_owned())));
    }

    /// Whether every row passes in DynamoDB. (A status may still be filtered here afterwards.)
    fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Adds the filter, and reads nothing of a row but what the order needs.
    fn apply(
        &self,
        mut call: aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder,
        key: SortKey,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        call = match key {
            SortKey::CreatedAt => call.projection_expression("pk, sk"),
            SortKey::UpdatedAt => call.projection_expression("pk, sk, updatedAt"),
            SortKey::Name => {
                call.projection_expression("pk, sk, #name").expression_attribute_names("#name", "name")
            }
        };
        if !self.is_empty() {
            call = call.filter_expression(self.conditions.join(" AND "));
        }
        for (placeholder, name) in &self.names {
            call = call.expression_attribute_names(*placeholder, *name);
        }
        for (placeholder, value) in &self.values {
            call = call.expression_attribute_values(*placeholder, value.clone());
        }
        call
    }
}
