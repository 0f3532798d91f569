use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::headers::none_match;
use super::problem::{INCOMPLETE, fault_entry};
use super::{Problem, Request, Response};
use crate::flow::{Flow, FlowView};

/// An answer with this JSON text.
pub(super) fn body(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
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
        json(
            StatusCode::OK,
            &json!({"data": FlowView::from(flow), "meta": {}}),
        )?
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
    let mut response = json(
        status,
        &Enveloped {
            data: FlowView::from(flow),
            meta,
        },
    )?;
    if status == StatusCode::CREATED
        && let Ok(location) = HeaderValue::from_str(&format!("/flows/{}", flow.id))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    with_flow_headers(response, &etag(flow)?)
}

/// `meta` with these warnings, if there are any.
pub(super) fn meta(warnings: Vec<Map<String, Value>>) -> Map<String, Value> {
    let mut meta = Map::new();
    if !warnings.is_empty() {
        meta.insert("warnings".into(), warnings.into());
    }
    meta
}

/// What a flow lacks to run, as entries whose pointers begin with `prefix`.
#[must_use]
pub fn warnings(flow: &Flow, prefix: &str) -> Vec<Map<String, Value>> {
    let missing = flow.document.missing_to_run().into_iter().map(|mut fault| {
        fault.pointer.insert_str(0, prefix);
        fault_entry(&fault, INCOMPLETE.as_u16())
    });
    missing.collect()
}

/// The answer to start and stop: the state as it then is.
#[must_use]
pub fn run_response(flow: &Flow) -> Value {
    json!({"data": {"id": flow.id, "status": flow.status}, "meta": {}})
}

/// The answer to a deletion.
#[must_use]
pub fn deleted() -> Response {
    body(
        StatusCode::OK,
        json!({"msg": "Flow was successfully deleted"}).to_string(),
    )
}

/// The usual envelope.
#[derive(Serialize)]
struct Enveloped<'a> {
    data: FlowView<'a>,
    meta: Map<String, Value>,
}

/// A strong entity tag of the document: the run does not change it, so an open editor stays valid.
fn etag(flow: &Flow) -> Result<String, Problem> {
    let document = serde_json::to_vec(&flow.document)?;
    let hash = digest(&SHA256, &document);
    let hash = URL_SAFE_NO_PAD.encode(hash.as_ref().get(..6).unwrap_or_default());
    Ok(format!("\"{}-{hash}\"", flow.revision))
}

fn with_flow_headers(mut response: Response, etag: &str) -> Result<Response, Problem> {
    let headers = response.headers_mut();
    headers.insert(
        header::ETAG,
        HeaderValue::from_str(etag).map_err(|error| Problem::Internal(error.into()))?,
    );
    // The tag does not cover the run: a cache must not answer for it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
