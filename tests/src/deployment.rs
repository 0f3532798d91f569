//! A stack that is deployed already, and what goes over its bus.

use std::collections::{HashMap, HashSet};
use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use aws_smithy_types::error::display::DisplayErrorContext;
use local::Options;
use local::issuer::Issuer;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// The only setting in which deployments may differ, and what it is unless it is set.
const COMPONENT_CHECK: (&str, &str) = ("COMPONENT_CHECK", "at-start");
/// The `source` of the repository's own events.
const OURS: &str = "flow-repository";
/// How long until the queue is asked again after it failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The deployment at `API_URL`, one for all tests of this process.
pub(crate) struct Deployment {
    pub(crate) url: String,
    /// Signs tokens the deployment accepts if it was given the key of this checkout.
    pub(crate) issuer: Issuer,
    bus: String,
    events: aws_sdk_eventbridge::Client,
    /// Where calls to AWS run: every test has a runtime of its own, which ends with it.
    runtime: &'static Runtime,
    log: Mutex<Log>,
}

impl Deployment {
    /// The deployment; none when the tests are to run on local servers.
    pub(crate) async fn get() -> Option<&'static Self> {
        static ONLY: OnceCell<Option<&'static Deployment>> = OnceCell::const_new();
        *ONLY.get_or_init(Self::open).await
    }

    async fn open() -> Option<&'static Self> {
        let url = env::var("API_URL").ok()?;
        let needed = |name: &str| env::var(name).unwrap_or_else(|_| panic!("API_URL is set, {name} is not"));
        let (bus, queue) = (needed("API_EVENT_BUS"), needed("API_EVENT_QUEUE"));
        let issuer = Issuer::open(&local::default_folder()).expect("the signing key of this checkout");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let runtime: &'static Runtime = Box::leak(Box::new(runtime));
        let aws = runtime.spawn(aws_config::load_defaults(BehaviorVersion::v2026_01_12()));
        let aws = aws.await.expect("the settings of the AWS SDK");
        let deployment: &'static Self = Box::leak(Box::new(Self {
            url: url.trim_end_matches('/').to_owned(),
            issuer,
            bus,
            events: aws_sdk_eventbridge::Client::new(&aws),
            runtime,
            log: Mutex::default(),
        }));
        runtime.spawn(deployment.collect(aws_sdk_sqs::Client::new(&aws), queue));
        Some(deployment)
    }

    /// Panics when a test wants what this deployment is not.
    pub(crate) fn check(&self, options: &Options) {
        let Options {
            port: 0,
            folder: None,
            seed: false,
            orchestrator: _,
            settings,
            dynamodb: None,
            aws: None,
        } = options
        else {
            panic!("a deployment cannot be started with {options:?}; use Api::start_local");
        };
        let (name, default) = COMPONENT_CHECK;
        let mut wanted = default;
        for (given, value) in settings {
            assert_eq!(
                given, name,
                "a test of a deployment cannot choose this setting; use Api::start_local"
            );
            wanted = value;
        }
        let has = env::var("API_COMPONENT_CHECK").unwrap_or_else(|_| default.into());
        assert!(
            wanted == has,
            "this test needs a deployment with {name}={wanted}, and API_COMPONENT_CHECK says that {} has {has}: \
             choose `cargo test -p tests --test black_box -- at_save` for one with at-save, \
             `-- --skip at_save` for one with at-start",
            self.url
        );
    }

    /// Keeps the events in which this mark occurs and all others of the same flows, and answers for
    /// those flows as an orchestrator, if that is wanted.
    pub(crate) fn watch(&self, mark: &str, orchestrator: bool) {
        self.log().tests.insert(mark.to_owned(), orchestrator);
    }

    /// What came over the bus for the test of this mark, in any order, each event once.
    pub(crate) fn events(&self, mark: &str) -> Vec<Value> {
        self.log().of(mark)
    }

    /// Why nothing comes over the bus any more; empty when all is well.
    pub(crate) fn trouble(&self) -> String {
        self.log().trouble.clone().unwrap_or_default()
    }

    /// Puts an event on the bus.
    pub(crate) async fn put(&'static self, source: &str, kind: &str, detail: &Value) {
        let sent = self.send(source.to_owned(), kind.to_owned(), detail.to_string());
        let sent = self.runtime.spawn(sent);
        sent.await.expect("a call to AWS").unwrap_or_else(|error| panic!("{error}"));
    }

    async fn send(&'static self, source: String, kind: String, detail: String) -> Result<(), String> {
        let entry = PutEventsRequestEntry::builder().event_bus_name(&self.bus).source(source);
        let entry = entry.detail_type(kind).detail(detail).build();
        let sent = self.events.put_events().entries(entry).send().await;
        match sent.map_err(|error| explain("put an event on the bus", &error))? {
            refused if refused.failed_entry_count() > 0 => {
                Err(format!("the bus refused an event: {refused:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Receives what the bus sends to the queue, as long as the process runs.
    async fn collect(&'static self, queues: aws_sdk_sqs::Client, queue: String) {
        loop {
            let round = self.receive(&queues, &queue).await;
            let failed = round.is_err();
            self.log().trouble = round.err();
            if failed {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn receive(&'static self, queues: &aws_sdk_sqs::Client, queue: &str) -> Result<(), String> {
        // What was given to a process that has just ended comes again soon.
        let asked = queues.receive_message().queue_url(queue).wait_time_seconds(2).visibility_timeout(5);
        let received = asked
            .max_number_of_messages(10)
            .send()
            .await
            .map_err(|error| explain("receive events", &error))?;
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(());
        }
        let answers = {
            let mut log = self.log();
            messages.iter().filter_map(Message::body).for_each(|body| log.add(body));
            log.answers()
        };
        for (kind, detail) in answers {
            while let Err(trouble) =
                self.send(crate::ORCHESTRATOR.into(), kind.into(), detail.to_string()).await
            {
                self.log().trouble = Some(trouble);
                tokio::time::sleep(PAUSE).await;
            }
        }
        let delete = messages.iter().enumerate().map(|(index, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.set_receipt_handle(message.receipt_handle.clone()).build()
        });
        let delete = delete.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let deleted = queues.delete_message_batch().queue_url(queue).set_entries(Some(delete)).send().await;
        // One that stays comes again, and is known then.
        deleted.map(drop).map_err(|error| explain("delete events that were received", &error))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn explain(what: &str, error: &(impl std::error::Error + Send + Sync + 'static)) -> String {
    format!("cannot {what}: {}", DisplayErrorContext(error))
}

/// What came over the bus.
#[derive(Default)]
struct Log {
    /// Each event once, though it may have come twice.
    events: Vec<Arrived>,
    known: HashSet<String>,
    /// The tests by their marks, and whether they want an orchestrator.
    tests: HashMap<String, bool>,
    /// The marks of flows: what the platform does to a flow mentions no user, and so no mark.
    flows: HashMap<String, String>,
    /// Starts and stops that nobody has answered.
    unanswered: Vec<Value>,
    /// Why nothing comes any more.
    trouble: Option<String>,
}

struct Arrived {
    event: Value,
    /// The mark it mentions.
    mark: Option<String>,
}

impl Log {
    fn add(&mut self, body: &str) {
        let event: Value = serde_json::from_str(body).unwrap_or_default();
        // Of ours the outer id changes with every delivery.
        let id = if event.get("source").is_some_and(|source| source == OURS) { "/detail/id" } else { "/id" };
        let id = event.pointer(id).and_then(Value::as_str).unwrap_or_default();
        if !self.known.insert(id.to_owned()) {
            return;
        }
        let mark = self.tests.keys().find(|mark| body.contains(mark.as_str())).cloned();
        if let (Some(mark), Some(flow)) = (&mark, flow_of(&event)) {
            self.flows.insert(flow.to_owned(), mark.clone());
        }
        if matches!(kind_of(&event), "flow.starting" | "flow.stopping") {
            self.unanswered.push(event.clone());
        }
        self.events.push(Arrived { event, mark });
    }

    fn of(&self, mark: &str) -> Vec<Value> {
        let is_of = |Arrived { event, mark: mentioned }: &&Arrived| {
            let mentioned = mentioned.as_ref().or_else(|| self.flows.get(flow_of(event)?));
            mentioned.is_some_and(|mentioned| mentioned == mark)
        };
        self.events.iter().filter(is_of).map(|arrived| arrived.event.clone()).collect()
    }

    /// What an orchestrator would say whose components always work. What is about a flow that is not
    /// known yet is kept: its first event may come last.
    fn answers(&mut self) -> Vec<(&'static str, Value)> {
        let mut answers = Vec::new();
        self.unanswered.retain(|event| {
            let Some(flow) = flow_of(event) else { return false };
            let Some(mark) = self.flows.get(flow) else { return true };
            if self.tests.get(mark) == Some(&true) {
                let report = if kind_of(event) == "flow.starting" { "flow.started" } else { "flow.stopped" };
                let run = event.pointer("/detail/data/runId");
                answers.push((report, json!({"id": flow, "runId": run})));
            }
            false
        });
        answers
    }
}

fn kind_of(event: &Value) -> &str {
    event.get("detail-type").and_then(Value::as_str).unwrap_or_default()
}

/// The id of the flow an event is about: of ours and of the orchestrator's in each of its forms.
fn flow_of(event: &Value) -> Option<&str> {
    let detail = event.get("detail")?;
    let id = ["/data/flowId", "/data/id", "/payload/id", "/id"].iter().find_map(|id| detail.pointer(id))?;
    id.as_str()
}
