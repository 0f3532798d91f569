//! `POST /flows/{id}/stop`

use lambda_http::http::StatusCode;
use shared::api::{App, Problem, Request, Response, flow_id, json, run_response, stop_flow};
use shared::identity::Permission;

/// Stops a flow that runs.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Control).await?;
    let flow = stop_flow(app, &caller, flow_id(&request)?).await?;
    json(StatusCode::OK, &run_response(&flow))
}
