//! `POST /flows/{id}/versions/{version}/restore`

use lambda_http::http::StatusCode;
use shared::api::{
    App, Intent, Precondition, Problem, Request, Response, Wording, change_seen, find_flow, find_version,
    flow_id, flow_response, replace, version_number,
};
use shared::flow::{Flow, Role};
use shared::identity::Permission;

/// Gives a flow the content of a former version, as a new one.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let (id, intent) = (flow_id(&request)?, Intent::of(&request, &caller)?);
    let precondition = Precondition::of(&request, app);
    let respond = |flow: &Flow| flow_response(app, StatusCode::OK, flow);
    let effect = intent.effect(&app.store, &respond).await?;
    let flow = find_flow(app, &caller, id, Wording::Write).await?;
    let (_, document) = find_version(app, &flow, version_number(&request)?).await?;
    let done = change_seen(app, &caller, (Some(flow), Role::Editor), &Wording::Write, &effect, |flow| {
        let next = flow.with_version(&caller, &document, app.component_check);
        let next = next.map_err(|error| app.refusal(error))?;
        replace(app, flow, next, &precondition)
    });
    match done.await {
        Ok(flow) => effect.answer(&flow),
        Err(problem) => Err(precondition.explain(app, id, problem).await),
    }
}
