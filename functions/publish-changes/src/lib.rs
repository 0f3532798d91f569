//! The table's stream → the event bus: what has been stored is announced, and nothing else.

use std::collections::BTreeSet;

use aws_lambda_events::event::dynamodb::EventRecord;
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use aws_sdk_sqs::error::DisplayErrorContext;
use lambda_runtime::LambdaEvent;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::config::{self, ConfigError};
use shared::events::{Event, PublishError, Publisher, event_of_read, event_of_secret, events_of_change};
use shared::flow::Timestamp;
use shared::limits::SQS_MESSAGE_BYTES;
use shared::store::{self, Kind, read_head, read_secret_head, read_secret_read};
use shared::telemetry::{Metric, measure};

/// Where events go, and where changes go that cannot be read.
pub struct App {
    /// The bus.
    pub publisher: Publisher,
    /// The queue service.
    pub queues: aws_sdk_sqs::Client,
    /// The queue of unreadable changes.
    pub unreadable_queue_url: String,
}

impl App {
    /// Reads the settings of this process and opens its clients.
    ///
    /// # Errors
    /// When a setting is missing.
    pub fn from_env() -> Result<Self, ConfigError> {
        let config = config::environment();
        let aws = config::aws()?;
        Ok(Self {
            publisher: Publisher::new(&aws, config.event_bus_name()?),
            queues: aws_sdk_sqs::Client::new(&aws),
            unreadable_queue_url: config.unreadable_queue_url()?,
        })
    }
}

/// A batch of the stream. Records are read one by one, so that one that cannot be read stops no other.
#[derive(Deserialize)]
pub struct Batch {
    /// The records as they came.
    #[serde(rename = "Records")]
    pub records: Vec<Box<RawValue>>,
}

/// Why a record is no change of a flow or a secret.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the record is not one of a table's stream")]
    Record(#[source] serde_json::Error),
    #[error("the image is not a flow or a secret")]
    Image(#[source] store::Error),
    #[error("the event cannot be written")]
    Event(#[source] serde_json::Error),
}

/// Publishes the events of every record, in order, and names the first record that has to be
/// delivered again. One that can never be published is set aside whole, so that it blocks nothing.
///
/// # Errors
/// When a record that failed has no sequence number to name it by; then the whole batch comes again.
pub async fn handle(
    app: &App,
    event: LambdaEvent<Batch>,
) -> Result<DynamoDbEventResponse, lambda_runtime::Error> {
    let records = event.payload.records;
    let mut events: Vec<Event> = Vec::new();
    // For each event, which record it comes from.
    let mut origins = Vec::new();
    let mut failed = BTreeSet::new();
    for (index, record) in records.iter().enumerate() {
        match read(record) {
            Ok(found) => {
                origins.extend(found.iter().map(|_| (index, record)));
                events.extend(found);
            }
            Err(error) if set_aside(app, record, &error).await => {}
            Err(_) => drop(failed.insert(index)),
        }
    }
    let results = app.publisher.publish(&events).await;
    measure(&measured(&events, &results));
    for ((index, record), result) in origins.into_iter().zip(results) {
        match result {
            Ok(()) => {}
            Err(error @ PublishError::Never(_)) if set_aside(app, record, &error).await => {}
            Err(error) => {
                tracing::warn!(error = %error, "publish.failed");
                failed.insert(index);
            }
        }
    }
    let mut response = DynamoDbEventResponse::default();
    // The mapping delivers again everything from the first failure on.
    if let Some(record) = failed.first().and_then(|index| records.get(*index)) {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier =
            Some(sequence_number(record).ok_or("a record that failed has no sequence number")?);
        response.batch_item_failures.push(failure);
    }
    Ok(response)
}

/// What an operator sees of a batch.
fn measured(events: &[Event], results: &[Result<(), PublishError>]) -> Vec<(Metric, u64)> {
    let mut values = Vec::new();
    let published = || events.iter().zip(results).filter(|(_, result)| result.is_ok());
    if let Some(oldest) = published().map(|(event, _)| event.time).min() {
        let delay = Timestamp::now().millis().saturating_sub(oldest.millis());
        values.extend([(Metric::EventsPublished, published().count() as u64), (Metric::PublishDelay, delay)]);
    }
    let failures = results.iter().filter(|result| matches!(result, Err(PublishError::Later(_)))).count();
    if failures > 0 {
        values.push((Metric::PublishFailures, failures as u64));
    }
    values
}

fn read(record: &RawValue) -> Result<Vec<Event>, Unreadable> {
    let record: EventRecord = serde_json::from_str(record.get()).map_err(Unreadable::Record)?;
    let (before, after) = (record.change.old_image, record.change.new_image);
    let events = match Kind::of(&record.change.keys) {
        Kind::Flow => {
            let (before, after) = (image(before, read_head)?, image(after, read_head)?);
            events_of_change(before.as_ref(), after.as_ref())
        }
        Kind::Secret => {
            let (before, after) = (image(before, read_secret_head)?, image(after, read_secret_head)?);
            event_of_secret(before.as_ref(), after.as_ref()).map(Vec::from_iter)
        }
        // It is written once; when it goes, that is no event.
        Kind::SecretRead => match image(after, read_secret_read)? {
            Some(reading) => event_of_read(&reading).map(|event| vec![event]),
            None => Ok(Vec::new()),
        },
    };
    events.map_err(Unreadable::Event)
}

fn image<T>(
    item: serde_dynamo::Item,
    read: impl FnOnce(serde_dynamo::Item) -> Result<T, store::Error>,
) -> Result<Option<T>, Unreadable> {
    if item.is_empty() { Ok(None) } else { read(item).map(Some).map_err(Unreadable::Image) }
}

/// Keeps a record that can never be published where an operator finds it; tells whether that worked.
async fn set_aside(app: &App, record: &RawValue, error: &(dyn std::error::Error + Sync)) -> bool {
    tracing::error!(error = %error, cause = error.source().map(tracing::field::display), "change.unreadable");
    measure(&[(Metric::ChangesUnreadable, 1)]);
    let whole = record.get().len() <= SQS_MESSAGE_BYTES;
    let message = if whole { record.get().to_owned() } else { without_old_image(record) };
    let call = app.queues.send_message().queue_url(&app.unreadable_queue_url).message_body(message);
    match call.send().await {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(error = %DisplayErrorContext(&error), "change.not_set_aside");
            false
        }
    }
}

/// Two images of the largest items do not fit one message; the older is still in the backups.
fn without_old_image(record: &RawValue) -> String {
    let mut value: serde_json::Value = serde_json::from_str(record.get()).unwrap_or_default();
    if let Some(change) = value.get_mut("dynamodb").and_then(serde_json::Value::as_object_mut) {
        change.remove("OldImage");
    }
    value.to_string()
}

fn sequence_number(record: &RawValue) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(record.get()).ok()?;
    value.pointer("/dynamodb/SequenceNumber")?.as_str().map(Into::into)
}
