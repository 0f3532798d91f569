//! Reading the members of a body. A credential may be anywhere in it, so no fault repeats what was sent.

use serde_json::value::RawValue;

use crate::flow::{Fault, Field, Fields, read_fields};
use crate::json::Tree;

/// Characters of a text.
const MAX_TEXT: usize = 256;

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

    pub(super) fn fault(&mut self, name: &str, reason: &'static str, message: impl Into<String>) {
        let pointer = format!("{}/{name}", self.pointer);
        self.faults.push(Fault { message: message.into(), reason, pointer, help: None });
    }

    /// A text; numbers and booleans are taken as they are written.
    pub(super) fn text(&mut self, name: &str) -> Field<String> {
        let Some(raw) = self.raw(name) else { return Field::Absent };
        if raw.get() == "null" {
            return Field::Null;
        }
        let Some(text) = Tree::read_text(raw) else {
            self.fault(name, "cast", format!("Path `{name}` must be a string."));
            return Field::Absent;
        };
        if text.chars().count() > MAX_TEXT {
            let message = format!("Path `{name}` is longer than the maximum allowed length ({MAX_TEXT}).");
            self.fault(name, "too_long", message);
        }
        Field::Value(text)
    }

    /// The elements of an array.
    pub(super) fn elements(&mut self, name: &str) -> Option<Vec<&'a RawValue>> {
        let raw = self.raw(name).filter(|raw| raw.get() != "null")?;
        let elements = serde_json::from_str(raw.get()).ok();
        if elements.is_none() {
            self.fault(name, "cast", format!("Path `{name}` must be an array."));
        }
        elements
    }

    /// A reader of one of them, which must be an object.
    pub(super) fn element<'b>(&mut self, place: &str, raw: &'b RawValue) -> Option<Reader<'b, '_>> {
        let Some(fields) = read_fields(raw) else {
            self.fault(place, "cast", format!("Path `{place}` must be an object."));
            return None;
        };
        Some(Reader { fields, pointer: format!("{}/{place}", self.pointer), faults: self.faults })
    }
}
