//! `DELETE /flows/{id}`

use shared::api::{App, Problem, Request, Response, Wording, deleted, flow_id, scope};
use shared::flow::Status;
use shared::identity::Permission;
use shared::store::Change;

/// Deletes a flow that does not run.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let id = flow_id(&request)?;
    let scope = scope(&caller);
    let decide = |flow: Option<&_>| match flow.filter(|flow| scope.contains(flow)) {
        None => Err(Problem::FlowNotFound(Wording::Write)),
        Some(flow) if flow.status != Status::Inactive => {
            Err(Problem::NotInactive(flow.status, Wording::Write))
        }
        Some(_) => Ok(Change::Delete((&caller).into())),
    };
    app.store.change(id, decide).await?;
    Ok(deleted())
}
