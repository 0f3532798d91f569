use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::body::PATCHES;
use super::headers::none_match;
use super::problem::{INCOMPLETE, fault_entry};
use super::serve::{log_problem, request_id};
use super::{Problem, Request, Response};
use crate::flow::{Flow, FlowView, bounded};

/// Entries of one item, where an answer has many: a function's answer is at most 6 MB.
const MAX_ENTRIES: usize = 100;

/// An answer with this JSON text.
pub(super) fn body(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer with `value` as JSON.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    Ok(body(status, serde_json::to_string(value)?))
}

/// `{"data":…,"meta":…}` with one flow: 200 with its `ETag`, or 304 when the client of a `GET` has it.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn plain_flow(request: &Request, flow: &Flow) -> Result<Response, Problem> {
    let etag = etag(flow)?;
    let response = if none_match(request, &etag) {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        json(StatusCode::OK, &Enveloped { data: FlowView::from(flow), meta: Map::new() })?
    };
    with_flow_headers(response, &etag)
}

/// The answer to a write of one flow, with what it lacks to run as `meta.warnings`; for a new one
/// with its `Location`.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn flow_response(status: StatusCode, flow: &Flow) -> Result<Response, Problem> {
    let meta = meta(warnings(flow, ""));
    let mut response = json(status, &Enveloped { data: FlowView::from(flow), meta })?;
    if status == StatusCode::CREATED
        && let Ok(location) = HeaderValue::from_str(&format!("/flows/{}", flow.id))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    with_flow_headers(response, &etag(flow)?)
}

/// `meta` with these warnings, if there are any.
fn meta(warnings: Vec<Map<String, Value>>) -> Map<String, Value> {
    let mut meta = Map::new();
    if !warnings.is_empty() {
        meta.insert("warnings".into(), warnings.into());
    }
    meta
}

/// What a flow lacks to run and which credentials it holds, as entries whose pointers begin with
/// `prefix`.
fn warnings(flow: &Flow, prefix: &str) -> Vec<Map<String, Value>> {
    let missing = bounded(flow.document.missing_to_run(), MAX_ENTRIES);
    let literal = bounded(flow.document.literal_credentials(), MAX_ENTRIES);
    missing
        .iter()
        .chain(&literal)
        .map(|fault| with_prefix(prefix, fault_entry(fault, INCOMPLETE.as_u16())))
        .collect()
}

fn with_prefix(prefix: &str, mut entry: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::String(pointer)) = entry.get_mut("pointer") {
        pointer.insert_str(0, prefix);
    }
    entry
}

/// The answer to start and stop: the state as it then is.
#[must_use]
pub fn run_response(flow: &Flow) -> Value {
    json!({"data": {"id": flow.id, "status": flow.status}, "meta": {}})
}

/// The answer to a deletion.
#[must_use]
pub fn deleted() -> Response {
    body(StatusCode::OK, json!({"msg": "Flow was successfully deleted"}).to_string())
}

/// The answer to a bulk write: one flow or `{"errors":[…]}` per item, and all warnings. Pointers lead
/// into the body, so they begin with an item's index; with nothing when the body was one flow.
///
/// # Errors
/// 5xx when no item was more fortunate, or when the answer cannot be written as JSON.
pub fn bulk_response(
    request: &Request,
    status: StatusCode,
    mut results: Vec<Result<Flow, Problem>>,
    is_array: bool,
) -> Result<Response, Problem> {
    let is_fault_of_ours = |result: &Result<Flow, Problem>| {
        result.as_ref().is_err_and(|problem| problem.status().is_server_error())
    };
    let request_id = request_id(request);
    if results.iter().all(is_fault_of_ours)
        && let Some(Err(problem)) = results.pop()
    {
        // The one that is answered is logged with the answer.
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .for_each(|other| log_problem(other, &request_id));
        return Err(problem);
    }
    let mut warned = Vec::new();
    let items = results.iter().enumerate().map(|(index, result)| {
        let prefix = if is_array { format!("/{index}") } else { String::new() };
        match result {
            Ok(flow) => {
                warned.extend(warnings(flow, &prefix));
                BulkItem::Flow(Box::new(flow.into()))
            }
            Err(problem) => {
                log_problem(problem, &request_id);
                let entries = problem.entries(MAX_ENTRIES).into_iter();
                BulkItem::Failed { errors: entries.map(|entry| with_prefix(&prefix, entry)).collect() }
            }
        }
    });
    let data: Vec<_> = items.collect();
    json(status, &Enveloped { data, meta: meta(warned) })
}

/// The usual envelope. Flows are never turned into a [`Value`] on their way out: that would reorder
/// their members and round their numbers.
#[derive(Serialize)]
struct Enveloped<T> {
    data: T,
    meta: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum BulkItem<'a> {
    Flow(Box<FlowView<'a>>),
    Failed { errors: Vec<Map<String, Value>> },
}

/// A strong entity tag of the document: the run does not change it, so an open editor stays valid.
pub(super) fn etag(flow: &Flow) -> Result<String, Problem> {
    let document = serde_json::to_vec(&flow.document)?;
    let hash = digest(&SHA256, &document);
    let hash = URL_SAFE_NO_PAD.encode(hash.as_ref().get(..6).unwrap_or_default());
    Ok(format!("\"{}-{hash}\"", flow.revision))
}

fn with_flow_headers(mut response: Response, etag: &str) -> Result<Response, Problem> {
    let headers = response.headers_mut();
    headers
        .insert(header::ETAG, HeaderValue::from_str(etag).map_err(|error| Problem::Internal(error.into()))?);
    headers.insert("accept-patch", HeaderValue::from_static(PATCHES));
    // The tag does not cover the run: a cache must not answer for it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
