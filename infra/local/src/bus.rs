//! The event bus: keeps every event, and delivers it to the functions that the template's rules name.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use shared::flow::{FlowId, ObjectId, Status, Timestamp};
use shared::json::Plain;
use shared::limits::{EVENTBRIDGE_BYTES, EVENTBRIDGE_ENTRIES, LAMBDA_ASYNCHRONOUS_EVENT_BYTES};
use tokio::sync::mpsc;

use crate::functions::Functions;
use crate::template::{Rule, matches};

/// The oldest events are forgotten after this many.
const MAX_EVENTS: usize = 100_000;
/// Lambda tries asynchronous invocations this often, and then sets the event aside.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(100);
/// How long the stand-in orchestrator takes.
const ORCHESTRATOR_DELAY: Duration = Duration::from_millis(200);
const ORCHESTRATOR: &str = "component-orchestrator";

/// The bus of a local server. Events are kept as they are written: read as values, their numbers would be rounded.
pub struct Bus {
    events: Mutex<Vec<Box<RawValue>>>,
    dead_letters: Mutex<Vec<Box<RawValue>>>,
    deliveries: mpsc::UnboundedSender<Box<RawValue>>,
}

/// An event that is to be put on the bus.
#[derive(Debug)]
pub struct Entry {
    /// Who says it.
    pub source: String,
    /// What kind it is of.
    pub detail_type: String,
    /// What it says.
    pub detail: Box<RawValue>,
    /// When; by default now.
    pub time: Option<String>,
}

impl Entry {
    /// By EventBridge's own rule: 14 bytes for a time, and the bytes of the texts.
    fn size(&self) -> usize {
        let time = if self.time.is_some() { 14 } else { 0 };
        time + self.source.len() + self.detail_type.len() + self.detail.get().len()
    }
}

/// Entries that EventBridge does not take together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Total size of the entries in the request is over the limit.")]
pub struct TooLarge;

/// An event as rules and functions get it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Event<'a> {
    version: &'a str,
    id: &'a str,
    source: &'a str,
    detail_type: &'a str,
    account: &'a str,
    time: String,
    region: &'a str,
    resources: [&'a str; 0],
    detail: &'a RawValue,
}

impl Bus {
    /// An empty bus, and where what is put on it arrives.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Box<RawValue>>) {
        let (deliveries, arrivals) = mpsc::unbounded_channel();
        (Self { events: Mutex::default(), dead_letters: Mutex::default(), deliveries }, arrivals)
    }

    /// Puts events on the bus, in EventBridge's form; gives their ids.
    ///
    /// # Errors
    /// When they are more, or larger, than EventBridge takes at once.
    pub fn put(&self, entries: &[Entry]) -> Result<Vec<String>, TooLarge> {
        let bytes: usize = entries.iter().map(Entry::size).sum();
        if entries.len() > EVENTBRIDGE_ENTRIES || bytes >= EVENTBRIDGE_BYTES {
            return Err(TooLarge);
        }
        Ok(entries.iter().map(|entry| self.put_entry(entry)).collect())
    }

    fn put_entry(&self, entry: &Entry) -> String {
        let id = ObjectId::generate().to_string();
        let event = to_raw_value(&Event {
            version: "0",
            id: &id,
            source: &entry.source,
            detail_type: &entry.detail_type,
            account: "000000000000",
            time: entry.time.clone().unwrap_or_else(|| Timestamp::now().to_string()),
            region: "local",
            resources: [],
            detail: &entry.detail,
        });
        let Ok(event) = event else { return id };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= MAX_EVENTS {
            events.drain(..MAX_EVENTS / 10);
        }
        events.push(event.clone());
        // Fails only when the server ends.
        let _ = self.deliveries.send(event);
        id
    }

    /// Puts on the bus what an orchestrator says of a flow that has come up, or down.
    pub fn confirm(&self, status: Status, flow: FlowId, run_id: Option<ObjectId>) {
        let answer = if status == Status::Starting { "flow.started" } else { "flow.stopped" };
        if let Ok(detail) = to_raw_value(&json!({"id": flow, "runId": run_id})) {
            let (source, detail_type) = (ORCHESTRATOR.into(), answer.into());
            self.put_entry(&Entry { source, detail_type, detail, time: None });
        }
    }

    /// Everything put on the bus, in order.
    pub fn events(&self) -> Vec<Box<RawValue>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what could not be delivered or read.
    pub fn set_aside(&self, letter: Box<RawValue>) {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    }

    /// What could not be delivered or read.
    pub fn dead_letters(&self) -> Vec<Box<RawValue>> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Delivers events, one after the other, until the server ends.
pub async fn deliver(
    bus: &'static Bus,
    mut arrivals: mpsc::UnboundedReceiver<Box<RawValue>>,
    rules: &[Rule],
    functions: &'static Functions,
    orchestrator: bool,
) {
    while let Some(text) = arrivals.recv().await {
        let event = match serde_json::from_str(text.get()) {
            Ok(Plain(event)) => event,
            Err(error) => {
                tracing::warn!(error = %error, "event.unreadable");
                bus.set_aside(text);
                continue;
            }
        };
        if orchestrator {
            orchestrate(bus, &event);
        }
        for rule in rules.iter().filter(|rule| matches(&rule.pattern, &event)) {
            if text.get().len() > LAMBDA_ASYNCHRONOUS_EVENT_BYTES {
                bus.set_aside(text.clone());
                continue;
            }
            let mut attempt = 1;
            while let Err(error) = functions.invoke(&rule.function, event.clone()).await {
                tracing::warn!(function = rule.function, error = %error, attempt, "event.failed");
                if attempt == ATTEMPTS {
                    bus.set_aside(text.clone());
                    break;
                }
                tokio::time::sleep(BACKOFF * 2_u32.pow(attempt)).await;
                attempt += 1;
            }
        }
    }
}

/// Answers as an orchestrator would whose components always work.
fn orchestrate(bus: &'static Bus, event: &Value) {
    let status = match event.get("detail-type").and_then(Value::as_str) {
        Some("flow.starting") => Status::Starting,
        Some("flow.stopping") => Status::Stopping,
        _ => return,
    };
    let id = |name: &str| event.pointer(&format!("/detail/data/{name}")).and_then(Value::as_str);
    let Some(flow) = id("id").and_then(|id| id.parse().ok()) else { return };
    let run_id = id("runId").and_then(|id| id.parse().ok());
    tokio::spawn(async move {
        tokio::time::sleep(ORCHESTRATOR_DELAY).await;
        bus.confirm(status, flow, run_id);
    });
}
