//! The event bus: keeps every event, and delivers it to the functions that the template's rules name.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use shared::flow::{FlowId, ObjectId, Status, Timestamp};
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

/// The bus of a local server.
pub struct Bus {
    events: Mutex<Vec<Value>>,
    dead_letters: Mutex<Vec<Value>>,
    deliveries: mpsc::UnboundedSender<Value>,
}

impl Bus {
    /// An empty bus, and where what is put on it arrives.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Value>) {
        let (deliveries, arrivals) = mpsc::unbounded_channel();
        (Self { events: Mutex::default(), dead_letters: Mutex::default(), deliveries }, arrivals)
    }

    /// Puts an event on the bus, in EventBridge's form; gives its id.
    pub fn put(&self, source: &str, detail_type: &str, detail: &Value, time: Option<String>) -> String {
        let id = ObjectId::generate().to_string();
        let event = json!({
            "version": "0",
            "id": id,
            "source": source,
            "detail-type": detail_type,
            "account": "000000000000",
            "time": time.unwrap_or_else(|| Timestamp::now().to_string()),
            "region": "local",
            "resources": [],
            "detail": detail,
        });
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
        self.put(ORCHESTRATOR, answer, &json!({"id": flow, "runId": run_id}), None);
    }

    /// Everything put on the bus, in order.
    pub fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what could not be delivered or read.
    pub fn set_aside(&self, letter: Value) {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    }

    /// What could not be delivered or read.
    pub fn dead_letters(&self) -> Vec<Value> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Delivers events, one after the other, until the server ends.
pub async fn deliver(
    bus: &'static Bus,
    mut arrivals: mpsc::UnboundedReceiver<Value>,
    rules: &[Rule],
    functions: &'static Functions,
    orchestrator: bool,
) {
    while let Some(event) = arrivals.recv().await {
        if orchestrator {
            orchestrate(bus, &event);
        }
        for rule in rules.iter().filter(|rule| matches(&rule.pattern, &event)) {
            let mut attempt = 1;
            while let Err(error) = functions.invoke(&rule.function, event.clone()).await {
                tracing::warn!(function = rule.function, error = %error, attempt, "event.failed");
                if attempt == ATTEMPTS {
                    bus.set_aside(event.clone());
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
