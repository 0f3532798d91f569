use lambda_http::http::header;
use serde_json::value::RawValue;

use super::{Problem, Request};
use crate::flow::{Fields, read_fields};

/// A body is at most this large.
const MAX_BYTES: usize = 1024 * 1024;
/// JSON nested deeper is refused, because not every consumer of a flow could read it.
const MAX_DEPTH: usize = 100;

/// The body of a request: a JSON object, or an array.
#[derive(Clone)]
pub enum Body<'a> {
    /// The members of an object.
    Object(Fields<'a>),
    /// The elements of an array.
    Array(Vec<&'a RawValue>),
}

impl<'a> Body<'a> {
    /// The members of an object.
    ///
    /// # Errors
    /// 400 for an array.
    pub fn object(self) -> Result<Fields<'a>, Problem> {
        match self {
            Self::Object(fields) => Ok(fields),
            Self::Array(_) => Err(Problem::InvalidBody("Expecting an object".into())),
        }
    }
}

/// Reads the body; one that is missing is an empty object.
///
/// # Errors
/// 415 when it says it is not JSON, 413 when it is too large, 400 when it is not JSON, or neither an
/// object nor an array.
pub fn read_body(request: &Request) -> Result<Body<'_>, Problem> {
    if !is_json(request) {
        return Err(Problem::UnsupportedMediaType);
    }
    let bytes = request.body().as_ref();
    if bytes.len() > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::InvalidBody(format!("The body is not UTF-8: {error}")))?;
    if text.trim_ascii().is_empty() {
        return Ok(Body::Object(Fields::new()));
    }
    if depth(text) > MAX_DEPTH {
        return Err(Problem::InvalidBody(format!(
            "The body is nested more than {MAX_DEPTH} deep"
        )));
    }
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| Problem::InvalidBody(error.to_string()))?;
    match raw.get().as_bytes().first() {
        Some(b'{') => read_fields(raw).map(Body::Object),
        Some(b'[') => serde_json::from_str(raw.get()).ok().map(Body::Array),
        _ => None,
    }
    .ok_or_else(|| Problem::InvalidBody("Expecting an object or an array".into()))
}

/// Whether the body is `application/json` or some `application/*+json`, or does not say.
fn is_json(request: &Request) -> bool {
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    let Some(value) = types.next() else {
        return true;
    };
    let value = value.to_str().unwrap_or_default();
    let media = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let subtype = media.strip_prefix("application/");
    types.next().is_none()
        && subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// How deep arrays and objects are nested in a JSON text.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        assert_eq!(depth(r#"{"a":[{"b":"[[[["}],"c\"[":1}"#), 3);
        assert_eq!(depth(&"[".repeat(1000)), 1000);
    }
}
