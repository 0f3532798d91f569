//! Casting loosely typed JSON to the types of the document, with the texts of the upstream service:
//! scalars become strings, anything else that does not fit is a fault.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use memchr::memchr_iter;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::document::{Field, Json};
use super::parse::Fault;
use super::unknown::{Known, Unknown};
use super::{Fields, read_fields};
use crate::json::Tree;

/// Texts in messages are cut after this many characters: a fault never repeats a whole body.
const MAX_ECHO: usize = 100;

/// Reads the members of one JSON object and collects what is wrong with them.
pub(super) struct Reader<'a, 'f> {
    pub(super) fields: Fields<'a>,
    pub(super) pointer: String,
    pub(super) faults: &'f mut Vec<Fault>,
    pub(super) unknown: &'f mut Unknown,
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

    /// Notes the members that are dropped.
    pub(super) fn note_unknown(&mut self, known: &Known) {
        let names = self.fields.keys().map(String::as_str);
        self.unknown.note(&self.pointer, names.filter(|name| !known.has(name)), known);
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

    /// An id, or what stands for one.
    pub(super) fn id<T: FromStr>(&mut self, name: &str) -> Field<T> {
        let Some(raw) = self.raw(name) else {
            return Field::Absent;
        };
        if kind(raw) == "null" {
            return Field::Null;
        }
        let id = id_text(raw).and_then(|text| text.parse().ok());
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

    /// The elements of the array under `name`. A single object counts as an array of one where `wrap`
    /// says so.
    pub(super) fn elements(&mut self, name: &str, wrap: bool) -> Field<Elements<'a>> {
        let Some(raw) = self.raw(name) else { return Field::Absent };
        match kind(raw) {
            "null" => Field::Null,
            "Array" => {
                let elements = read_elements(raw).unwrap_or_default();
                Field::Value(Elements { list: name.to_owned(), raw: elements, is_bare: false })
            }
            "Object" if wrap => {
                Field::Value(Elements { list: name.to_owned(), raw: vec![raw], is_bare: true })
            }
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
        Some(Reader { fields, pointer: self.pointer(place), faults: self.faults, unknown: self.unknown })
    }
}

/// All at once: a list that grows is there twice meanwhile.
fn read_elements(array: &RawValue) -> serde_json::Result<Vec<&RawValue>> {
    struct Room(usize);

    impl<'de> Visitor<'de> for Room {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::with_capacity(self.0);
            while let Some(element) = array.next_element()? {
                elements.push(element);
            }
            Ok(elements)
        }
    }

    let most = memchr_iter(b',', array.get().as_bytes()).count() + 1;
    serde_json::Deserializer::from_str(array.get()).deserialize_seq(Room(most))
}

/// The elements of an array, of which a body can have half a million: each is given its place when it is
/// looked at.
#[derive(Default)]
pub(super) struct Elements<'a> {
    list: String,
    raw: Vec<&'a RawValue>,
    /// Whether the only one is not in an array.
    is_bare: bool,
}

impl<'a> Elements<'a> {
    pub(super) const fn len(&self) -> usize {
        self.raw.len()
    }

    /// The bytes of each.
    pub(super) fn sizes(&self) -> impl Iterator<Item = usize> {
        self.raw.iter().map(|element| element.get().len())
    }

    pub(super) fn with_places(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        let Self { list, raw, is_bare } = self;
        raw.into_iter().enumerate().map(move |(index, element)| {
            (if is_bare { list.clone() } else { format!("{list}/{index}") }, element)
        })
    }
}

/// The text that upstream's model reads as an id: of an object that of its `_id`, because its clients send what was
/// listed where its id would do.
pub(crate) fn id_text(raw: &RawValue) -> Option<String> {
    match kind(raw) {
        "Object" => Tree::read_text(read_fields(raw)?.get("_id")?),
        _ => Tree::read_text(raw),
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
    let shown = match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        Ok(text) => shorten(&text),
        Err(_) => inspect(raw),
    };
    let because = cause.map(|cause| format!(" because of \"{cause}\"")).unwrap_or_default();
    format!("Cast to {to} failed for value \"{shown}\" (type {}) at path \"{path}\"{because}", kind(raw))
}

/// Shows a value as the upstream service's runtime does (Node's `util.inspect`), on one line, and no more of it
/// than is shown.
fn inspect(raw: &RawValue) -> String {
    let mut shown = String::new();
    // It is valid JSON, and reading ends early only when there is enough of it.
    let _ = Inspection { shown: &mut shown, depth: 0, before: "" }
        .deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
    shorten(&shown)
}

/// A part of a value that is being shown.
struct Inspection<'s> {
    shown: &'s mut String,
    depth: usize,
    /// What stands before it.
    before: &'static str,
}

impl Inspection<'_> {
    /// Of more bytes there are more characters than are shown.
    const ENOUGH: usize = 4 * MAX_ECHO;

    fn show<E: Error>(self, text: &str) -> Result<(), E> {
        self.shown.push_str(text);
        if self.shown.len() > Self::ENOUGH { Err(E::custom("there is enough")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Inspection<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.shown.push_str(self.before);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inspection<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.show("null")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.show(if value { "true" } else { "false" })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.show(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.show(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.show(&Value::from(value).to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.show(&format!("'{text}'"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { shown, depth, .. } = self;
        if depth > 2 {
            shown.push_str("[Array]");
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut before = "[ ";
        while elements.next_element_seed(Inspection { shown, depth: depth + 1, before })?.is_some() {
            before = ", ";
        }
        shown.push_str(if before == "[ " { "[]" } else { " ]" });
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { shown, depth, .. } = self;
        if depth > 2 {
            shown.push_str("[Object]");
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut before = "{ ";
        while let Some(name) = members.next_key::<String>()? {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
                && !name.starts_with(|c: char| c.is_ascii_digit());
            let name = if plain && !name.is_empty() { format!("{name}: ") } else { format!("'{name}': ") };
            Inspection { shown, depth, before: "" }.show::<A::Error>(before)?;
            Inspection { shown, depth, before: "" }.show::<A::Error>(&name)?;
            members.next_value_seed(Inspection { shown, depth: depth + 1, before: "" })?;
            before = ", ";
        }
        shown.push_str(if before == "{ " { "{}" } else { " }" });
        Ok(())
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
