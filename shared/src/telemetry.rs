//! Logs as JSON lines, and metrics as CloudWatch embedded metric format. Neither ever carries a
//! token, a body or a claim.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lambda_http::http::StatusCode;
use serde::Serialize;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{self, ConfigError};
use crate::flow::Timestamp;

/// The CloudWatch namespace of all metrics; none outside Lambda, which alone makes metrics of lines.
static NAMESPACE: OnceLock<String> = OnceLock::new();
/// Whether this sandbox has answered no request yet.
static COLD: AtomicBool = AtomicBool::new(true);
/// The dimension of a request's metrics: the gateway's route key, of which there are only so many.
const ROUTE: &str = "Route";

/// The crates of the project that log by themselves.
pub const OURS: [&str; 7] = [
    "shared",
    "publish_changes",
    "on_flow_status",
    "on_identity_deleted",
    "sweep_secrets",
    "reconcile_flows",
    "purge_flows",
];

/// Starts logging to standard output, at `LOG_LEVEL`, and in Lambda metrics.
///
/// # Errors
/// When a setting makes no sense.
pub fn init() -> Result<(), ConfigError> {
    let config = config::environment();
    let (level, namespace) = (config.log_level()?, config.metrics_namespace()?);
    let (filter, format) = layers(std::io::stdout, level);
    // A second start, as in tests, keeps the first.
    let _ = tracing_subscriber::registry().with(format).with(filter).try_init();
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        let _ = NAMESPACE.set(namespace);
    }
    Ok(())
}

/// What is logged and how: JSON lines, at this level for the project and at `warn` for its
/// libraries, which at their lowest levels write whole requests.
pub fn layers<S, W>(writer: W, level: Level) -> (Targets, impl Layer<S>)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    let filter = Targets::new().with_default(LevelFilter::WARN).with_targets(OURS.map(|name| (name, level)));
    let format = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    (filter, format.with_target(false).with_writer(writer))
}

/// Something that is measured; docs/operations.md says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Metric {
    /// Requests answered.
    Requests,
    /// How long an answer took.
    Latency,
    /// Requests answered with 5xx.
    Errors,
    /// Requests that were their sandbox's first.
    ColdStarts,
    /// Events put on the bus.
    EventsPublished,
    /// How long ago the oldest change of a batch was made when its event was put on the bus.
    PublishDelay,
    /// Events that could not be put on the bus and are tried again.
    PublishFailures,
    /// Changes that could not be read and were set aside.
    ChangesUnreadable,
    /// Starts and stops announced again, because nobody had confirmed them.
    RunsAnnouncedAgain,
    /// Runs given up, because nobody ever did.
    RunsGivenUp,
    /// Runs reported of flows that are inactive, which were told to stop.
    RunsOrphaned,
    /// Events of the orchestrator that had nothing to do: repeated, or of no flow.
    EventsIgnored,
    /// Events of the orchestrator that came too late.
    EventsLate,
    /// Keys of the identity provider that could not be fetched.
    KeyFetchFailures,
}

impl Metric {
    const fn unit(self) -> &'static str {
        match self {
            Self::Latency | Self::PublishDelay => "Milliseconds",
            _ => "Count",
        }
    }
}

/// Logs a request that has been answered. In Lambda the line is also its metrics, so that nothing is
/// paid for twice, and it is written at every level.
pub fn answered(route: &str, request_id: &str, status: StatusCode, duration: Duration) {
    let Some(namespace) = NAMESPACE.get() else {
        let (status, millis) = (status.as_u16(), whole_millis(duration));
        tracing::info!(request.id = %request_id, response.status = status, duration_ms = millis, "request");
        return;
    };
    let is_cold = COLD.swap(false, Ordering::Relaxed);
    let request = Answered::new(route, request_id, status, duration, is_cold);
    write(&Line::new(namespace, Timestamp::now(), "request", &[ROUTE], &request.metrics(), &request));
}

/// Writes down what was measured, apart from requests.
pub fn measure(values: &[(Metric, u64)]) {
    if values.is_empty() {
        return;
    }
    let Some(namespace) = NAMESPACE.get() else {
        for (metric, value) in values {
            tracing::debug!(metric = ?metric, value, "metric");
        }
        return;
    };
    let metrics: Vec<_> = values.iter().map(|(metric, _)| *metric).collect();
    write(&Line::new(namespace, Timestamp::now(), "metrics", &[], &metrics, Values(values)));
}

/// A log line that CloudWatch also makes metrics of: the embedded metric format.
#[derive(Serialize)]
struct Line<'a, F> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    #[serde(flatten)]
    fields: F,
    #[serde(rename = "_aws")]
    metadata: Metadata<'a>,
}

/// Says which of a line's members are metrics, and which are their dimensions.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    timestamp: Timestamp,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: [&'a [&'a str]; 1],
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: Metric,
    unit: &'static str,
}

impl<'a, F: Serialize> Line<'a, F> {
    fn new(
        namespace: &'a str,
        now: Timestamp,
        message: &'static str,
        dimensions: &'a [&'a str],
        metrics: &[Metric],
        fields: F,
    ) -> Self {
        let metrics =
            metrics.iter().map(|metric| Definition { name: *metric, unit: metric.unit() }).collect();
        let directive = Directive { namespace, dimensions: [dimensions], metrics };
        let metadata = Metadata { timestamp: now, cloud_watch_metrics: [directive] };
        Self { timestamp: now.to_string(), level: "INFO", message, fields, metadata }
    }
}

/// The members of a request's line.
#[derive(Serialize)]
struct Answered<'a> {
    #[serde(rename = "request.id")]
    request_id: &'a str,
    #[serde(rename = "response.status")]
    status: u16,
    duration_ms: u64,
    #[serde(rename = "Route")]
    route: &'a str,
    #[serde(rename = "Requests")]
    requests: u8,
    #[serde(rename = "Latency")]
    latency: f64,
    // A metric is paid for when it has data: no zeros.
    #[serde(rename = "Errors", skip_serializing_if = "Option::is_none")]
    errors: Option<u8>,
    #[serde(rename = "ColdStarts", skip_serializing_if = "Option::is_none")]
    cold_starts: Option<u8>,
}

impl<'a> Answered<'a> {
    fn new(
        route: &'a str,
        request_id: &'a str,
        status: StatusCode,
        duration: Duration,
        is_cold: bool,
    ) -> Self {
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        Self {
            request_id,
            status: status.as_u16(),
            duration_ms: whole_millis(duration),
            route,
            requests: 1,
            latency: f64::from(micros) / 1000.0,
            errors: status.is_server_error().then_some(1),
            cold_starts: is_cold.then_some(1),
        }
    }

    /// Which metrics the line has: each that is named must be there.
    fn metrics(&self) -> Vec<Metric> {
        let optional = [self.errors.map(|_| Metric::Errors), self.cold_starts.map(|_| Metric::ColdStarts)];
        [Metric::Requests, Metric::Latency].into_iter().chain(optional.into_iter().flatten()).collect()
    }
}

/// Members by the names of their metrics.
struct Values<'a>(&'a [(Metric, u64)]);

impl Serialize for Values<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// In one piece, so that no other line gets into it. Nothing fails because a log cannot be written.
fn write(line: &impl Serialize) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        let _ = std::io::stdout().write_all(&text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const UNITS: [&str; 2] = ["Count", "Milliseconds"];

    fn request(status: StatusCode, is_cold: bool) -> Value {
        let answered = Answered::new("GET /flows/{id}", "r", status, Duration::from_micros(3214), is_cold);
        let now = Timestamp::from_millis(1_795_342_812_651);
        read(&Line::new("Shop", now, "request", &[ROUTE], &answered.metrics(), &answered))
    }

    /// What a line says, after a look at the rules of the embedded metric format.
    fn read(line: &impl Serialize) -> Value {
        let text = serde_json::to_string(line).unwrap();
        assert!(!text.contains('\n'), "one line: {text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert!(line["_aws"]["Timestamp"].is_u64(), "{line}");
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            assert!(!directive["Namespace"].as_str().unwrap().is_empty(), "{line}");
            let dimension_sets = directive["Dimensions"].as_array().unwrap();
            assert!(!dimension_sets.is_empty(), "{line}");
            for dimension in dimension_sets.iter().flat_map(|set| set.as_array().unwrap()) {
                let value = line[dimension.as_str().unwrap()].as_str().unwrap();
                assert!((1..=1024).contains(&value.len()) && value.is_ascii(), "{line}");
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=100).contains(&metrics.len()), "{line}");
            for metric in metrics {
                assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{line}");
                assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()), "{line}");
            }
        }
        line
    }

    #[test]
    fn a_request_is_one_line_with_its_metrics() {
        assert_eq!(
            request(StatusCode::OK, false),
            json!({
                "timestamp": "2026-11-22T10:20:12.651Z",
                "level": "INFO",
                "message": "request",
                "request.id": "r",
                "response.status": 200,
                "duration_ms": 3,
                "Route": "GET /flows/{id}",
                "Requests": 1,
                "Latency": 3.214,
                "_aws": {
                    "Timestamp": 1_795_342_812_651_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Shop",
                        "Dimensions": [["Route"]],
                        "Metrics": [
                            {"Name": "Requests", "Unit": "Count"},
                            {"Name": "Latency", "Unit": "Milliseconds"},
                        ],
                    }],
                },
            })
        );
    }

    #[test]
    fn errors_and_cold_starts_are_measured_only_when_there_are_any() {
        for (status, is_cold, errors, cold_starts) in [
            (StatusCode::OK, true, Value::Null, json!(1)),
            (StatusCode::NOT_FOUND, false, Value::Null, Value::Null),
            (StatusCode::INTERNAL_SERVER_ERROR, false, json!(1), Value::Null),
            (StatusCode::SERVICE_UNAVAILABLE, true, json!(1), json!(1)),
        ] {
            let line = request(status, is_cold);
            assert_eq!((&line["Errors"], &line["ColdStarts"]), (&errors, &cold_starts), "{line}");
            let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
            assert_eq!(metrics.contains("Errors"), errors.is_number(), "{metrics}");
            assert_eq!(metrics.contains("ColdStarts"), cold_starts.is_number(), "{metrics}");
        }
    }

    #[test]
    fn other_values_have_no_dimension() {
        let values = [(Metric::EventsPublished, 2), (Metric::PublishDelay, 340)];
        let metrics = values.map(|(metric, _)| metric);
        let line = read(&Line::new("Shop", Timestamp::now(), "metrics", &[], &metrics, Values(&values)));
        assert_eq!((&line["EventsPublished"], &line["PublishDelay"]), (&json!(2), &json!(340)));
        assert_eq!(
            line["_aws"]["CloudWatchMetrics"][0],
            json!({
                "Namespace": "Shop",
                "Dimensions": [[]],
                "Metrics": [
                    {"Name": "EventsPublished", "Unit": "Count"},
                    {"Name": "PublishDelay", "Unit": "Milliseconds"},
                ],
            })
        );
    }
}
