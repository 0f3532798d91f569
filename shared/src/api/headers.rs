use lambda_http::http::header;

use super::Request;

/// The one `Authorization` header; a second one makes it none that a bearer token could be read from.
pub(super) fn authorization(request: &Request) -> Option<&str> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { "" } else { first.to_str().unwrap_or_default() })
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
