//! `DELETE /flows/{id}`

use shared::api::{
    App, Intent, Precondition, Problem, Request, Response, Wording, deleted, flag, flow_id, require_role,
    scope, validation_response,
};
use shared::flow::{Flow, Role, Status};
use shared::identity::Permission;
use shared::store::Change;

/// Deletes a flow that does not run. It can be restored for some time, unless an administrator erases it
/// with `purge=true`, which can be done after its deletion too.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let (id, intent) = (flow_id(&request)?, Intent::of(&request, &caller)?);
    let purge = flag(&request, "purge")?;
    if purge && !caller.is_admin() {
        return Err(Problem::MissingPermission("MISSING_PERMISSION"));
    }
    let (scope, precondition) = (scope(&caller), Precondition::of_change(&request, app)?);
    let decide = |flow: Option<&Flow>| {
        let is_seen = |flow: &&Flow| purge || flow.deletion.is_none();
        let flow = flow.filter(is_seen).ok_or(Problem::FlowNotFound(Wording::Write))?;
        require_role(&caller, flow, Role::Owner, &Wording::Write)?;
        precondition.check(flow)?;
        if flow.status != Status::Inactive {
            return Err(Problem::NotInactive(flow.status, Wording::Write));
        }
        if purge {
            return Ok(Change::Erase((&caller).into()));
        }
        Ok(Change::Save(Box::new(flow.deleted(&caller, app.keep_deleted))))
    };
    let done = if intent.is_validation() {
        app.store.preview(app.store.find_any(id, &scope).await?, decide).await
    } else {
        app.store.change_any(id, &scope, decide, |_| Ok(None)).await
    };
    match done {
        Ok(_) if intent.is_validation() => validation_response(&[]),
        Ok(_) => Ok(deleted()),
        Err(problem) => Err(precondition.explain(app, id, problem).await),
    }
}
