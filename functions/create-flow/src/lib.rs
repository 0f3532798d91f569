//! `POST /flows`: one flow, or many.

use lambda_http::http::StatusCode;
use serde_json::value::RawValue;
use shared::api::{
    App, Body, Conditions, Deadline, Effect, Intent, MAX_BULK_WRITE, Part, Present, Problem, Request,
    Response, bulk_response, flow_response, insert_flow, nothing_stored, part_prefix, read_body,
};
use shared::concurrently;
use shared::flow::{Checks, Fields, Flow, read_fields};
use shared::identity::{Caller, Permission};

/// Stores a new flow of the caller's, or as many as the body has.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let (intent, checks) = (Intent::of(&request, &caller)?, app.checks(&request)?);
    let body = read_body(&request)?;
    if matches!(body, Body::Array(_)) && !caller.may(Permission::Bulk) {
        return Err(Problem::MissingPermission("User is missing permission for bulk operations"));
    }
    // What is at this path is the list of flows.
    Conditions::of(&request)?.check(Present::Untagged)?;
    match body {
        Body::Object(fields) => {
            let respond = |flow: &Flow| flow_response(app, StatusCode::CREATED, flow);
            let effect = intent.effect(&app.store, &respond).await?;
            effect.answer(&create(app, &caller, (fields, checks), &effect).await?)
        }
        Body::Array(items) => create_many(app, &request, &caller, &intent, (items, checks)).await,
    }
}

async fn create(
    app: &App,
    caller: &Caller,
    (fields, checks): (Fields<'_>, Checks),
    effect: &Effect<'_, Flow>,
) -> Result<Flow, Problem> {
    let flow = Flow::create(caller, fields, checks, app.tenant_role);
    let flow = flow.map_err(|invalid| app.refusal(invalid))?;
    insert_flow(app, &flow, effect).await?;
    Ok(flow)
}

/// Every item on its own: one that fails leaves the others alone.
async fn create_many(
    app: &App,
    request: &Request,
    caller: &Caller,
    intent: &Intent,
    (items, checks): (Vec<&RawValue>, Checks),
) -> Result<Response, Problem> {
    if items.len() > MAX_BULK_WRITE {
        return Err(Problem::InvalidBody(format!("Expecting at most {MAX_BULK_WRITE} flows")));
    }
    let deadline = Deadline::of(request).of_parts();
    let respond = &|flow: &Flow| flow_response(app, StatusCode::CREATED, flow);
    let parts = &intent.parts(&app.store).await?;
    let work = items.into_iter().enumerate().map(|(index, item)| async move {
        let fields = read_fields(item).ok_or_else(|| Problem::InvalidBody("Expecting an object".into()))?;
        let work = async {
            let effect = parts.effect(&app.store, index, respond).await?;
            let flow = create(app, caller, (fields, checks), &effect).await?;
            Part::done(app, &flow, &part_prefix(index, true))
        };
        deadline.bound(work).await.map_err(Problem::of_part)
    });
    let results = concurrently(work).await;
    let is_refused = |result: &Result<_, Problem>| result.as_ref().is_err_and(Problem::is_refusal);
    if !results.is_empty() && results.iter().all(is_refused) {
        return Err(nothing_stored(request, results));
    }
    let status = if intent.is_validation() { StatusCode::OK } else { StatusCode::CREATED };
    bulk_response(request, status, results, true)
}
