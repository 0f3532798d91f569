//! Every minute → starts and stops that nobody confirms are announced again, and given up in the end.

use std::time::Duration;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent};
use shared::concurrently;
use shared::config::{self, ConfigError};
use shared::flow::{Flow, FlowId, Status, Timestamp};
use shared::store::{self, Change, Store};
use shared::telemetry::{Metric, measure};

/// The flows, and how long they may wait.
pub struct App {
    /// The table.
    pub store: Store,
    /// How long a start or a stop may take before it is announced again.
    pub limit: Duration,
}

impl App {
    /// Reads the settings of this process and opens its client.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub fn from_env() -> Result<Self, ConfigError> {
        let limit = config::environment().confirmation_limit()?;
        Ok(Self { store: Store::from_env()?, limit })
    }
}

/// What became of a flow.
enum Outcome {
    AnnouncedAgain,
    GivenUp,
    Confirmed,
}

/// Looks after all flows that wait too long at the time of the event. Each is one conditional change,
/// so a confirmation that comes at the same moment counts.
///
/// # Errors
/// When the table fails; the next time it is tried again.
pub async fn handle(app: &App, event: LambdaEvent<EventBridgeEvent>) -> Result<(), Error> {
    let now = event.payload.time.ok_or("the event has no time")?;
    let now = Timestamp::from_millis(u64::try_from(now.timestamp_millis())?);
    let mut failed = None;
    loop {
        let waiting = app.store.unconfirmed(now.minus(app.limit)).await?;
        let results = concurrently(waiting.into_iter().map(|id| look_after(app, id, now))).await;
        let (mut again, mut given_up) = (0, 0);
        for result in results {
            match result {
                Ok(Outcome::AnnouncedAgain) => again += 1,
                Ok(Outcome::GivenUp) => given_up += 1,
                // The index is a moment behind.
                Ok(Outcome::Confirmed) => {}
                Err(error) => failed = Some(error),
            }
        }
        // At once: when many wait, time may run out, or the table fail.
        let counts = [(Metric::RunsAnnouncedAgain, again), (Metric::RunsGivenUp, given_up)];
        measure(&counts.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>());
        tracing::info!(runs.announced_again = again, runs.given_up = given_up, "flows.reconciled");
        // Those that were changed wait no longer; when none was, the rest is for the next time.
        if again + given_up == 0 {
            break;
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

async fn look_after(app: &App, id: FlowId, now: Timestamp) -> Result<Outcome, store::Error> {
    let mut outcome = Outcome::Confirmed;
    let decide = |flow: Option<&Flow>| {
        let next = flow.and_then(|flow| flow.overdue(now, app.limit));
        outcome = match &next {
            None => Outcome::Confirmed,
            Some(next) if next.status == Status::Inactive => Outcome::GivenUp,
            Some(_) => Outcome::AnnouncedAgain,
        };
        Ok::<_, store::Error>(Change::from(next))
    };
    app.store.change(id, decide).await?;
    Ok(outcome)
}
