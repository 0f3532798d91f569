//! `PATCH /secrets/{id}`

use lambda_http::http::StatusCode;
use shared::api::{
    Conditions, Deadline, False, Intent, Present, Problem, Request, Response, SecretsApp, read_secret,
    secret_response, secret_tag, validation_response,
};
use shared::secrets::{Secret, Shown};

/// Replaces the members of a secret of the caller's that the body names. What was shown as `***` and
/// comes back like that stays as it is.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let (caller, id) = app.caller_and_id(&request).await?;
    let intent = Intent::of(&request, &caller)?;
    let conditions = Conditions::of(&request)?;
    let fields = read_secret(&request)?;
    let shown = app.shown_to(&caller);
    let is_meant = |secret: &Secret, is_in_effect: bool| {
        match conditions.on(Present::Tagged(&secret_tag(secret.sequence, shown))) {
            None => true,
            // It is so already, in whichever state.
            Some(which) => is_in_effect && which == False::Match,
        }
    };
    if intent.is_validation() {
        let checked = app.secrets.check_update(&caller, id, fields, is_meant).await;
        checked.map_err(|error| app.problem(&caller, error))?;
        return validation_response(&[]);
    }
    let until = Deadline::of(&request).moment();
    let updated = Box::pin(app.secrets.update(&caller, id, fields, is_meant, until)).await;
    let (secret, value) = updated.map_err(|error| app.problem(&caller, error))?;
    secret_response(StatusCode::OK, &secret, &value, Shown::Masked)
}
