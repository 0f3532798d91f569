//! `POST /secrets`

use lambda_http::http::StatusCode;
use shared::api::{
    Intent, Problem, Request, Response, SecretsApp, read_body, secret_response, validation_response,
};
use shared::secrets::{Secret, SecretValue};

/// Stores a new secret of the caller's.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &SecretsApp, request: Request) -> Result<Response, Problem> {
    let caller = app.author(&request).await?;
    let intent = Intent::of(&request, &caller)?;
    let respond = |(secret, value): &(Secret, SecretValue)| {
        secret_response(StatusCode::CREATED, secret, value.masked())
    };
    let effect = intent.effect(app.secrets.store(), &respond).await?;
    let created = Secret::create(&caller, read_body(&request)?.object()?)?;
    if effect.is_validation() {
        app.secrets.check_create(&created.0).await?;
        return validation_response(&[]);
    }
    let (secret, value) = &created;
    app.secrets.create(secret, value, effect.receipt(&created)?.as_ref()).await?;
    effect.answer(&created)
}
