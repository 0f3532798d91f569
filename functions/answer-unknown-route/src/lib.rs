//! `$default`: what no other route answers.

use std::collections::BTreeSet;

use lambda_http::http::{HeaderValue, StatusCode, header};
use shared::api::{Problem, Request, Response, encoded_path, path};

/// Every path with its methods, as template.yaml has them; a test holds the two to each other.
pub const ROUTES: [(&str, &[&str]); 20] = [
    ("/flows", &["GET", "HEAD", "POST"]),
    ("/flows/bulk", &["PATCH"]),
    ("/flows/multiple/start", &["POST"]),
    ("/flows/multiple/stop", &["POST"]),
    ("/flows/validate", &["POST"]),
    ("/flows/{id}", &["DELETE", "GET", "HEAD", "PATCH", "PUT"]),
    ("/flows/{id}/diff", &["GET", "HEAD"]),
    ("/flows/{id}/restore", &["POST"]),
    ("/flows/{id}/start", &["POST"]),
    ("/flows/{id}/stop", &["POST"]),
    ("/flows/{id}/versions", &["GET", "HEAD"]),
    ("/flows/{id}/versions/{version}", &["GET", "HEAD"]),
    ("/flows/{id}/versions/{version}/restore", &["POST"]),
    ("/healthcheck", &["GET", "HEAD"]),
    ("/secrets", &["GET", "HEAD", "POST"]),
    ("/secrets/{id}", &["DELETE", "GET", "HEAD", "PATCH"]),
    ("/secrets/{id}/usages", &["GET", "HEAD"]),
    ("/api/v1/secrets", &["GET", "HEAD", "POST"]),
    ("/api/v1/secrets/{id}", &["DELETE", "GET", "HEAD", "PATCH"]),
    ("/api/v1/secrets/{id}/usages", &["GET", "HEAD"]),
];

/// Redirects a path with a trailing slash, and says which methods a known path has.
///
/// # Errors
/// 405 for a known path, 404 for any other.
#[allow(clippy::unused_async, reason = "handlers are asynchronous")]
pub async fn handle((): &(), request: Request) -> Result<Response, Problem> {
    let path = path(&request);
    let allowed = methods(path);
    if !allowed.is_empty() {
        return Err(Problem::MethodNotAllowed(allowed.into_iter().collect()));
    }
    let target =
        path.strip_suffix('/').filter(|target| !methods(target).is_empty()).ok_or(Problem::RouteNotFound)?;
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::from_str(&format!("{}{query}", encoded_path(target)))
        .map_err(|_| Problem::RouteNotFound)?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// A path may match a fixed pattern for one method and one with a parameter for others.
fn methods(path: &str) -> BTreeSet<&'static str> {
    ROUTES
        .iter()
        .filter(|(pattern, _)| matches(pattern, path))
        .flat_map(|(_, methods)| *methods)
        .copied()
        .collect()
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = pattern.split('/').all(|expected| {
        segments.next().is_some_and(|segment| {
            if expected.starts_with('{') { !segment.is_empty() } else { segment == expected }
        })
    });
    fits && segments.next().is_none()
}
