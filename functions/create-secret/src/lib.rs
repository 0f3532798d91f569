//! `POST /secrets`

use lambda_http::http::StatusCode;
use shared::api::{Problem, Request, Response, SecretsApp, read_body, secret_response};

/// Stores a new secret of the caller's.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let caller = app.author(&request).await?;
    let (secret, value) = app.secrets.create(&caller, read_body(&request)?.object()?).await?;
    secret_response(StatusCode::CREATED, &secret, value.masked())
}
