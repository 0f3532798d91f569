//! `PATCH /secrets/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    Deadline, Intent, Problem, Request, Response, SecretsApp, read_body, secret_problem, secret_response,
    validation_response,
};

/// Replaces the members of a secret of the caller's that the body names. What was shown as `***` and
/// comes back like that stays as it is.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let (caller, id) = app.caller_and_id(&request).await?;
    let intent = Intent::of(&request, &caller)?;
    let fields = read_body(&request)?.object()?;
    if intent.is_validation() {
        let checked = app.secrets.check_update(&caller, id, fields).await;
        checked.map_err(|error| secret_problem(&caller, error))?;
        return validation_response(&[]);
    }
    let updated = app.secrets.update(&caller, id, fields, Deadline::of(&request).moment()).await;
    let (secret, value) = updated.map_err(|error| secret_problem(&caller, error))?;
    secret_response(StatusCode::OK, &secret, value.masked())
}
