use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::error::DisplayErrorContext;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};

use super::change::MAX_ENTRY_BYTES;
use super::{Event, SOURCE};
use crate::limits::EVENTBRIDGE_ENTRIES;

/// How often failed entries are sent again before the stream has to deliver them again.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(100);
/// Codes of entries that no further attempt will help.
const HOPELESS: [&str; 2] = ["MalformedDetail", "InvalidArgument"];

/// Why an event is not on the bus.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublishError {
    /// The bus failed to take it; it may take it later.
    #[error("the bus did not take the event: {0}")]
    Later(String),
    /// The bus will never take it.
    #[error("the bus refuses the event: {0}")]
    Never(String),
}

/// The event bus.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    bus: String,
}

impl Publisher {
    /// The bus of this name.
    #[must_use]
    pub fn new(aws: &SdkConfig, bus: String) -> Self {
        Self { client: Client::new(aws), bus }
    }

    /// Puts events on the bus in their order, in as few calls as EventBridge allows. One result
    /// per event: `PutEvents` answers 200 when only some have failed.
    pub async fn publish(&self, events: &[Event]) -> Vec<Result<(), PublishError>> {
        let mut results = Vec::with_capacity(events.len());
        let mut rest = events;
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(chunk_length(rest));
            results.extend(self.put(chunk).await);
            if results.iter().any(|result| matches!(result, Err(PublishError::Later(_)))) {
                // Everything from the first failure on is delivered again.
                results.resize(events.len(), Err(PublishError::Later("not tried".into())));
                break;
            }
            rest = later;
        }
        results
    }

    async fn put(&self, events: &[Event]) -> Vec<Result<(), PublishError>> {
        let mut results = vec![Err(PublishError::Later(String::new())); events.len()];
        for attempt in 0..ATTEMPTS {
            let pending: Vec<usize> = results
                .iter()
                .enumerate()
                .filter_map(|(index, result)| matches!(result, Err(PublishError::Later(_))).then_some(index))
                .collect();
            if pending.is_empty() {
                break;
            }
            if attempt > 0 {
                tokio::time::sleep(BACKOFF * 2_u32.pow(attempt)).await;
            }
            let entries =
                pending.iter().filter_map(|index| events.get(*index)).map(|event| self.entry(event));
            let answers = match self.client.put_events().set_entries(Some(entries.collect())).send().await {
                Ok(output) => output.entries.unwrap_or_default().iter().map(outcome).collect(),
                Err(error) => {
                    let text = DisplayErrorContext(&error).to_string();
                    vec![Err(PublishError::Later(text)); pending.len()]
                }
            };
            for (index, answer) in pending.into_iter().zip(answers) {
                if let Some(result) = results.get_mut(index) {
                    *result = answer;
                }
            }
        }
        results
    }

    fn entry(&self, event: &Event) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(SOURCE)
            .detail_type(event.name)
            .time(aws_sdk_eventbridge::primitives::DateTime::from_millis(
                i64::try_from(event.time.millis()).unwrap_or(i64::MAX),
            ))
            .detail(&event.detail)
            .build()
    }

    /// Asks for the bus.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping(&self) -> Result<(), PublishError> {
        let call = self.client.describe_event_bus().name(&self.bus);
        call.send()
            .await
            .map(drop)
            .map_err(|error| PublishError::Later(DisplayErrorContext(&error).to_string()))
    }
}

fn outcome(entry: &PutEventsResultEntry) -> Result<(), PublishError> {
    match entry.error_code() {
        None => Ok(()),
        Some(code) if HOPELESS.contains(&code) => Err(PublishError::Never(code.into())),
        Some(code) => Err(PublishError::Later(code.into())),
    }
}

/// How many events fit the next call, which takes no more bytes than one entry may have; at least one.
fn chunk_length(events: &[Event]) -> usize {
    let mut bytes = 0;
    let fitting = events.iter().take(EVENTBRIDGE_ENTRIES).take_while(|event| {
        bytes += event.size();
        bytes < MAX_ENTRY_BYTES
    });
    fitting.count().max(1)
}
