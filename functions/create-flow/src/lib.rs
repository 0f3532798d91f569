//! `POST /flows`: one flow, or many.

use lambda_http::http::StatusCode;
use serde_json::value::RawValue;
use shared::api::{
    App, Body, Deadline, MAX_BULK_WRITE, Problem, Request, Response, bulk_response, check_credentials,
    flow_response, read_body,
};
use shared::concurrently;
use shared::flow::{Fields, Flow, read_fields};
use shared::identity::{Caller, Permission};

/// Stores a new flow of the caller's, or as many as the body has.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    match read_body(&request)? {
        Body::Object(fields) => flow_response(StatusCode::CREATED, &create(app, &caller, fields).await?),
        Body::Array(items) => create_many(app, &request, &caller, items).await,
    }
}

async fn create(app: &App, caller: &Caller, fields: Fields<'_>) -> Result<Flow, Problem> {
    let flow = Flow::create(caller, fields, app.component_check)?;
    check_credentials(app, &flow)?;
    app.store.insert(&flow).await?;
    Ok(flow)
}

/// Every item on its own: one that fails leaves the others alone.
async fn create_many(
    app: &App,
    request: &Request,
    caller: &Caller,
    items: Vec<&RawValue>,
) -> Result<Response, Problem> {
    if !caller.may(Permission::Bulk) {
        return Err(Problem::MissingPermission("User is missing permission for bulk operations"));
    }
    if items.len() > MAX_BULK_WRITE {
        return Err(Problem::InvalidBody(format!("Expecting at most {MAX_BULK_WRITE} flows")));
    }
    let deadline = Deadline::of(request).of_parts();
    let work = items.into_iter().map(|item| async move {
        let fields = read_fields(item).ok_or_else(|| Problem::InvalidBody("Expecting an object".into()))?;
        deadline.bound(create(app, caller, fields)).await
    });
    let results = concurrently(work.collect()).await;
    let none_stored = !results.is_empty() && results.iter().all(Result::is_err);
    let status = if none_stored { StatusCode::BAD_REQUEST } else { StatusCode::CREATED };
    bulk_response(request, status, results, true)
}
