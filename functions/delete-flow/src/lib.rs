//! `DELETE /flows/{id}`

use shared::api::{App, Precondition, Problem, Request, Response, Wording, deleted, flow_id, scope};
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
    let (scope, precondition) = (scope(&caller), Precondition::of(&request, app));
    let decide = |flow: Option<&_>| match flow.filter(|flow| scope.contains(flow)) {
        None => Err(Problem::FlowNotFound(Wording::Write)),
        Some(flow) if flow.status != Status::Inactive => {
            Err(Problem::NotInactive(flow.status, Wording::Write))
        }
        Some(flow) => {
            precondition.check(flow)?;
            Ok(Change::Delete((&caller).into()))
        }
    };
    app.store.change(id, decide).await?;
    Ok(deleted())
}
