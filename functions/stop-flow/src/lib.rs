//! `POST /flows/{id}/stop`

use shared::api::{App, Intent, Precondition, Problem, Request, Response, flow_id, run_answer, stop_flow};
use shared::identity::Permission;

/// Stops a flow that runs.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Control).await?;
    let (id, intent) = (flow_id(&request)?, Intent::of(&request, &caller)?);
    let precondition = Precondition::of(&request)?;
    let effect = intent.effect(&app.store, &run_answer).await?;
    effect.answer(&stop_flow(app, &caller, id, &precondition, &effect).await?)
}
