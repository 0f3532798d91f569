//! `POST /flows/multiple/stop`

use shared::api::{App, Precondition, Problem, Request, Response, control_many, stop_flow};
use shared::identity::Permission;

/// Stops every flow whose id is in the body; one that fails leaves the others alone.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = &app.authorize(&request, Permission::Control).await?;
    let stop =
        |id, effect| async move { stop_flow(app, caller, id, &Precondition::default(), &effect).await };
    control_many(app, &request, caller, stop).await
}
