//! `DELETE /secrets/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    Conditions, Deadline, Intent, Present, Problem, Request, Response, SecretsApp, secret_tag,
    validation_response,
};
use shared::secrets::Secret;

/// Deletes a secret of the caller's that no running flow uses.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let (caller, id) = app.caller_and_id(&request).await?;
    let is_validation = Intent::of(&request, &caller)?.is_validation();
    let conditions = Conditions::of(&request)?;
    let shown = app.shown_to(&caller);
    let is_meant =
        |secret: &Secret| conditions.on(Present::Tagged(&secret_tag(secret.sequence, shown))).is_none();
    let done = if is_validation {
        app.secrets.check_delete(&caller, id, is_meant).await
    } else {
        app.secrets.delete(&caller, id, is_meant, Deadline::of(&request).moment()).await
    };
    done.map_err(|error| app.problem(&caller, error))?;
    if is_validation {
        return validation_response(&[]);
    }
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
