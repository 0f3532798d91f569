//! Casting loosely typed JSON to the types of the document, with the texts of the upstream service:
//! scalars become strings, anything else that does not fit is a fault.

use std::str::FromStr;

use serde_json::Value;
use serde_json::value::RawValue;

use super::document::{Field, Json};
use super::parse::Fault;
use super::{Fields, read_fields};

/// Texts in messages are cut after this many characters: a fault never repeats a whole body.
const MAX_ECHO: usize = 100;

/// Reads the members of one JSON object and collects what is wrong with them.
pub(super) struct Reader<'a, 'f> {
    pub(super) fields: Fields<'a>,
    pub(super) pointer: String,
    pub(super) faults: &'f mut Vec<Fault>,
}

impl<'a> Reader<'a, '_> {
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.get(name).copied()
    }

    pub(super) fn pointer(&self, name: &str) -> String {
        format!("{}/{name}", self.pointer)
    }

    pub(super) fn fault(&mut self, name: &str, reason: &'static str, message: impl Into<String>) {
        let pointer = self.pointer(name);
        self.faults.push(Fault { message: message.into(), reason, pointer, help: None });
    }

    /// A string of at most `max` characters, or a scalar as its text.
    pub(super) fn string(&mut self, name: &str, max: usize) -> Field<String> {
        self.string_at(name, name, max)
    }

    /// Like [`Self::string`], with the name the message uses where it is not the member's.
    pub(super) fn string_at(&mut self, name: &str, path: &str, max: usize) -> Field<String> {
        let Some(raw) = self.raw(name) else {
            return Field::Absent;
        };
        let text = match kind(raw) {
            "null" => return Field::Null,
            "string" => match serde_json::from_str(raw.get()) {
                Ok(text) => text,
                Err(error) => {
                    self.fault(name, "cast", format!("Path `{path}` is not a text: {error}"));
                    return Field::Absent;
                }
            },
            "boolean" => raw.get().to_owned(),
            "number" => number_as_text(raw.get()),
            _ => {
                self.fault(name, "cast", cast_error("string", raw, path, None));
                return Field::Absent;
            }
        };
        if text.chars().count() > max {
            let shown = shorten(&text);
            let message =
                format!("Path `{path}` (`{shown}`) is longer than the maximum allowed length ({max}).");
            self.fault(name, "too_long", message);
        }
        Field::Value(text)
    }

    pub(super) fn id<T: FromStr>(&mut self, name: &str) -> Field<T> {
        let Some(raw) = self.raw(name) else {
            return Field::Absent;
        };
        if kind(raw) == "null" {
            return Field::Null;
        }
        let id = serde_json::from_str::<String>(raw.get()).ok().and_then(|text| text.parse().ok());
        if id.is_none() {
            self.fault(name, "cast", cast_error("ObjectId", raw, name, Some("BSONTypeError")));
        }
        id.map_or(Field::Absent, Field::Value)
    }

    pub(super) fn json(&self, name: &str) -> Field<Json> {
        match self.raw(name) {
            None => Field::Absent,
            Some(raw) if kind(raw) == "null" => Field::Null,
            Some(raw) => Field::Value(Json(raw.to_owned())),
        }
    }

    /// The object under `name`, to be read in its turn.
    pub(super) fn object(&mut self, name: &str) -> Field<Fields<'a>> {
        let Some(raw) = self.raw(name) else {
            return Field::Absent;
        };
        if kind(raw) == "null" {
            return Field::Null;
        }
        let fields = read_fields(raw);
        if fields.is_none() {
            self.fault(name, "cast", cast_error("Embedded", raw, name, Some("ObjectExpectedError")));
        }
        fields.map_or(Field::Absent, Field::Value)
    }

    /// The elements of the array under `name`, each with its place. A single object counts as an
    /// array of one where `wrap` says so.
    pub(super) fn elements(&mut self, name: &str, wrap: bool) -> Field<Vec<(String, &'a RawValue)>> {
        let Some(raw) = self.raw(name) else { return Field::Absent };
        match kind(raw) {
            "null" => Field::Null,
            "Array" => {
                let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
                let place = |(index, element)| (format!("{name}/{index}"), element);
                Field::Value(elements.into_iter().enumerate().map(place).collect())
            }
            "Object" if wrap => Field::Value(vec![(name.to_owned(), raw)]),
            _ => {
                self.fault(name, "cast", cast_error("embedded", raw, name, Some("ObjectParameterError")));
                Field::Absent
            }
        }
    }

    /// A reader of one element; `null` counts as an empty object, so that every rule is applied to it.
    pub(super) fn element<'b>(
        &mut self,
        list: &str,
        place: &str,
        raw: &'b RawValue,
    ) -> Option<Reader<'b, '_>> {
        let fields = match kind(raw) {
            "null" => Fields::new(),
            "Object" => read_fields(raw)?,
            _ => {
                self.fault(place, "cast", cast_error("embedded", raw, list, Some("ObjectParameterError")));
                return None;
            }
        };
        Some(Reader { fields, pointer: self.pointer(place), faults: self.faults })
    }
}

fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "Object",
        Some(b'[') => "Array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn cast_error(to: &str, raw: &RawValue, path: &str, cause: Option<&str>) -> String {
    let value = serde_json::from_str(raw.get()).unwrap_or_default();
    let shown = match &value {
        Value::String(text) => shorten(text),
        other => shorten(&inspect(other, 0)),
    };
    let because = cause.map(|cause| format!(" because of \"{cause}\"")).unwrap_or_default();
    format!("Cast to {to} failed for value \"{shown}\" (type {}) at path \"{path}\"{because}", kind(raw))
}

/// Shows a value as the upstream service's runtime does (Node's `util.inspect`), on one line.
fn inspect(value: &Value, depth: usize) -> String {
    let list = |parts: Vec<String>, open, close| {
        if parts.is_empty() {
            format!("{open}{close}")
        } else {
            format!("{open} {} {close}", parts.join(", "))
        }
    };
    match value {
        Value::String(text) => format!("'{text}'"),
        Value::Array(_) if depth > 2 => "[Array]".into(),
        Value::Object(_) if depth > 2 => "[Object]".into(),
        Value::Array(items) => list(items.iter().map(|item| inspect(item, depth + 1)).collect(), '[', ']'),
        Value::Object(members) => {
            let show = |(name, member): (&String, &Value)| {
                let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
                    && !name.starts_with(|c: char| c.is_ascii_digit());
                let name = if plain && !name.is_empty() { name.clone() } else { format!("'{name}'") };
                format!("{name}: {}", inspect(member, depth + 1))
            };
            list(members.iter().map(show).collect(), '{', '}')
        }
        scalar => scalar.to_string(),
    }
}

/// The text upstream's runtime gives a number: without a fraction or an exponent it does not need.
fn number_as_text(raw: &str) -> String {
    match raw.parse::<f64>() {
        Ok(number) if raw.contains(['.', 'e', 'E']) && number.abs() < 1e21 => number.to_string(),
        _ => raw.to_owned(),
    }
}

pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
