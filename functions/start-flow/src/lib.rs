//! `POST /flows/{id}/start`

use lambda_http::http::StatusCode;
use shared::api::{App, Problem, Request, Response, flow_id, json, run_response, start_flow};
use shared::identity::Permission;

/// Starts a flow that is complete and does not run.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Control).await?;
    let flow = start_flow(app, &caller, flow_id(&request)?).await?;
    json(StatusCode::OK, &run_response(&flow))
}
