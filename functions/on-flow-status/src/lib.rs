//! The orchestrator's `flow.started`, `flow.stopped` and `flow.failed` → one conditional transition.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent};
use shared::config::{self, Config, ConfigError};
use shared::events::{StatusReport, check_source};
use shared::flow::{Flow, NoEffect, Timestamp};
use shared::store::{self, Change, Scope, Store};
use shared::telemetry::{Metric, measure};

/// The flows, and who reports on their runs.
pub struct App {
    /// The table.
    pub store: Store,
    /// The `source` of the orchestrator's events.
    pub source: String,
}

impl App {
    /// Reads the settings of this process and opens its client.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self::new(&config::environment(), Store::from_env()?))
    }

    /// An app with these settings.
    #[must_use]
    pub fn new(config: &Config, store: Store) -> Self {
        Self { store, source: config.orchestrator_source() }
    }
}

/// Applies one report. One that is repeated, late, or of no flow does nothing and is counted.
///
/// # Errors
/// When the event is not what the contract says or not the orchestrator's, or the table fails: it comes
/// again, and in the end is set aside.
pub async fn handle(app: &App, event: LambdaEvent<EventBridgeEvent>) -> Result<(), Error> {
    check_source(&event.payload.source, &app.source)?;
    let report = StatusReport::read(&event.payload.detail_type, &event.payload.detail)?;
    let millis = event.payload.time.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
    let time = millis.map(Timestamp::from_millis);
    let mut outcome = ("applied", None);
    let decide = |flow: Option<&Flow>| {
        let after = flow.map(|flow| flow.after(&report.event, report.run_id.as_deref(), time));
        outcome = match &after {
            Some(Ok(next)) if flow.is_some_and(|flow| flow.orphan != next.orphan) => {
                ("orphan", Some(Metric::RunsOrphaned))
            }
            Some(Ok(_)) => ("applied", None),
            Some(Err(NoEffect::Repeated)) => ("repeated", Some(Metric::EventsIgnored)),
            Some(Err(NoEffect::Late)) => ("late", Some(Metric::EventsLate)),
            None => ("no flow", Some(Metric::EventsIgnored)),
        };
        Ok::<_, store::Error>(Change::from(after.and_then(Result::ok)))
    };
    // Also a flow that was deleted may have a run that should not be.
    app.store.change_any(report.flow, &Scope::All, decide, |_| Ok(None)).await?;
    let (outcome, metric) = outcome;
    if let Some(metric) = metric {
        measure(&[(metric, 1)]);
    }
    tracing::info!(flow.id = %report.flow, event = %event.payload.detail_type, outcome, "flow.status");
    Ok(())
}
