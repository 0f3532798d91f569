//! `PATCH /flows/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    App, Precondition, Problem, Request, Response, Wording, change_flow, flow_id, flow_response, patch,
    read_body,
};
use shared::identity::Permission;
use shared::store::Change;

/// Replaces the members of a flow that the body names.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let id = flow_id(&request)?;
    let precondition = Precondition::of(&request, app);
    let fields = read_body(&request)?.object()?;
    let flow = change_flow(app, &caller, id, &Wording::Write, |flow| {
        let change = patch(app, &caller, flow, &fields, &Wording::Write)?;
        // What is in effect already is in effect, whichever state it was meant for.
        if matches!(change, Change::Save(_)) {
            precondition.check(flow)?;
        }
        Ok(change)
    })
    .await?;
    flow_response(StatusCode::OK, &flow)
}
