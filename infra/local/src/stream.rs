//! The event source mapping: follows the table's stream and hands its records to a function in order.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client as Tables;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::primitives::DateTime;
use aws_sdk_dynamodbstreams::types::{
    AttributeValue, OperationType, Record, ShardIteratorType, StreamViewType,
};
use serde_json::{Value, json};
use shared::limits::LAMBDA_EVENT_BYTES;

use crate::functions::{Functions, size};
use crate::template::{Stream, matches};

/// How long an empty stream is left alone when nobody writes.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// `{"Records":[]}`
const AROUND_RECORDS: usize = 14;
const MIN_BACKOFF: Duration = Duration::from_millis(25);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Where a stream is followed, and how far.
pub struct Follower {
    tables: Tables,
    streams: Client,
    table: String,
    checkpoint: Option<PathBuf>,
}

type Image = HashMap<String, AttributeValue>;
type Error = Box<dyn std::error::Error + Send + Sync>;

impl Follower {
    /// Follows the stream of this table. The position is kept in a file beside `checkpoint`, so that no
    /// change is announced twice or never when the server ends between the two.
    #[must_use]
    pub fn new(aws: &SdkConfig, table: &str, checkpoint: Option<PathBuf>) -> Self {
        Self { tables: Tables::new(aws), streams: Client::new(aws), table: table.into(), checkpoint }
    }

    /// Follows until the server ends. Failures are retried for ever: the stream forgets nothing here.
    pub async fn run(mut self, stream: &Stream, functions: &'static Functions) {
        // Each function is as far as it is.
        self.checkpoint = self.checkpoint.map(|path| path.with_added_extension(&stream.function));
        let mut last = self.checkpoint.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        // Half a position is none: better to announce twice than never.
        last = last.filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
        let mut backoff = MIN_BACKOFF;
        loop {
            match self.follow(stream, functions, &mut last, &mut backoff).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(error = %error, "stream.failed"),
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    async fn follow(
        &self,
        stream: &Stream,
        functions: &'static Functions,
        last: &mut Option<String>,
        backoff: &mut Duration,
    ) -> Result<(), Error> {
        let table = self.tables.describe_table().table_name(&self.table).send().await.map_err(flat)?;
        let arn = table.table.and_then(|table| table.latest_stream_arn).ok_or("the table has no stream")?;
        let description = self.streams.describe_stream().stream_arn(&arn).send().await.map_err(flat)?;
        let shards =
            description.stream_description.and_then(|description| description.shards).unwrap_or_default();
        let shard =
            shards.into_iter().next().and_then(|shard| shard.shard_id).ok_or("the stream has no shard")?;
        let iterator = self
            .streams
            .get_shard_iterator()
            .stream_arn(&arn)
            .shard_id(shard)
            .set_sequence_number(last.clone());
        let kind = if last.is_some() {
            ShardIteratorType::AfterSequenceNumber
        } else {
            ShardIteratorType::TrimHorizon
        };
        let mut iterator = iterator.shard_iterator_type(kind).send().await.map_err(flat)?.shard_iterator;
        while let Some(position) = iterator {
            // Made before the records are read, so that it hears of what is written meanwhile.
            let written = functions.done.notified();
            let output = self.streams.get_records().shard_iterator(position).send().await.map_err(flat)?;
            let records = output.records.unwrap_or_default();
            if records.is_empty() {
                // Not asked again before something may have been written.
                tokio::select! {
                    () = written => {}
                    () = tokio::time::sleep(MAX_PAUSE) => {}
                }
            }
            let mut rest = records.as_slice();
            while !rest.is_empty() {
                let (batch, later) = rest.split_at(batch_length(rest, stream.batch_size));
                self.hand_over(batch, stream, functions, last).await?;
                *backoff = MIN_BACKOFF;
                rest = later;
            }
            iterator = output.next_shard_iterator;
        }
        Ok(())
    }

    /// Invokes the function with a batch. When it names a record that failed, everything from that
    /// one on comes again.
    async fn hand_over(
        &self,
        batch: &[Record],
        stream: &Stream,
        functions: &'static Functions,
        last: &mut Option<String>,
    ) -> Result<(), Error> {
        let events: Vec<Value> = batch.iter().filter_map(record).collect();
        let wanted: Vec<&Value> = events
            .iter()
            .filter(|event| {
                stream.filters.is_empty() || stream.filters.iter().any(|filter| matches(filter, event))
            })
            .collect();
        let mut failed = None;
        if !wanted.is_empty() {
            let response = functions.invoke(&stream.function, json!({"Records": wanted})).await?;
            let first = response.pointer("/batchItemFailures/0/itemIdentifier").and_then(Value::as_str);
            failed = first.map(ToOwned::to_owned);
        }
        let done = batch
            .iter()
            .filter_map(sequence_number)
            .take_while(|number| failed.as_deref() != Some(*number))
            .last();
        if let Some(number) = done {
            if let Some(path) = &self.checkpoint {
                let draft = path.with_added_extension("draft");
                std::fs::write(&draft, number)?;
                std::fs::rename(&draft, path)?;
            }
            *last = Some(number.to_owned());
        }
        failed.map_or(Ok(()), |number| Err(format!("record {number} has to come again").into()))
    }
}

/// How many records the next batch has: no more than the mapping says, and than fit an event. At least one.
fn batch_length(records: &[Record], most: usize) -> usize {
    let mut bytes = AROUND_RECORDS;
    let fitting = records.iter().take(most).take_while(|next| {
        bytes += record(next).map_or(0, |event| size(&event) + 1);
        bytes <= LAMBDA_EVENT_BYTES
    });
    fitting.count().max(1)
}

fn sequence_number(record: &Record) -> Option<&str> {
    record.dynamodb()?.sequence_number()
}

/// A record in the form in which Lambda hands it to a function.
fn record(record: &Record) -> Option<Value> {
    let change = record.dynamodb()?;
    let image = |image: Option<&Image>| {
        image.map(|image| serde_json::to_value(serde_dynamo::Item::from(image.clone())))
    };
    let mut dynamodb = json!({
        "ApproximateCreationDateTime": change.approximate_creation_date_time().map(DateTime::secs),
        "SequenceNumber": change.sequence_number(),
        "SizeBytes": change.size_bytes(),
        "StreamViewType": change.stream_view_type().map(StreamViewType::as_str),
        "Keys": image(change.keys())?.ok()?,
        "NewImage": image(change.new_image()).transpose().ok()?,
        "OldImage": image(change.old_image()).transpose().ok()?,
    });
    // An image that is not there is left out, as Lambda does.
    if let Some(members) = dynamodb.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    Some(json!({
        "eventID": record.event_id(),
        "eventName": record.event_name().map(OperationType::as_str),
        "eventVersion": record.event_version(),
        "eventSource": record.event_source(),
        "awsRegion": record.aws_region(),
        "dynamodb": dynamodb,
    }))
}

fn flat<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    DisplayErrorContext(error).to_string().into()
}
