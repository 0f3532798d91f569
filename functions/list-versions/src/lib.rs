//! `GET /flows/{id}/versions`

use shared::api::{App, Problem, Request, Response, Wording, find_flow, flow_id, versions_response};
use shared::identity::Permission;

/// Lists the versions of a flow, the newest first, without their documents.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Read).await?;
    let flow = find_flow(app, &caller, flow_id(&request)?, Wording::Get).await?;
    versions_response(app, &request, &flow).await
}
