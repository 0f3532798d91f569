//! `GET /secrets/{id}`

use lambda_http::http::StatusCode;
use shared::api::{Problem, Request, Response, SecretsApp, secret_response};
use shared::identity::Permission;

/// Gives one secret of the caller's: with `***` for what is secret in it, unless the caller may have
/// that; then it is written down who got it.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let (caller, id) = app.caller_and_id(&request).await?;
    if caller.may(Permission::ReadRawSecrets) {
        let (secret, value) = app.secrets.get_recorded(&caller, id).await?;
        return secret_response(StatusCode::OK, &secret, value.raw());
    }
    let (secret, value) = app.secrets.get(&caller, id).await?;
    secret_response(StatusCode::OK, &secret, value.masked())
}
