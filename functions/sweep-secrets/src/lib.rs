//! Every 15 minutes → whatever a crash left half done of a secret is settled.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent};
use shared::flow::{ObjectId, Timestamp};
use shared::secrets::Secrets;

/// A change that began as long ago has ended, or nobody will end it: no request lasts as long.
const PATIENCE_MILLIS: u64 = 2 * 60 * 1000;

/// Settles what began before the event, by a margin.
///
/// # Errors
/// When one could not be settled; the next time it is tried again.
pub async fn handle(secrets: &Secrets, event: LambdaEvent<EventBridgeEvent>) -> Result<(), Error> {
    let now = event.payload.time.ok_or("the event has no time")?;
    let now = u64::try_from(now.timestamp_millis())?;
    let begun_before = Timestamp::from_millis(now.saturating_sub(PATIENCE_MILLIS));
    let settled = secrets.sweep(ObjectId::at(begun_before)).await?;
    tracing::info!(secrets.settled = settled, "secrets.swept");
    Ok(())
}
