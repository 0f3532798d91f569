//! `POST /secrets`

use lambda_http::http::StatusCode;
use shared::api::{
    Conditions, Intent, Present, Problem, Request, Response, SecretsApp, read_secret, secret_response,
    validation_response,
};
use shared::secrets::{Secret, SecretValue, Shown};

/// Stores a new secret of the caller's.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let caller = app.author(&request).await?;
    let intent = Intent::of(&request, &caller)?;
    let respond = |(secret, value): &(Secret, SecretValue)| {
        secret_response(StatusCode::CREATED, secret, value, Shown::Masked)
    };
    let fields = read_secret(&request)?;
    // What is at this path is the list of secrets.
    Conditions::of(&request)?.check(Present::Untagged)?;
    let effect = intent.effect(app.secrets.store(), &respond).await?;
    let created = Secret::create(&caller, fields)?;
    if effect.is_validation() {
        app.secrets.check_create(&created.0).await?;
        return validation_response(&[]);
    }
    let (secret, value) = &created;
    app.secrets.create(secret, value, effect.receipt(&created)?.as_ref()).await?;
    effect.answer(&created)
}
