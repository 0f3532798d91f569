use std::cell::Cell;
use std::fmt;

use lambda_http::http::{Method, header};
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Problem, Request};
use crate::flow::{Fields, Patch};

/// A body is at most this large.
const MAX_BYTES: usize = 1024 * 1024;

/// How deep it may be nested: events carry a flow some levels deeper, and parsers commonly end at 128.
const MAX_DEPTH: usize = 100;

/// Values and names of a patch in a standard language, which is read as a tree: that takes up to fifty times as
/// much as the text.
const MAX_PATCH_VALUES: usize = 100_000;

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
/// 415 when it says it is not JSON, or of a `PATCH` that it is in one of the standard languages, 413 when it
/// is too large, 400 when it is not JSON, or neither an object nor an array.
pub fn read_body(request: &Request) -> Result<Body<'_>, Problem> {
    let is_json = media_type(request).is_none_or(|media| {
        let subtype = media.strip_prefix("application/");
        let is_json = subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"));
        // Read as members a patch would do something else than it says.
        let is_patch = request.method() == Method::PATCH && [MERGE_PATCH, JSON_PATCH].contains(&&*media);
        is_json && !is_patch
    });
    if is_json { read_json(request, usize::MAX) } else { Err(Problem::UnsupportedMediaType) }
}

/// JSON Merge Patch (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";
/// JSON Patch (RFC 6902).
pub(super) const JSON_PATCH: &str = "application/json-patch+json";

/// What a `PATCH` of one flow says.
pub enum FlowPatch<'a> {
    /// `application/json`, or no type: members that replace the flow's own.
    Members(Fields<'a>),
    /// One of the standard languages.
    Standard(Patch),
}

/// The languages of patches, as `Accept-Patch` (RFC 5789, 3.1) has them.
pub(super) const PATCHES: &str =
    "application/json, application/merge-patch+json, application/json-patch+json";

/// Reads a patch of a flow in the language that it says it is in.
///
/// # Errors
/// 415 when it is in another one, and as [`read_body`].
pub fn read_patch(request: &Request) -> Result<FlowPatch<'_>, Problem> {
    let text = || std::str::from_utf8(request.body().as_ref()).unwrap_or_default();
    match media_type(request).as_deref() {
        None | Some("application/json") => read_json(request, usize::MAX)?.object().map(FlowPatch::Members),
        Some(MERGE_PATCH) => {
            // A body that is missing is an empty object.
            let fields = read_json(request, MAX_PATCH_VALUES)?.object()?;
            Ok(FlowPatch::Standard(Patch::Merge(serde_json::to_value(fields)?)))
        }
        Some(JSON_PATCH) => {
            read_json(request, MAX_PATCH_VALUES)?;
            // The error itself may repeat a part of the body.
            let operations = serde_json::from_str(text()).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                let place = format!("line {line} column {column}");
                Problem::InvalidBody(format!("Expecting an array of operations (RFC 6902) at {place}"))
            })?;
            Ok(FlowPatch::Standard(Patch::Operations(operations)))
        }
        Some(_) => Err(Problem::UnsupportedPatch),
    }
}

/// Reads JSON of at most so many values and names.
fn read_json(request: &Request, most: usize) -> Result<Body<'_>, Problem> {
    let bytes = request.body().as_ref();
    if bytes.len() > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::InvalidBody(format!("The body is not UTF-8: {error}")))?;
    if text.trim_ascii().is_empty() {
        return Ok(Body::Object(Fields::new()));
    }
    let invalid = |error: serde_json::Error| Problem::InvalidBody(error.to_string());
    let mut parser = serde_json::Deserializer::from_str(text);
    let left = Cell::new(most);
    Valid { depth: MAX_DEPTH, left: &left }.deserialize(&mut parser).map_err(invalid)?;
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => serde_json::from_str(text).map(Body::Object).map_err(invalid),
        Some(b'[') => serde_json::from_str(text).map(Body::Array).map_err(invalid),
        _ => Err(Problem::InvalidBody("Expecting an object or an array".into())),
    }
}

/// The media type of the body in lower case; none when it does not say. Two are no type.
fn media_type(request: &Request) -> Option<String> {
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    let value = types.next()?.to_str().unwrap_or_default();
    if types.next().is_some() {
        return Some(String::new());
    }
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// JSON that every consumer of a flow can read. Parts of a body are passed on as they were sent, so
/// they are looked at here once: nothing is nested too deep, every text is Unicode (no lone
/// surrogates), every number fits a double.
struct Valid<'l> {
    /// How much deeper it may still go.
    depth: usize,
    /// How many values and names may still come.
    left: &'l Cell<usize>,
}

impl Valid<'_> {
    fn inner<E: de::Error>(&self) -> Result<Self, E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| E::custom(format_args!("more than {MAX_PATCH_VALUES} values")))?);
        let depth = self.depth.checked_sub(1);
        depth
            .map(|depth| Self { depth, left: self.left })
            .ok_or_else(|| E::custom(format_args!("nested more than {MAX_DEPTH} deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Valid<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Valid<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_entry_seed(self.inner()?, self.inner()?)?.is_some() {}
        Ok(())
    }
}
