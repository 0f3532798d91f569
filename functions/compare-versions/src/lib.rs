//! `GET /flows/{id}/diff`

use shared::api::{
    App, Problem, Request, Response, Wording, compared_versions, difference_response, find_flow, flow_id,
};
use shared::identity::Permission;

/// Says what has changed from one version of a flow to another.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Read).await?;
    let flow = find_flow(app, &caller, flow_id(&request)?, Wording::Get).await?;
    let [from, to] = compared_versions(app, &request, &flow).await?;
    difference_response(&request, &from, &to)
}
