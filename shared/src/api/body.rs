use std::fmt;

use lambda_http::http::{Method, header};
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::media::unquoted;
use super::{Problem, Request};
use crate::flow::{Fault, Fields, Lack, Operation, Patch, bounded, cut_pointer};
use crate::json::Name;

/// A body is at most this large.
const MAX_BYTES: usize = 1024 * 1024;

/// How deep it may be nested: events carry a flow some levels deeper, and parsers commonly end at 128.
const MAX_DEPTH: usize = 100;
/// Faults reported of the operations of one patch.
const MAX_FAULTS: usize = 100;

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
/// 415 when it says it is not JSON, that it is in a content coding, or of a `PATCH` that it is in one of the standard
/// languages, 413 when it is too large, 400 when it is not JSON, has a name twice in one object, or is neither an
/// object nor an array.
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
    Standard(Patch<'a>),
}

/// The languages of patches, as `Accept-Patch` (RFC 5789, 3.1) has them.
pub(super) const PATCHES: &str =
    "application/json, application/merge-patch+json, application/json-patch+json";

/// Reads a patch of a flow in the language that it says it is in.
///
/// # Errors
/// 415 when it is in another one, and as [`read_body`].
pub fn read_patch(request: &Request) -> Result<FlowPatch<'_>, Problem> {
    match media_type(request).as_deref() {
        None | Some("application/json") => read_json(request, usize::MAX)?.object().map(FlowPatch::Members),
        Some(MERGE_PATCH) => {
            // A body that is missing is an empty object.
            Ok(FlowPatch::Standard(Patch::Merge(read_json(request, MAX_PATCH_VALUES)?.object()?)))
        }
        Some(JSON_PATCH) => {
            let Body::Array(operations) = read_json(request, MAX_PATCH_VALUES)? else {
                return Err(Problem::InvalidBody("Expecting an array of operations (RFC 6902)".into()));
            };
            let operations = Operation::read_all(&operations).map_err(invalid_operations)?;
            Ok(FlowPatch::Standard(Patch::Operations(operations)))
        }
        Some(_) => Err(Problem::UnsupportedPatch),
    }
}

fn invalid_operations(lacks: Vec<Lack>) -> Problem {
    let faults = lacks.into_iter().map(|Lack { message, pointer }| Fault {
        message,
        reason: "body.invalid",
        pointer,
        help: None,
    });
    Problem::InvalidOperations(bounded(faults, MAX_FAULTS))
}

/// Reads JSON of at most so many values and names.
fn read_json(request: &Request, most: usize) -> Result<Body<'_>, Problem> {
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::UnsupportedCoding);
    }
    let bytes = request.body().as_ref();
    if bytes.len() > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::InvalidBody(format!("The body is not UTF-8: {error}")))?;
    // Some clients begin with a byte order mark (RFC 8259, 8.1).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Ok(Body::Object(Fields::new()));
    }
    let invalid = |error: serde_json::Error| Problem::InvalidBody(error.to_string());
    let mut parser = serde_json::Deserializer::from_str(text);
    let (mut repeated, mut left) = (None, most);
    let valid = Valid { depth: MAX_DEPTH, left: &mut left, repeated: &mut repeated };
    if let Err(error) = valid.deserialize(&mut parser) {
        return Err(repeated.map_or_else(
            || invalid(error),
            |pointer| Problem::RepeatedName(cut_pointer(&pointer).to_owned()),
        ));
    }
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => serde_json::from_str(text).map(Body::Object).map_err(invalid),
        Some(b'[') => serde_json::from_str(text).map(Body::Array).map_err(invalid),
        _ => Err(Problem::InvalidBody("Expecting an object or an array".into())),
    }
}

/// The media type of the body in lower case; none when it does not say. Two are no type, also where a gateway has
/// joined them.
fn media_type(request: &Request) -> Option<String> {
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    let value = types.next()?.to_str().unwrap_or_default();
    if types.next().is_some() || unquoted(value, ',').nth(1).is_some() {
        return Some(String::new());
    }
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// JSON that every consumer of a flow can read. Parts of a body are passed on as they were sent, so
/// they are looked at here once: nothing is nested too deep, every text is Unicode (no lone
/// surrogates), every number fits a double, every name is there once (RFC 8259, 4: what one of two says
/// is read differently by different programs).
struct Valid<'v> {
    /// How much deeper it may still go.
    depth: usize,
    /// How many values and names may still come.
    left: &'v mut usize,
    /// Where a name is there twice; from where it was found upwards.
    repeated: &'v mut Option<String>,
}

impl Valid<'_> {
    fn inner<E: de::Error>(&mut self) -> Result<Valid<'_>, E> {
        let left = self.left.checked_sub(1);
        *self.left = left.ok_or_else(|| E::custom(format_args!("more than {MAX_PATCH_VALUES} values")))?;
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| E::custom(format_args!("nested more than {MAX_DEPTH} deep")))?;
        Ok(Valid { depth, left: self.left, repeated: self.repeated })
    }

    /// The place of what is wrong in there begins with this.
    fn within(&mut self, token: &str) {
        if let Some(pointer) = self.repeated {
            pointer.insert_str(0, &format!("/{}", token.replace('~', "~0").replace('/', "~1")));
        }
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            match elements.next_element_seed(self.inner()?) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    self.within(&index.to_string());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let mut names = Vec::new();
        while let Some(name) = members.next_key_seed(Name)? {
            if let Err(error) = members.next_value_seed(self.inner()?) {
                self.within(&name);
                return Err(error);
            }
            names.push(name);
        }
        names.sort_unstable();
        let repeated = names.iter().zip(names.iter().skip(1)).find(|(name, next)| name == next);
        if let Some((name, _)) = repeated {
            *self.repeated = Some(String::new());
            self.within(name);
            return Err(de::Error::custom("a name is there twice"));
        }
        Ok(())
    }
}
