//! `GET /flows/{id}/versions/{version}`

use shared::api::{
    App, Problem, Request, Response, Wording, find_flow, find_version, flow_id, version_number,
    version_response,
};
use shared::identity::Permission;

/// Gives one version of a flow with its document.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Read).await?;
    let flow = find_flow(app, &caller, flow_id(&request)?, Wording::Get).await?;
    let (version, document) = find_version(app, &flow, version_number(&request)?).await?;
    version_response(&version, &document)
}
