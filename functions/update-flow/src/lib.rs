//! `PATCH /flows/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    App, Precondition, Problem, Request, Response, Wording, change_flow, flow_id, flow_response, patch,
    read_patch,
};
use shared::identity::Permission;
use shared::store::Change;

/// Changes a flow: the members that the body names, or by a patch in a standard language.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let id = flow_id(&request)?;
    let precondition = Precondition::of(&request, app);
    let changes = read_patch(&request)?;
    let flow = change_flow(app, &caller, id, &Wording::Write, |flow| {
        let change = patch(app, &caller, flow, &changes, &Wording::Write)?;
        // What is in effect already is in effect, whichever state it was meant for.
        if matches!(change, Change::Save(_)) {
            precondition.check(flow)?;
        }
        Ok(change)
    })
    .await?;
    flow_response(StatusCode::OK, &flow)
}
