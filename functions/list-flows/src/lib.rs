//! `GET /flows`

use shared::api::{App, Problem, Request, Response, list_query, page_response};
use shared::identity::Permission;

/// Gives one page of the caller's flows.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Read).await?;
    let query = list_query(&request, &caller)?;
    let page = app.store.list(&query).await?;
    page_response(&request, &caller, &query, &page)
}
