//! `GET /flows/{id}`

use shared::api::{App, Problem, Request, Response, Wording, flow_id, plain_flow, scope};
use shared::identity::Permission;

/// Gives one flow of the caller's.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Read).await?;
    let id = flow_id(&request)?;
    let flow = app.store.show(id, &scope(&caller)).await?;
    plain_flow(&flow.ok_or(Problem::FlowNotFound(Wording::Get))?)
}
