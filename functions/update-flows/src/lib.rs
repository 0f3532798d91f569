//! `PATCH /flows/bulk`

use lambda_http::http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::api::{
    App, Body, MAX_BULK_WRITE, Problem, Request, Response, Wording, bulk_errors, change_flow, json,
    patch, read_body, warnings,
};
use shared::flow::{Fields, Flow, FlowId, FlowView, read_fields};
use shared::identity::{Caller, Permission};

/// Changes every flow in the body as `PATCH /flows/{id}` would; one that fails leaves the others
/// alone. One after the other, so that two changes of one flow keep their order.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Bulk).await?;
    let items = match read_body(&request)? {
        Body::Object(fields) => vec![Some(fields)],
        Body::Array(items) if items.len() <= MAX_BULK_WRITE => {
            items.into_iter().map(read_fields).collect()
        }
        Body::Array(_) => {
            return Err(Problem::InvalidBody(format!(
                "Expecting at most {MAX_BULK_WRITE} flows"
            )));
        }
    };
    let mut data = Vec::with_capacity(items.len());
    let mut warned = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        data.push(match update(app, &caller, item).await {
            Ok(flow) => {
                warned.extend(warnings(&flow, &format!("/{index}")));
                json!(FlowView::from(&flow))
            }
            Err(problem) => bulk_errors(&problem, None),
        });
    }
    let meta = if warned.is_empty() {
        json!({})
    } else {
        json!({"warnings": warned})
    };
    json(StatusCode::OK, &json!({"data": data, "meta": meta}))
}

async fn update(app: &App, caller: &Caller, item: Option<Fields<'_>>) -> Result<Flow, Problem> {
    let fields = item.ok_or_else(|| Problem::InvalidBody("Expecting an object".into()))?;
    let id = fields
        .get("id")
        .copied()
        .map(RawValue::get)
        .ok_or(Problem::InvalidId)?;
    let text = serde_json::from_str::<Value>(id)?
        .as_str()
        .map_or_else(|| id.to_owned(), Into::into);
    let wording = Wording::Item(text.chars().take(64).collect());
    let id: FlowId = text
        .parse()
        .map_err(|_| Problem::FlowNotFound(wording.clone()))?;
    change_flow(app, caller, id, &wording, |flow| {
        patch(app, caller, flow, &fields, &wording)
    })
    .await
}
