//! `PUT /flows/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    App, Effect, Intent, Precondition, Problem, Request, Response, Wording, change_flow, flow_id,
    flow_response, insert_flow, notes, read_body, replace, scope,
};
use shared::flow::{Checks, Fields, Flow, FlowId, Role, Timestamp};
use shared::identity::{Caller, Permission};

/// Replaces a flow by the body; with `If-None-Match: *` stores a new one under the id in the path.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let (id, intent) = (flow_id(&request)?, Intent::of(&request, &caller)?);
    let checks = app.checks(&request)?;
    let precondition = Precondition::of_change(&request, app)?;
    let fields = read_body(&request)?.object()?;
    let creates = precondition.creates()?;
    let status = if creates { StatusCode::CREATED } else { StatusCode::OK };
    let respond = |flow: &Flow| flow_response(app, status, flow);
    let effect = intent.effect(&app.store, &respond).await?;
    if creates {
        return create(app, &caller, id, (fields, checks), &effect).await;
    }
    let done = change_flow(app, &caller, (id, Role::Editor), &Wording::Write, &effect, |flow| {
        let next = flow.replaced(&caller, fields.clone(), checks);
        replace(app, flow, next, &precondition)
    });
    match done.await {
        Ok(flow) => effect.answer(&flow),
        Err(problem) => Err(precondition.explain(app, id, problem).await),
    }
}

/// An id of which anything is left is taken: nobody gets the versions of somebody else's flow. One who
/// has stored the same flow there before, and has not heard of it, gets that.
async fn create(
    app: &App,
    caller: &Caller,
    id: FlowId,
    (fields, checks): (Fields<'_>, Checks),
    effect: &Effect<'_, Flow>,
) -> Result<Response, Problem> {
    if id.is_ahead(Timestamp::now()) {
        return Err(Problem::FutureId);
    }
    let flow = Flow::create_as(id, caller, fields, checks, app.tenant_role);
    let flow = flow.map_err(|invalid| app.refusal(invalid))?;
    if !app.store.is_taken(id).await? {
        match insert_flow(app, &flow, effect).await {
            Err(Problem::IdTaken) => {}
            other => return other.and_then(|()| effect.answer(&flow)),
        }
    }
    let found = app.store.find(id, &scope(caller)).await?;
    match found {
        Some(found) if found.document == flow.document => {
            if effect.is_validation() {
                return Err(effect.validated(&notes(&flow))?);
            }
            flow_response(app, StatusCode::OK, &Flow { notes: flow.notes, ..found })
        }
        _ => Err(Problem::IdTaken),
    }
}
