//! `POST /flows/{id}/restore`

use lambda_http::http::StatusCode;
use shared::api::{
    App, Intent, Precondition, Problem, Request, Response, Wording, flow_id, flow_response, require_role,
    scope, validation_response,
};
use shared::flow::{Flow, Role};
use shared::identity::Permission;

/// Undoes the deletion of a flow. What it refers to is looked at when it is started.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let (id, intent) = (flow_id(&request)?, Intent::of(&request, &caller)?);
    let precondition = Precondition::of(&request)?;
    let respond = |flow: &Flow| flow_response(app, StatusCode::OK, flow);
    let effect = intent.effect(&app.store, &respond).await?;
    let (scope, not_found) = (scope(&caller), || Problem::FlowNotFound(Wording::Write));
    let decide = |flow: Option<&Flow>| {
        let flow = flow.ok_or_else(not_found)?;
        require_role(&caller, flow, Role::Owner, &Wording::Write)?;
        // A deleted flow keeps the tag that it had.
        precondition.check(flow)?;
        Ok(flow.restored(&caller).into())
    };
    if effect.is_validation() {
        app.store.preview(app.store.find_any(id, &scope).await?, decide).await?;
        return validation_response(&[]);
    }
    let flow = app.store.change_any(id, &scope, decide, |flow| effect.receipt(flow)).await?;
    effect.answer(&flow.ok_or_else(not_found)?)
}
