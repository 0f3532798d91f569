//! `iam.user.deleted` and `iam.tenant.deleted` → that owner is removed from every flow.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent};
use shared::concurrently;
use shared::events::OwnerDeleted;
use shared::flow::Flow;
use shared::store::{self, Change, Store};

/// Flows worked on before the owner's flows are asked for again.
const BATCH: i32 = 100;

/// Removes the owner from all its flows. Every flow is one conditional change, so an event that is
/// delivered again goes on where the last delivery ended.
///
/// # Errors
/// When the event is not what the contract says, or the table fails: it comes again, and in the end
/// is set aside.
pub async fn handle(store: &Store, event: LambdaEvent<EventBridgeEvent>) -> Result<(), Error> {
    let owner = OwnerDeleted::read(&event.payload.detail)?;
    let (mut changed, mut failed, mut last) = (0_usize, None, None);
    loop {
        let ids = store.ids_of_owner(&owner.id, last, BATCH).await?;
        if ids.is_empty() {
            tracing::info!(event = %event.payload.detail_type, flows.changed = changed, "owner.deleted");
            // One flow that cannot be changed keeps no other from being.
            return failed.map_or(Ok(()), |error: store::Error| Err(error.into()));
        }
        last = ids.last().copied();
        let decide = |flow: Option<&Flow>| {
            Ok::<_, store::Error>(Change::from(flow.and_then(|flow| flow.without_owner(&owner.id))))
        };
        for result in concurrently(ids.into_iter().map(|id| store.change(id, decide)).collect()).await {
            match result {
                Ok(_) => changed += 1,
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::error!(error = %error, cause, "owner.not_removed");
                    failed = Some(error);
                }
            }
        }
    }
}
