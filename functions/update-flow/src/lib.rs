//! `PATCH /flows/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    App, Problem, Request, Response, Wording, change_flow, flow_id, flow_response, patch, read_body,
};
use shared::identity::Permission;

/// Replaces the members of a flow that the body names.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let id = flow_id(&request)?;
    let fields = read_body(&request)?.object()?;
    let flow = change_flow(app, &caller, id, &Wording::Write, |flow| {
        patch(app, &caller, flow, &fields, &Wording::Write)
    })
    .await?;
    flow_response(StatusCode::OK, &flow)
}
