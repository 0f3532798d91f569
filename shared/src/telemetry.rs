//! Logs as JSON lines, and metrics as CloudWatch embedded metric format. Neither ever carries a
//! token, a body or a claim.

use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::flow::Timestamp;

/// The CloudWatch namespace of all metrics.
const NAMESPACE: &str = "FlowRepository";

/// Starts logging to standard output, at `LOG_LEVEL` (default `info`).
pub fn init() {
    let level = std::env::var("LOG_LEVEL").ok().and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    let (filter, format) = layers(std::io::stdout, level);
    // A second start, as in tests, keeps the first.
    let _ = tracing_subscriber::registry().with(format).with(filter).try_init();
}

/// What is logged and how: JSON lines, at this level for the project and at `warn` for its
/// libraries, which at their lowest levels write whole requests.
pub fn layers<S, W>(writer: W, level: Level) -> (Targets, impl Layer<S>)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    let ours = ["shared", "publish_changes", "on_flow_status", "on_identity_deleted"];
    let filter = Targets::new().with_default(LevelFilter::WARN).with_targets(ours.map(|name| (name, level)));
    let format = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    (filter, format.with_target(false).with_writer(writer))
}

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Events put on the bus.
    EventsPublished,
    /// Changes that could not be read and were set aside.
    ChangesUnreadable,
    /// Events of the orchestrator that came late, twice, or for another run.
    EventsIgnored,
}

impl Metric {
    const fn as_str(self) -> &'static str {
        match self {
            Self::EventsPublished => "EventsPublished",
            Self::ChangesUnreadable => "ChangesUnreadable",
            Self::EventsIgnored => "EventsIgnored",
        }
    }
}

/// Counts `count` more of something.
pub fn count(metric: Metric, count: usize) {
    let name = metric.as_str();
    let line = serde_json::json!({
        "_aws": {
            "Timestamp": Timestamp::now().millis(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": [{"Name": name, "Unit": "Count"}]}],
        },
        name: count,
    });
    // Lambda turns lines of this form into metrics; elsewhere they would only be noise.
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        println!("{line}");
    }
}
