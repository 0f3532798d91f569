//! `POST /flows/{id}/start`

use shared::api::{App, Intent, Precondition, Problem, Request, Response, flow_id, run_answer, start_flow};
use shared::identity::Permission;

/// Starts a flow that is complete and does not run.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Control).await?;
    let (id, intent) = (flow_id(&request)?, Intent::of(&request, &caller)?);
    let precondition = Precondition::of(&request)?;
    let effect = intent.effect(&app.store, &run_answer).await?;
    effect.answer(&start_flow(app, &caller, id, &precondition, &effect).await?)
}
