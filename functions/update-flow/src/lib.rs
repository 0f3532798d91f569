//! `PATCH /flows/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    App, Intent, Precondition, Problem, Request, Response, Wording, change_flow, flow_id, flow_response,
    patch, read_patch,
};
use shared::flow::{Flow, Role};
use shared::identity::Permission;

/// Changes a flow: the members that the body names, or by a patch in a standard language.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let (id, intent) = (flow_id(&request)?, Intent::of(&request, &caller)?);
    let checks = app.checks(&request)?;
    let precondition = Precondition::of_change(&request, app)?;
    let changes = read_patch(&request)?;
    let respond = |flow: &Flow| flow_response(app, StatusCode::OK, flow);
    let effect = intent.effect(&app.store, &respond).await?;
    let done = change_flow(app, &caller, (id, Role::Editor), &Wording::Write, &effect, |flow| {
        patch(app, &caller, flow, (&changes, checks), (&Wording::Write, &precondition))
    });
    match done.await {
        Ok(flow) => effect.answer(&flow),
        Err(problem) => Err(precondition.explain(app, id, problem).await),
    }
}
