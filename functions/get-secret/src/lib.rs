//! `GET /secrets/{id}`

use lambda_http::http::StatusCode;
use shared::api::{Conditions, Present, Problem, Request, Response, SecretsApp, secret_response, secret_tag};
use shared::secrets::Shown;

/// Gives one secret of the caller's: with `***` for what is secret in it, unless the caller may have
/// that; then it is written down who got it.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let (caller, id) = app.caller_and_id(&request).await?;
    let conditions = Conditions::of(&request)?;
    let shown = app.shown_to(&caller);
    let (secret, value) = app.secrets.get(&caller, id).await?;
    let tag = secret_tag(secret.sequence, shown);
    if let Some(without_value) = conditions.unread(Present::Tagged(&tag))? {
        return Ok(without_value);
    }
    if shown != Shown::Masked {
        app.secrets.record_read(&caller, id).await?;
    }
    secret_response(StatusCode::OK, &secret, &value, shown)
}
