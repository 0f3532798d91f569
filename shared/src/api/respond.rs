use lambda_http::http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::body::PATCHES;
use super::conditions::tagged;
use super::problem::{INCOMPLETE, fault_entry};
use super::serve::{Failures, request_id};
use super::{App, Problem, Request, Response};
use crate::flow::{Diagnostic, Fault, Flow, FlowView, Level, NodeIds, StoredDocument, more_faults};

/// Entries of one item, where an answer has many: a function's answer is at most 6 MB.
pub(super) const MAX_ENTRIES: usize = 100;

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

/// `{"data":…,"meta":…}` with one flow and its `ETag`.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn plain_flow(flow: &Flow<impl StoredDocument>) -> Result<Response, Problem> {
    let response = body(StatusCode::OK, enveloped(&FlowView::from(flow).json()?, &Map::new())?);
    with_flow_headers(response, &etag(flow)?)
}

/// The answer to a write of one flow, with what there is to say about it as `meta.warnings`; for a new
/// one with its `Location`.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn flow_response(app: &App, status: StatusCode, flow: &Flow) -> Result<Response, Problem> {
    let meta = meta(warnings(app, flow, ""));
    let mut response = body(status, enveloped(&FlowView::from(flow).json()?, &meta)?);
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

/// What there is to say about a flow that was stored, as entries whose pointers begin with `prefix`.
fn warnings(app: &App, flow: &Flow, prefix: &str) -> Vec<Map<String, Value>> {
    let diagnostics = with_notes(flow, app.diagnose(&flow.document, Level::Warning));
    let warnings = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Level::Warning);
    warnings.map(|warning| with_prefix(prefix, diagnostic_entry(warning))).collect()
}

/// What a change has left out of what it was asked for.
#[must_use]
pub fn notes(flow: &Flow) -> Vec<Diagnostic> {
    let node = |note: &Fault| flow.document.node_at(&note.pointer).map(Into::into);
    flow.notes.iter().map(|note| Diagnostic::of_fault(note, Level::Warning, node(note))).collect()
}

/// The same, and then what else is found. That there is more is said once.
#[must_use]
pub fn with_notes(flow: &Flow, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let is_more = |said: &Diagnostic| said.reason == "more_faults";
    let (more, mut said): (Vec<_>, Vec<_>) = notes(flow).into_iter().partition(is_more);
    let says_more = found.last().is_some_and(is_more);
    said.extend(found);
    said.extend(more.into_iter().filter(|_| !says_more));
    said
}

/// The same of one of many flows, whose place is `prefix`.
fn some_warnings(prefix: &str, mut warnings: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    if warnings.len() > MAX_ENTRIES {
        warnings.truncate(MAX_ENTRIES);
        warnings.push(with_prefix(prefix, fault_entry(&more_faults(), INCOMPLETE.as_u16())));
    }
    warnings
}

/// A diagnostic in the form of upstream's errors.
pub(super) fn diagnostic_entry(diagnostic: &Diagnostic) -> Map<String, Value> {
    let mut entry = match serde_json::to_value(diagnostic) {
        Ok(Value::Object(entry)) => entry,
        _ => Map::new(),
    };
    entry.insert("code".into(), INCOMPLETE.as_u16().into());
    entry
}

/// Faults of a body with these nodes as diagnostics.
#[must_use]
pub fn diagnostics_of_faults(faults: &[Fault], nodes: &NodeIds<'_>) -> Vec<Diagnostic> {
    let node = |fault: &Fault| nodes.at(&fault.pointer);
    faults.iter().map(|fault| Diagnostic::of_fault(fault, Level::Error, node(fault))).collect()
}

/// The answer to what was only validated.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn validation_response(diagnostics: &[Diagnostic]) -> Result<Response, Problem> {
    validation(diagnostics, diagnostics.len())
}

/// The same of one of many, of which not everything is said.
pub(super) fn part_of_validation_response(diagnostics: &[Diagnostic]) -> Result<Response, Problem> {
    validation(diagnostics, MAX_ENTRIES)
}

fn validation(diagnostics: &[Diagnostic], most: usize) -> Result<Response, Problem> {
    let is_valid = diagnostics.iter().all(|found| found.severity != Level::Error);
    let (told, untold) = diagnostics.split_at(most.min(diagnostics.len()));
    let worst = untold.iter().map(|found| found.severity).max();
    let more = worst.map(|severity| Diagnostic::of_fault(&more_faults(), severity, None));
    let diagnostics: Vec<_> = told.iter().chain(&more).collect();
    let data = json!({"valid": is_valid, "diagnostics": diagnostics});
    let mut response = json(StatusCode::OK, &json!({"data": data, "meta": {}}))?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// An entry that says which item it is of.
fn with_prefix(prefix: &str, mut entry: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::String(pointer)) = entry.get_mut("pointer") {
        pointer.insert_str(0, prefix);
    } else if !prefix.is_empty() {
        entry.insert("pointer".into(), prefix.into());
    }
    entry
}

/// The answer to start and stop: the state as it then is.
#[must_use]
pub(super) fn run_response(flow: &Flow) -> Value {
    json!({"data": {"id": flow.id, "status": flow.status}, "meta": {}})
}

/// The answer to a deletion.
#[must_use]
pub fn deleted() -> Response {
    body(StatusCode::OK, json!({"msg": "Flow was successfully deleted"}).to_string())
}

/// A part of a bulk write that was done, as the answer tells it.
pub struct Part {
    flow: Box<RawValue>,
    warnings: Vec<Box<RawValue>>,
}

impl Part {
    /// What has become of a flow; the pointers of what there is to say about it begin with `prefix`. Flows
    /// themselves are not kept for the answer: a hundred would be many times what the request brought.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn done(app: &App, flow: &Flow, prefix: &str) -> Result<Self, Problem> {
        Ok(Self {
            flow: RawValue::from_string(FlowView::from(flow).json()?)?,
            warnings: written(some_warnings(prefix, warnings(app, flow, prefix)))?,
        })
    }
}

/// Entries as they are in an answer, where they take less than in memory.
fn written(entries: Vec<Map<String, Value>>) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
    entries.into_iter().map(|entry| to_raw_value(&entry)).collect()
}

/// The answer to a bulk write: one flow or `{"errors":[…]}` per item, and all warnings. Pointers lead
/// into the body, so they begin with an item's index; with nothing when the body was one flow.
///
/// # Errors
/// 5xx when no item was more fortunate, or when the answer cannot be written as JSON.
pub fn bulk_response(
    request: &Request,
    status: StatusCode,
    results: Vec<Result<Part, Problem>>,
    is_array: bool,
) -> Result<Response, Problem> {
    json(status, &told(request, results, is_array)?)
}

/// Why nothing of a list was stored.
#[must_use]
pub fn nothing_stored(request: &Request, results: Vec<Result<Part, Problem>>) -> Problem {
    told(request, results, true)
        .and_then(|told| Ok(Problem::NothingStored(to_raw_value(&told.data)?)))
        .unwrap_or_else(|problem| problem)
}

/// What has become of each item.
fn told(
    request: &Request,
    mut results: Vec<Result<Part, Problem>>,
    is_array: bool,
) -> Result<Enveloped, Problem> {
    let is_fault_of_ours = |result: &Result<Part, Problem>| {
        result.as_ref().is_err_and(|problem| problem.status().is_server_error())
    };
    let (request_id, failures) = (request_id(request), Failures::default());
    if results.iter().all(is_fault_of_ours)
        && let Some(Err(problem)) = results.pop()
    {
        // The one that is answered is logged with the answer.
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .for_each(|other| failures.note(other, &request_id));
        failures.log(&request_id);
        return Err(problem);
    }
    let mut meta = BulkMeta::default();
    let mut data = Vec::with_capacity(results.len());
    for (index, result) in results.into_iter().enumerate() {
        let prefix = part_prefix(index, is_array);
        data.push(match result {
            Ok(part) => {
                meta.warnings.extend(part.warnings);
                BulkItem::Flow(Some(part.flow))
            }
            Err(Problem::Answered(answer)) => match serde_json::from_str::<Answered>(&answer.body) {
                Ok(item) => {
                    let entries = item.meta.warnings.into_iter().map(|entry| with_prefix(&prefix, entry));
                    meta.warnings.extend(written(some_warnings(&prefix, entries.collect()))?);
                    BulkItem::Flow(Some(item.data))
                }
                Err(_) => BulkItem::Flow(None),
            },
            Err(problem) => {
                failures.note(&problem, &request_id);
                let entries = problem.entries(MAX_ENTRIES).into_iter();
                BulkItem::Failed {
                    errors: written(entries.map(|entry| with_prefix(&prefix, entry)).collect())?,
                }
            }
        });
    }
    failures.log(&request_id);
    Ok(Enveloped { data, meta })
}

/// What the pointers of an item begin with.
#[must_use]
pub fn part_prefix(index: usize, is_array: bool) -> String {
    if is_array { format!("/{index}") } else { String::new() }
}

/// The usual envelope around JSON.
pub(super) fn enveloped(data: &str, meta: &Map<String, Value>) -> Result<String, serde_json::Error> {
    Ok([r#"{"data":"#, data, r#","meta":"#, &serde_json::to_string(meta)?, "}"].concat())
}

/// The same around the parts of a bulk write. Flows are never turned into a [`Value`] on their way out: that
/// would reorder their members and round their numbers.
#[derive(Serialize)]
struct Enveloped {
    data: Vec<BulkItem>,
    meta: BulkMeta,
}

#[derive(Default, Serialize)]
struct BulkMeta {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum BulkItem {
    Flow(Option<Box<RawValue>>),
    Failed { errors: Vec<Box<RawValue>> },
}

/// The answer that an item got by itself.
#[derive(Deserialize)]
struct Answered {
    data: Box<RawValue>,
    meta: AnsweredMeta,
}

#[derive(Deserialize)]
struct AnsweredMeta {
    #[serde(default)]
    warnings: Vec<Map<String, Value>>,
}

/// A strong entity tag: what the run does not change, so that an open editor stays valid, and after a dot what
/// changes with whatever is shown.
pub(super) fn etag(flow: &Flow<impl StoredDocument>) -> Result<String, Problem> {
    Ok(format!("\"{}-{}.{}\"", flow.revision, flow.document.tag()?, flow.sequence))
}

/// The entity tag of a version whose document has this tag: what the flow's began with then.
pub(super) fn version_etag(revision: u64, tag: &str) -> String {
    format!("\"{revision}-{tag}\"")
}

/// An answer about one flow with this entity tag.
pub(super) fn with_flow_headers(mut response: Response, etag: &str) -> Result<Response, Problem> {
    tagged(&mut response, etag)?;
    let headers = response.headers_mut();
    headers.insert("accept-patch", HeaderValue::from_static(PATCHES));
    // What one caller sees is nothing to keep for another, and a run goes on meanwhile.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
