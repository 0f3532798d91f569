//! JSON as it was sent: `serde_json` alone would read a number as a double and forget its text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer, de, ser};
use serde_json::Value;
use serde_json::value::RawValue;

/// Any JSON. Equal are numbers of the same text.
#[derive(Clone, PartialEq, Eq)]
pub enum Tree {
    /// A number, a boolean or null, as it was written.
    Literal(Box<str>),
    /// A text.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object. Of a repeated member the last one counts.
    Object(BTreeMap<String, Self>),
}

impl Tree {
    /// Reads JSON of which the depth was looked at before, in one pass.
    pub(super) fn read(raw: &RawValue) -> serde_json::Result<Self> {
        Rest(raw.get()).tree()
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Literal(text) if &**text == "null")
    }

    /// Reads a text, or a number or boolean as it is written; nothing else is looked into.
    pub(super) fn read_text(raw: &RawValue) -> Option<String> {
        match raw.get().as_bytes().first() {
            Some(b'[' | b'{' | b'n') => None,
            Some(b'"') => serde_json::from_str(raw.get()).ok(),
            _ => Some(raw.get().into()),
        }
    }

    /// As JSON.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Literal(text) => out.push_str(text),
            Self::Text(text) => out.push_str(&Value::from(text.as_str()).to_string()),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (name, member)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::from(name.as_str()).to_string());
                    out.push(':');
                    member.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// What of valid JSON is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn tree(&mut self) -> serde_json::Result<Tree> {
        if self.skip('[') {
            let mut elements = Vec::new();
            while !self.skip(']') {
                elements.push(self.tree()?);
                self.skip(',');
            }
            return Ok(Tree::Array(elements));
        }
        if self.skip('{') {
            let mut members = BTreeMap::new();
            while !self.skip('}') {
                let name = self.scalar()?;
                self.skip(':');
                members.insert(name, self.tree()?);
                self.skip(',');
            }
            return Ok(Tree::Object(members));
        }
        if self.0.starts_with('"') {
            return self.scalar().map(Tree::Text);
        }
        self.scalar::<&RawValue>().map(|raw| Tree::Literal(raw.get().into()))
    }

    fn scalar<T: Deserialize<'a>>(&mut self) -> serde_json::Result<T> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter();
        let value = values.next().ok_or_else(|| de::Error::custom("the end is missing"))??;
        self.0 = self.0.get(values.byte_offset()..).unwrap_or_default();
        Ok(value)
    }

    /// Whether this is what comes next, after blanks; if so, it is behind then.
    fn skip(&mut self, sign: char) -> bool {
        self.0 = self.0.trim_ascii_start();
        let rest = self.0.strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_text()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_it_was_written() {
        let sent = " { \"a\" : [ 1.10 , -0, 1E+2 ,[ ],{ } , true,null ] , \"b\\u0041\\\"]\" :\t\"\\u00e4,]}\" ,\n\"a\":[1e3] }";
        let tree = Tree::read(serde_json::from_str(sent).unwrap()).unwrap();
        assert_eq!(tree.to_text(), r#"{"a":[1e3],"bA\"]":"ä,]}"}"#);
        for same in ["[1.10,-0,1E+2,[],{},true,null]", "12345678901234567890123", "\"x\"", "{\"a\":{}}"] {
            let raw: &RawValue = serde_json::from_str(same).unwrap();
            assert_eq!(Tree::read(raw).unwrap().to_text(), same);
            assert_eq!(serde_json::to_string(&Tree::read(raw).unwrap()).unwrap(), same);
        }
    }
}
