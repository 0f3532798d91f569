use lambda_http::http::{HeaderValue, header};

use super::{Problem, Request};

/// The one `Authorization` header; a second one makes it none that a bearer token could be read from.
pub(super) fn authorization(request: &Request) -> Option<&str> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { "" } else { first.to_str().unwrap_or_default() })
}

/// Whether a `PUT` is only to create, which `If-None-Match: *` says.
///
/// # Errors
/// 400 when the header says anything else.
pub fn creates(request: &Request) -> Result<bool, Problem> {
    let mut values = request.headers().get_all(header::IF_NONE_MATCH).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None, None) => Ok(false),
        (Some(b"*"), None) => Ok(true),
        _ => Err(Problem::InvalidParameters(vec!["If-None-Match".into()])),
    }
}

/// Whether an `If-None-Match` header (RFC 9110, 13.1.2) names this entity tag.
pub(super) fn none_match(request: &Request, etag: &str) -> bool {
    let values =
        request.headers().get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}
