//! `PATCH /flows/bulk`

use lambda_http::http::StatusCode;
use serde_json::value::RawValue;
use shared::api::{
    App, Body, Conditions, Deadline, Effect, FlowPatch, Intent, MAX_BULK_WRITE, Part, Precondition, Present,
    Problem, Request, Response, Wording, bulk_response, change_flow, flow_response, part_prefix, patch,
    read_body,
};
use shared::flow::{Checks, Fields, Flow, FlowId, MAX_ANSWER_BYTES, Role, read_fields};
use shared::identity::{Caller, Permission};
use shared::store::Change;

/// Changes every flow in the body as `PATCH /flows/{id}` would; one that fails leaves the others
/// alone. One after the other, so that two changes of one flow keep their order.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Bulk).await?;
    let (intent, checks) = (Intent::of(&request, &caller)?, app.checks(&request)?);
    let body = read_body(&request)?;
    let is_array = matches!(body, Body::Array(_));
    let items = match body {
        Body::Object(fields) => vec![Some(fields)],
        Body::Array(items) if items.len() <= MAX_BULK_WRITE => items.into_iter().map(read_fields).collect(),
        Body::Array(_) => {
            return Err(Problem::InvalidBody(format!("Expecting at most {MAX_BULK_WRITE} flows")));
        }
    };
    // There is nothing at the path of this route, whatever becomes of the flows.
    Conditions::of(&request)?.check(Present::Nothing)?;
    let deadline = Deadline::of(&request).of_parts();
    let mut results = Vec::with_capacity(items.len());
    // A change whose result has no room in the answer is not made.
    let mut room = MAX_ANSWER_BYTES;
    let respond = |flow: &Flow| flow_response(app, StatusCode::OK, flow);
    let parts = intent.parts(&app.store).await?;
    for (index, item) in items.into_iter().enumerate() {
        let mut left = room;
        let work = async {
            let effect = parts.effect(&app.store, index, &respond).await?;
            let flow = update(app, &caller, (item, checks), &mut left, &effect).await?;
            Part::done(app, &flow, &part_prefix(index, is_array))
        };
        let result = Box::pin(deadline.bound(work)).await;
        // Of what is only validated as well, so that it is refused alike.
        if matches!(result, Ok(_) | Err(Problem::Answered(_))) {
            room = left;
        }
        results.push(result.map_err(Problem::of_part));
    }
    bulk_response(&request, StatusCode::OK, results, is_array)
}

async fn update(
    app: &App,
    caller: &Caller,
    (item, checks): (Option<Fields<'_>>, Checks),
    room: &mut usize,
    effect: &Effect<'_, Flow>,
) -> Result<Flow, Problem> {
    let fields = item.ok_or_else(|| Problem::InvalidBody("Expecting an object".into()))?;
    let id = fields.get("id").copied().map(RawValue::get).ok_or(Problem::InvalidId)?;
    let text = serde_json::from_str::<String>(id).unwrap_or_else(|_| id.to_owned());
    let wording = Wording::Item(text.chars().take(64).collect());
    let id: FlowId = text.parse().map_err(|_| Problem::FlowNotFound(wording.clone()))?;
    let changes = FlowPatch::Members(fields);
    let before = *room;
    let decide = |flow: &Flow| {
        let change = patch(app, caller, flow, (&changes, checks), (&wording, &Precondition::default()))?;
        let result = if let Change::Save(next) = &change { next } else { flow };
        *room = before.checked_sub(result.answer_size()).ok_or(Problem::TooLarge)?;
        Ok(change)
    };
    change_flow(app, caller, (id, Role::Editor), &wording, effect, decide).await
}
