//! The orchestrator's `flow.started`, `flow.stopped` and `flow.failed` → one conditional transition.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent};
use shared::events::StatusReport;
use shared::flow::Flow;
use shared::store::{self, Change, Store};
use shared::telemetry::{Metric, measure};

/// Applies one report. One that is repeated, late, of another run or of no flow is ignored and counted.
///
/// # Errors
/// When the event is not what the contract says, or the table fails: it comes again, and in the end
/// is set aside.
pub async fn handle(store: &Store, event: LambdaEvent<EventBridgeEvent>) -> Result<(), Error> {
    let report = StatusReport::read(&event.payload.detail_type, &event.payload.detail)?;
    let mut applied = false;
    let decide = |flow: Option<&Flow>| {
        let next = flow.and_then(|flow| flow.after(&report.event, report.run_id.as_deref()));
        applied = next.is_some();
        Ok::<_, store::Error>(Change::from(next))
    };
    store.change(report.flow, decide).await?;
    if !applied {
        measure(&[(Metric::EventsIgnored, 1)]);
    }
    tracing::info!(flow.id = %report.flow, event = %event.payload.detail_type, applied, "flow.status");
    Ok(())
}
