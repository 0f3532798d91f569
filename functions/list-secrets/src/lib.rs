//! `GET /secrets`

use shared::api::{App, Problem, Request, Response, authenticate, secret_query, secrets_response};

/// Gives one page of the caller's and its tenant's secrets, without their values.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = authenticate(&app.verifier, &request).await?;
    let query = secret_query(&request, &caller)?;
    let page = app.store.list_secrets(&query).await?;
    secrets_response(&request, &caller, &query, &page)
}
