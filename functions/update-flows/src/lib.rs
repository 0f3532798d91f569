//! `PATCH /flows/bulk`

use lambda_http::http::StatusCode;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::api::{
    App, Body, MAX_BULK_WRITE, Problem, Request, Response, Wording, bulk_response, change_flow, patch,
    read_body,
};
use shared::flow::{Fields, Flow, FlowId, read_fields};
use shared::identity::{Caller, Permission};

/// Changes every flow in the body as `PATCH /flows/{id}` would; one that fails leaves the others
/// alone. One after the other, so that two changes of one flow keep their order.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Bulk).await?;
    let body = read_body(&request)?;
    let is_array = matches!(body, Body::Array(_));
    let items = match body {
        Body::Object(fields) => vec![Some(fields)],
        Body::Array(items) if items.len() <= MAX_BULK_WRITE => items.into_iter().map(read_fields).collect(),
        Body::Array(_) => {
            return Err(Problem::InvalidBody(format!("Expecting at most {MAX_BULK_WRITE} flows")));
        }
    };
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        results.push(update(app, &caller, item).await);
    }
    bulk_response(StatusCode::OK, &results, is_array)
}

async fn update(app: &App, caller: &Caller, item: Option<Fields<'_>>) -> Result<Flow, Problem> {
    let fields = item.ok_or_else(|| Problem::InvalidBody("Expecting an object".into()))?;
    let id = fields.get("id").copied().map(RawValue::get).ok_or(Problem::InvalidId)?;
    let text = serde_json::from_str::<Value>(id)?.as_str().map_or_else(|| id.to_owned(), Into::into);
    let wording = Wording::Item(text.chars().take(64).collect());
    let id: FlowId = text.parse().map_err(|_| Problem::FlowNotFound(wording.clone()))?;
    change_flow(app, caller, id, &wording, |flow| patch(app, caller, flow, &fields, &wording)).await
}
