//! What more than one route does with a flow.

use lambda_http::http::StatusCode;
use serde_json::{Value, json};

use super::respond::{json as answer, run_response};
use super::serve::{log_problem, request_id};
use super::{App, Deadline, Problem, Request, Response, Wording, read_body, scope};
use super::{Body, FlowPatch};
use crate::concurrently;
use crate::flow::{CredentialCheck, Flow, FlowId, Status};
use crate::identity::Caller;
use crate::store::Change;

/// Flows in one bulk write.
pub const MAX_BULK_WRITE: usize = 100;
/// Flows started or stopped at once.
const MAX_BULK_CONTROL: usize = 1000;
/// Entries of one id, where an answer has many.
const MAX_ENTRIES: usize = 20;

/// Changes a flow of the caller's, and gives the state it is left in.
///
/// # Errors
/// 404 in these words, or what `decide` says.
pub async fn change_flow(
    app: &App,
    caller: &Caller,
    id: FlowId,
    wording: &Wording,
    mut decide: impl FnMut(&Flow) -> Result<Change, Problem> + Send,
) -> Result<Flow, Problem> {
    let scope = scope(caller);
    let not_found = || Problem::FlowNotFound(wording.clone());
    let decide =
        |flow: Option<&Flow>| decide(flow.filter(|flow| scope.contains(flow)).ok_or_else(not_found)?);
    app.store.change(id, decide).await?.ok_or_else(not_found)
}

/// What a PATCH makes of a flow.
///
/// # Errors
/// 409 while it runs or when the patch does not fit it, 400 when it would not be valid.
pub fn patch(
    app: &App,
    caller: &Caller,
    flow: &Flow,
    patch: &FlowPatch<'_>,
    wording: &Wording,
) -> Result<Change, Problem> {
    if flow.status != Status::Inactive {
        return Err(Problem::NotInactive(flow.status, wording.clone()));
    }
    let next = match patch {
        FlowPatch::Members(fields) => flow.patch(caller, fields.clone(), app.component_check)?,
        FlowPatch::Standard(patch) => flow.patched(caller, patch, app.component_check)?,
    };
    if let Some(next) = &next {
        check_credentials(app, next)?;
    }
    Ok(next.into())
}

/// Refuses a flow with literal credentials where that is the rule.
///
/// # Errors
/// 422 with every place.
pub fn check_credentials(app: &App, flow: &Flow) -> Result<(), Problem> {
    let literal = match app.credential_check {
        CredentialCheck::Warn => Vec::new(),
        CredentialCheck::Refuse => flow.document.literal_credentials(),
    };
    if literal.is_empty() { Ok(()) } else { Err(Problem::LiteralCredentials(literal)) }
}

/// Starts a flow of the caller's.
///
/// # Errors
/// 404, 409 while it is stopping, 422 when it is not complete or uses secrets that the caller may not.
pub async fn start_flow(app: &App, caller: &Caller, id: FlowId) -> Result<Flow, Problem> {
    let started = change_flow(app, caller, id, &Wording::Control, |flow| Ok(flow.start(caller)?.into()));
    started.await.map_err(|problem| match problem {
        // The flow was valid when it was written; since then a secret is gone.
        Problem::InvalidFlow(unknown) => Problem::IncompleteFlow(unknown),
        other => other,
    })
}

/// Stops a flow of the caller's.
///
/// # Errors
/// 404.
pub async fn stop_flow(app: &App, caller: &Caller, id: FlowId) -> Result<Flow, Problem> {
    change_flow(app, caller, id, &Wording::Control, |flow| Ok(flow.stop(caller).into())).await
}

/// Starts or stops every flow whose id is in the body: a bare array with one result per id, in
/// order, as upstream's clients read it.
///
/// # Errors
/// 400 when the body is no array, or too long.
pub async fn control_many<F>(request: &Request, control: impl Fn(FlowId) -> F) -> Result<Response, Problem>
where
    F: Future<Output = Result<Flow, Problem>>,
{
    let ids = match read_body(request)? {
        Body::Array(ids) if ids.len() <= MAX_BULK_CONTROL => ids,
        Body::Array(_) => {
            return Err(Problem::InvalidBody(format!("Expecting at most {MAX_BULK_CONTROL} flow ids")));
        }
        Body::Object(_) => {
            return Err(Problem::InvalidBody("No flow ids given. Expecting an array of flow ids".into()));
        }
    };
    let (control, deadline, request_id) = (&control, Deadline::of(request).of_parts(), &request_id(request));
    let work = ids.into_iter().map(|id| async move {
        let sent: Value = serde_json::from_str(id.get()).unwrap_or_default();
        let result = match sent.as_str().and_then(|id| id.parse().ok()) {
            Some(id) => deadline.bound(control(id)).await,
            None => Err(Problem::InvalidId),
        };
        match result {
            Ok(flow) => run_response(&flow),
            Err(problem) => {
                log_problem(&problem, request_id);
                failed(&problem, &shorten(sent))
            }
        }
    });
    let results = concurrently(work.collect()).await;
    answer(StatusCode::OK, &results)
}

/// What became of an id that failed, with the id as it was sent.
fn failed(problem: &Problem, id: &Value) -> Value {
    let entries = problem.entries(MAX_ENTRIES).into_iter().map(|mut entry| {
        entry.insert("flowId".into(), id.clone());
        entry
    });
    json!({"errors": entries.collect::<Vec<_>>()})
}

/// An id that is none is not repeated at length.
fn shorten(sent: Value) -> Value {
    match sent {
        Value::String(text) => text.chars().take(64).collect::<String>().into(),
        Value::Array(_) | Value::Object(_) => Value::Null,
        scalar => scalar,
    }
}
