//! `DELETE /secrets/{id}`

use lambda_http::http::StatusCode;
use shared::api::{Problem, Request, Response, SecretsApp, secret_in_use};
use shared::secrets::SecretError;

/// Deletes a secret of the caller's that no running flow uses.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let (caller, id) = app.caller_and_id(&request).await?;
    app.secrets.delete(&caller, id).await.map_err(|error| match error {
        SecretError::InUse(flows) => secret_in_use(&caller, &flows),
        other => other.into(),
    })?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
