//! `PATCH /secrets/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    Intent, Problem, Request, Response, SecretsApp, read_body, secret_response, validation_response,
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
        app.secrets.check_update(&caller, id, fields).await?;
        return validation_response(&[]);
    }
    let (secret, value) = app.secrets.update(&caller, id, fields).await?;
    secret_response(StatusCode::OK, &secret, value.masked())
}
