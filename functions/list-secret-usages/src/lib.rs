//! `GET /secrets/{id}/usages`

use shared::api::{App, Problem, Request, Response, authenticate, secret_id, usage_query, usages_response};
use shared::secrets::SecretOwner;

/// Gives one page of the flows that use a secret of the caller's, as far as the caller sees them.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = authenticate(&app.verifier, &request).await?;
    let id = secret_id(&request)?;
    let query = usage_query(&request, &caller, id)?;
    let secret = app.store.secret(id).await?;
    let owners: Vec<SecretOwner> = (&caller).into();
    secret.filter(|secret| secret.is_owned_by(&owners)).ok_or(Problem::SecretNotFound)?;
    let page = app.store.list(&query).await?;
    usages_response(&request, &caller, &query, &page)
}
