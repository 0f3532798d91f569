//! What more than one route does with a flow.

use lambda_http::http::StatusCode;
use serde_json::{Value, json};

use super::conditions::{Conditions, Present};
use super::respond::{etag, json as answer, run_response, with_flow_headers, with_notes};
use super::serve::{Failures, request_id};
use super::{
    App, Deadline, Effect, Intent, Precondition, Problem, Request, Response, Wording, read_body, scope,
};
use super::{Body, FlowPatch};
use crate::concurrently;
use crate::flow::{
    Checks, Diagnostic, EditError, Fault, Flow, FlowId, Level, PatchError, Role, StartError, Status,
};
use crate::identity::Caller;
use crate::store::Change;

/// Flows in one bulk write.
pub const MAX_BULK_WRITE: usize = 100;
/// Flows started or stopped at once.
const MAX_BULK_CONTROL: usize = 1000;
/// Entries of one id, where an answer has many.
const MAX_ENTRIES: usize = 20;

/// Changes a flow of the caller's as the effect of its request, and gives the state it is left in. Two
/// calls, one when there is nothing to do.
///
/// # Errors
/// 404 in these words, 403 to who has a lower role in the flow, or what `decide` says;
/// [`Problem::Answered`] when the request is only validated.
pub async fn change_flow(
    app: &App,
    caller: &Caller,
    (id, role): (FlowId, Role),
    wording: &Wording,
    effect: &Effect<'_, Flow>,
    decide: impl FnMut(&Flow) -> Result<Change, Problem> + Send,
) -> Result<Flow, Problem> {
    let seen = app.store.find(id, &scope(caller)).await?;
    change_seen(app, caller, (seen, role), wording, effect, decide).await
}

/// The same of a flow as it was seen. One call, none when there is nothing to do.
///
/// # Errors
/// As [`change_flow`].
pub async fn change_seen(
    app: &App,
    caller: &Caller,
    (seen, role): (Option<Flow>, Role),
    wording: &Wording,
    effect: &Effect<'_, Flow>,
    mut decide: impl FnMut(&Flow) -> Result<Change, Problem> + Send,
) -> Result<Flow, Problem> {
    let not_found = || Problem::FlowNotFound(wording.clone());
    let decide = |flow: Option<&Flow>| {
        let flow = flow.ok_or_else(not_found)?;
        require_role(caller, flow, role, wording)?;
        decide(flow)
    };
    if effect.is_validation() {
        let revision = seen.as_ref().map(|flow| flow.revision);
        let flow = app.store.preview(seen, decide).await?.ok_or_else(not_found)?;
        let is_new = Some(flow.revision) != revision;
        let found = if is_new { app.diagnose(&flow.document, Level::Info) } else { Vec::new() };
        return Err(effect.validated(&with_notes(&flow, found))?);
    }
    let changed = app.store.change_seen(seen, decide, |flow| effect.receipt(flow)).await;
    match changed.and_then(|flow| flow.ok_or_else(not_found)) {
        Err(problem) => Err(effect.refused(&app.store, problem).await),
        done => done,
    }
}

/// Refuses a caller who may not do what needs this role. Who may not see the flow learns nothing of it.
///
/// # Errors
/// 404 in these words, 403.
pub fn require_role(caller: &Caller, flow: &Flow, role: Role, wording: &Wording) -> Result<(), Problem> {
    match flow.document.role_of(caller) {
        None => Err(Problem::FlowNotFound(wording.clone())),
        Some(own) if own < role => Err(Problem::MissingRole(role)),
        Some(_) => Ok(()),
    }
}

/// Stores a new flow as the effect of its request. One call.
///
/// # Errors
/// See [`crate::store::Error`]; [`Problem::Answered`] when the request is only validated.
pub async fn insert_flow(app: &App, flow: &Flow, effect: &Effect<'_, Flow>) -> Result<(), Problem> {
    check_rules(app, flow)?;
    if effect.is_validation() {
        app.store.check(None, flow).await?;
        return Err(effect.validated(&with_notes(flow, app.diagnose(&flow.document, Level::Info)))?);
    }
    Ok(app.store.insert(flow, effect.receipt(flow)?.as_ref()).await?)
}

/// What a PATCH makes of a flow.
///
/// # Errors
/// 412 when it is not what the client knows, 409 while it runs or when the patch does not fit it, 400 when it would
/// not be valid.
pub fn patch(
    app: &App,
    caller: &Caller,
    flow: &Flow,
    (patch, checks): (&FlowPatch<'_>, Checks),
    (wording, precondition): (&Wording, &Precondition),
) -> Result<Change, Problem> {
    let next = match patch {
        FlowPatch::Members(fields) => {
            flow.patch(caller, fields.clone(), checks).map_err(|error| app.refusal(error))
        }
        FlowPatch::Standard(patch) => flow.patched(caller, patch, checks).map_err(|error| match error {
            PatchError::Edit(error) => app.refusal(error),
            other => other.into(),
        }),
    };
    settle(app, flow, next, (wording, precondition))
}

/// What becomes of a flow that is to look like this. What is in effect already needs no change, and so no flow that
/// can be changed, and is so whichever state it was meant for.
fn settle(
    app: &App,
    flow: &Flow,
    next: Result<Option<Flow>, Problem>,
    (wording, precondition): (&Wording, &Precondition),
) -> Result<Change, Problem> {
    let change = next.map(|next| Change::between(flow, next));
    if change.as_ref().is_ok_and(Change::is_none) {
        precondition.check_in_effect(flow)?;
        return change;
    }
    precondition.check(flow)?;
    if flow.status != Status::Inactive {
        return Err(Problem::NotInactive(flow.status, wording.clone()));
    }
    let change = change?;
    if let Change::Save(next) = &change {
        check_rules(app, next)?;
    }
    Ok(change)
}

/// What becomes of a flow that is to look like this.
///
/// # Errors
/// 412 when it is not what the client knows, 409 while it runs, 400 and 422 with the rules it would break.
pub fn replace(
    app: &App,
    flow: &Flow,
    next: Result<Option<Flow>, EditError>,
    precondition: &Precondition,
) -> Result<Change, Problem> {
    let next = next.map_err(|error| app.refusal(error));
    settle(app, flow, next, (&Wording::Write, precondition))
}

/// Refuses a flow that breaks a rule which is an error here.
///
/// # Errors
/// 422 with every literal credential when there is nothing else, 400 with everything else.
fn check_rules(app: &App, flow: &Flow) -> Result<(), Problem> {
    let errors = app.diagnose(&flow.document, Level::Error).into_iter();
    let faults: Vec<Fault> = errors.map(Diagnostic::into_fault).collect();
    let is_credential = |fault: &Fault| matches!(fault.reason, "node.fields.credential" | "more_faults");
    if faults.is_empty() {
        Ok(())
    } else if faults.iter().all(is_credential) {
        Err(Problem::LiteralCredentials(flow.document.literal_credentials()))
    } else {
        Err(Problem::InvalidFlow(faults))
    }
}

/// Starts a flow of the caller's.
///
/// # Errors
/// 404, 403 by role or to another tenant, 412 when it is not what the client knows, 409 while it is stopping, 422 when it
/// is not complete or uses secrets that the caller may not.
pub async fn start_flow(
    app: &App,
    caller: &Caller,
    id: FlowId,
    precondition: &Precondition,
    effect: &Effect<'_, Flow>,
) -> Result<Flow, Problem> {
    let (seen, is_gone) = app.store.find_for(id, &scope(caller), &caller.sub).await?;
    let decide = |flow: &Flow| {
        if is_gone {
            return Err(Problem::CallerGone);
        }
        let started = flow.start(caller);
        if !matches!(started, Err(StartError::OtherTenant)) {
            // What runs already may be something else than what is to run.
            precondition.check(flow)?;
        }
        Ok(started?.into())
    };
    let changed = change_seen(app, caller, (seen, Role::Operator), &Wording::Control, effect, decide).await;
    changed.map_err(|problem| match problem {
        // The flow was valid when it was written; since then a secret is gone.
        Problem::InvalidFlow(unknown) => Problem::IncompleteFlow(unknown),
        other => other,
    })
}

/// Stops a flow of the caller's.
///
/// # Errors
/// 404, 403 by role, 412 when it is not what the client knows.
pub async fn stop_flow(
    app: &App,
    caller: &Caller,
    id: FlowId,
    precondition: &Precondition,
    effect: &Effect<'_, Flow>,
) -> Result<Flow, Problem> {
    let decide = |flow: &Flow| {
        precondition.check(flow)?;
        Ok(flow.stop(caller).into())
    };
    change_flow(app, caller, (id, Role::Operator), &Wording::Control, effect, decide).await
}

/// The answer to start and stop: the state as it then is.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn run_answer(flow: &Flow) -> Result<Response, Problem> {
    with_flow_headers(answer(StatusCode::OK, &run_response(flow))?, &etag(flow)?)
}

/// Starts or stops every flow whose id is in the body: a bare array with one result per id, in
/// order, as upstream's clients read it.
///
/// # Errors
/// 400 when the body is no array, or too long.
pub async fn control_many<F>(
    app: &App,
    request: &Request,
    caller: &Caller,
    control: impl Fn(FlowId, Effect<'static, Flow>) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Flow, Problem>>,
{
    let intent = &Intent::of(request, caller)?;
    let ids = match read_body(request)? {
        Body::Array(ids) if ids.len() <= MAX_BULK_CONTROL => ids,
        Body::Array(_) => {
            return Err(Problem::InvalidBody(format!("Expecting at most {MAX_BULK_CONTROL} flow ids")));
        }
        Body::Object(_) => {
            return Err(Problem::InvalidBody("No flow ids given. Expecting an array of flow ids".into()));
        }
    };
    // There is nothing at the path of this route, whatever becomes of the flows.
    Conditions::of(request)?.check(Present::Nothing)?;
    let parts = &intent.parts(&app.store).await?;
    let (control, deadline, request_id) = (&control, Deadline::of(request).of_parts(), &request_id(request));
    let failures = Failures::default();
    let noted = &failures;
    let work = ids.into_iter().enumerate().map(|(index, id)| async move {
        // What is no scalar is no id, and is not repeated.
        let is_scalar = !id.get().starts_with(['[', '{']);
        let sent: Value =
            if is_scalar { serde_json::from_str(id.get()).unwrap_or_default() } else { Value::Null };
        let result = match sent.as_str().and_then(|id| id.parse().ok()) {
            Some(id) => {
                let work = async { control(id, parts.effect(&app.store, index, &run_answer).await?).await };
                deadline.bound(work).await
            }
            None => Err(Problem::InvalidId),
        };
        match result {
            Ok(flow) => run_response(&flow),
            Err(Problem::Answered(answer)) => serde_json::from_str(&answer.body).unwrap_or_default(),
            Err(problem) => {
                noted.note(&problem, request_id);
                failed(&problem, &shorten(sent))
            }
        }
    });
    let results = concurrently(work).await;
    failures.log(request_id);
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
