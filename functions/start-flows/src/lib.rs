//! `POST /flows/multiple/start`

use shared::api::{App, Precondition, Problem, Request, Response, control_many, start_flow};
use shared::identity::Permission;

/// Starts every flow whose id is in the body; one that fails leaves the others alone.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = &app.authorize(&request, Permission::Control).await?;
    let start =
        |id, effect| async move { start_flow(app, caller, id, &Precondition::default(), &effect).await };
    control_many(app, &request, caller, start).await
}
