use lambda_http::http::header;

use super::Request;

/// The one `Authorization` header; a second one makes it none that a bearer token could be read from.
pub(super) fn authorization(request: &Request) -> Option<&str> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { "" } else { first.to_str().unwrap_or_default() })
}
