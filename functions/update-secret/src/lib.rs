//! `PATCH /secrets/{id}`

use lambda_http::http::StatusCode;
use shared::api::{Problem, Request, Response, SecretsApp, read_body, secret_response};

/// Replaces the members of a secret of the caller's that the body names. What was shown as `***` and
/// comes back like that stays as it is.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let (caller, id) = app.caller_and_id(&request).await?;
    let (secret, value) = app.secrets.update(&caller, id, read_body(&request)?.object()?).await?;
    secret_response(StatusCode::OK, &secret, value.masked())
}
