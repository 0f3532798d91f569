//! JSON by its value, with the exact numbers that were sent: `serde_json` alone would read them as doubles. Whatever
//! compares JSON does it here.

mod number;
mod plain;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;

use number::Number;
pub use plain::Plain;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use serde_json::value::RawValue;

/// As deep as `serde_json` reads.
const MAX_DEPTH: usize = 127;

/// Any JSON. Equal is what has the same value: of numbers the exact one, whatever they are written as.
#[derive(Clone)]
pub enum Tree {
    /// A number, a boolean or null, as it was written.
    Literal(Box<str>),
    /// A text.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object),
}

/// The members of an object by name; of a repeated one the last. A list, because most objects have few: a node of a
/// B-tree has room for eleven, and takes it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Object(Box<[(String, Tree)]>);

impl Object {
    /// The member of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tree> {
        let place = self.0.binary_search_by(|(own, _)| own.as_str().cmp(name)).ok()?;
        self.0.get(place).map(|(_, member)| member)
    }

    /// All of them, in the order of their names.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&String, &Tree)> {
        self.0.iter().map(|(name, member)| (name, member))
    }
}

impl FromIterator<(String, Tree)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Tree)>>(members: I) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.reverse();
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|(a, _), (b, _)| a == b);
        Self(members.into())
    }
}

impl IntoIterator for Object {
    type Item = (String, Tree);
    type IntoIter = std::vec::IntoIter<(String, Tree)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

/// The members of an object, read no further.
pub(crate) type Members<'a> = BTreeMap<Cow<'a, str>, &'a str>;

/// Whether these two texts of valid JSON have the same value.
#[must_use]
pub fn are_equal(a: &str, b: &str) -> bool {
    a == b || have_one_value(a.trim_ascii(), b.trim_ascii(), MAX_DEPTH)
}

/// Reads one level after the other, and of arrays one element, so that it takes little memory.
fn have_one_value(a: &str, b: &str, depth: usize) -> bool {
    let Some(inner) = depth.checked_sub(1) else { return false };
    let are_equal = |(a, b): (&str, &str)| a == b || have_one_value(a, b, inner);
    if let (Some(mut a), Some(mut b)) = (elements_of(a), elements_of(b)) {
        return loop {
            match (a.next(), b.next()) {
                (None, None) => break true,
                (Some(a), Some(b)) if are_equal((a, b)) => {}
                _ => break false,
            }
        };
    }
    if let (Some(a), Some(b)) = (members_of(a), members_of(b)) {
        let mut pairs = a.iter().zip(&b);
        return a.len() == b.len() && pairs.all(|((name, a), (other, b))| name == other && are_equal((a, b)));
    }
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(b'"'), Some(b'"')) => {
            let text = |json| serde_json::from_str::<String>(json).ok();
            text(a).is_some_and(|a| Some(a) == text(b))
        }
        _ => is_number(a) && is_number(b) && Number::read(a) == Number::read(b),
    }
}

/// What all texts have alike that have this one's value; none of what is not valid JSON. A number beyond all bounds
/// has a text of its own, which is no JSON.
pub(crate) fn canonical_text(text: &str) -> Option<String> {
    fn write(text: &str, depth: usize, out: &mut String) -> Option<()> {
        let inner = depth.checked_sub(1)?;
        if let Some(elements) = elements_of(text) {
            out.push('[');
            for (index, element) in elements.enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(element, inner, out)?;
            }
            out.push(']');
        } else if let Some(members) = members_of(text) {
            out.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(&quoted(&name));
                out.push(':');
                write(member, inner, out)?;
            }
            out.push('}');
        } else if text.starts_with('"') {
            out.push_str(&quoted(&serde_json::from_str::<String>(text).ok()?));
        } else if is_number(text) {
            out.push_str(&Number::read(text).to_string());
        } else {
            out.push_str(text);
        }
        Some(())
    }

    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let mut canonical = String::new();
    write(raw.get(), MAX_DEPTH, &mut canonical)?;
    Some(canonical)
}

/// The elements of valid JSON, if it is an array.
pub(crate) fn elements_of(text: &str) -> Option<Elements<'_>> {
    text.strip_prefix('[').map(|rest| Elements(Rest(rest)))
}

/// The elements of an array, one after the other.
#[derive(Clone)]
pub(crate) struct Elements<'a>(Rest<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.skip(']') {
            return None;
        }
        let element: &RawValue = self.0.scalar().ok()?;
        self.0.skip(',');
        Some(element.get())
    }
}

/// The members of valid JSON, if it is an object.
pub(crate) fn members_of(text: &str) -> Option<Members<'_>> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = Members<'de>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Members::new();
            while let Some(name) = map.next_key_seed(Name)? {
                members.insert(name, map.next_value::<&RawValue>()?.get());
            }
            Ok(members)
        }
    }

    if !text.starts_with('{') {
        return None;
    }
    serde_json::Deserializer::from_str(text).deserialize_map(Object).ok()
}

/// The name of a member, copied only if it has escapes.
pub(crate) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

impl Tree {
    /// Reads valid JSON in one pass.
    ///
    /// # Errors
    /// When it is nested more than 127 deep, or is not valid.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        Rest(text).tree(MAX_DEPTH)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Literal(text) if &**text == "null")
    }

    /// Reads a text, or a number or boolean as it is written; nothing else is looked into.
    pub(crate) fn read_text(raw: &RawValue) -> Option<String> {
        match raw.get().as_bytes().first() {
            Some(b'[' | b'{' | b'n') => None,
            Some(b'"') => serde_json::from_str(raw.get()).ok(),
            _ => Some(raw.get().into()),
        }
    }

    /// The text, if it is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        if let Self::Object(members) = self { members.get(name) } else { None }
    }

    /// As JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Literal(text) => out.push_str(text),
            Self::Text(text) => out.push_str(&quoted(text)),
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
                    out.push_str(&quoted(name));
                    out.push(':');
                    member.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// The JSON of an object that has members, with more of them.
pub(crate) fn join(object: &str, members: &impl Serialize) -> serde_json::Result<String> {
    let members = serde_json::to_string(members)?;
    let (object, members) = (object.strip_suffix('}').unwrap_or(object), members.trim_start_matches('{'));
    Ok([object, if members == "}" { "" } else { "," }, members].concat())
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn is_number(literal: &str) -> bool {
    literal.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) => {
                a == b || (is_number(a) && is_number(b) && Number::read(a) == Number::read(b))
            }
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Tree {}

impl Hash for Tree {
    fn hash<H: Hasher>(&self, state: &mut H) {
        mem::discriminant(self).hash(state);
        match self {
            Self::Literal(text) if is_number(text) => Number::read(text).hash(state),
            Self::Literal(text) => text.hash(state),
            Self::Text(text) => text.hash(state),
            Self::Array(elements) => elements.hash(state),
            Self::Object(members) => members.hash(state),
        }
    }
}

/// What of valid JSON is still to be read.
#[derive(Clone)]
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// What comes next, at most this deep.
    fn tree(&mut self, depth: usize) -> serde_json::Result<Tree> {
        let inner = || depth.checked_sub(1).ok_or_else(|| de::Error::custom("nested too deep"));
        if self.skip('[') {
            let inner = inner()?;
            let mut elements = Vec::new();
            while !self.skip(']') {
                elements.push(self.tree(inner)?);
                self.skip(',');
            }
            return Ok(Tree::Array(elements));
        }
        if self.skip('{') {
            let inner = inner()?;
            let mut members = Vec::new();
            while !self.skip('}') {
                let name = self.scalar()?;
                self.skip(':');
                members.push((name, self.tree(inner)?));
                self.skip(',');
            }
            return Ok(Tree::Object(members.into_iter().collect()));
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
        match self {
            Self::Literal(text) => {
                let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
            Self::Text(text) => serializer.serialize_str(text),
            Self::Array(elements) => {
                let mut list = serializer.serialize_seq(Some(elements.len()))?;
                elements.iter().try_for_each(|element| list.serialize_element(element))?;
                list.end()
            }
            Self::Object(members) => {
                let mut members = members.iter();
                let mut object = serializer.serialize_map(Some(members.len()))?;
                members.try_for_each(|(name, member)| object.serialize_entry(name, member))?;
                object.end()
            }
        }
    }
}

#[cfg(test)]
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::thread;

    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;

    #[test]
    fn json_is_read_as_it_was_written() {
        let sent = " { \"a\" : [ 1.10 , -0, 1E+2 ,[ ],{ } , true,null ] , \"b\\u0041\\\"]\" :\t\"\\u00e4,]}\" ,\n\"a\":[1e3] }";
        let tree = Tree::read(sent).unwrap();
        assert_eq!(tree.to_text(), r#"{"a":[1e3],"bA\"]":"ä,]}"}"#);
        for same in ["[1.10,-0,1E+2,[],{},true,null]", "12345678901234567890123", "\"x\"", "{\"a\":{}}"] {
            assert_eq!(Tree::read(same).unwrap().to_text(), same);
            assert_eq!(serde_json::to_string(&Tree::read(same).unwrap()).unwrap(), same);
        }
        assert!(Tree::read(&"[".repeat(1_000_000)).is_err());
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(canonical_text(&deep), None);
    }

    #[test]
    fn equal_is_what_has_the_same_value() {
        let hash = |text: &str| {
            let mut hasher = std::hash::DefaultHasher::new();
            Tree::read(text).unwrap().hash(&mut hasher);
            (hasher.finish(), canonical_text(text).unwrap())
        };
        let million = "0".repeat(1_000_000);
        for (a, b) in [
            ("1.0", "1"),
            ("1E2", "100"),
            ("-0.0", "0"),
            ("0e999999999", "-0E-999999999"),
            ("100e-2", "1"),
            ("0.00120", "12e-4"),
            ("1e999999999", "10e999999998"),
            (r#"{"a":[1.0,"\u0041"],"b":null}"#, " { \"b\" : null, \"a\" : [1,\"A\"] }"),
            (&format!("1{million}"), "1e1000000"),
            (&format!("1.{million}"), "1"),
        ] {
            assert!(are_equal(a, b) && are_equal(b, a), "{a:.40} {b}");
            assert!(Tree::read(a).unwrap() == Tree::read(b).unwrap(), "{a:.40} {b}");
            assert_eq!(hash(a), hash(b), "{a:.40} {b}");
        }
        let huge = "9".repeat(100);
        for (a, b) in [
            ("89490200001234567890", "89490200001234567891"),
            ("0.123456789012345678", "0.123456789012345679"),
            ("1e999999999", "1e999999998"),
            ("1e-999999999", "0"),
            ("1", "-1"),
            ("1", "\"1\""),
            ("0", "null"),
            ("0", "false"),
            ("[1]", "[1,1]"),
            ("{}", "[]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            (&format!("1e-{huge}"), &format!("1e{huge}")),
            (&format!("1e{huge}"), &format!("1e{huge}9")),
            (&format!("1e{huge}"), &format!("10e{huge}")),
        ] {
            assert!(!are_equal(a, b) && !are_equal(b, a), "{a} {b}");
            assert!(Tree::read(a).unwrap() != Tree::read(b).unwrap(), "{a} {b}");
            assert_ne!(hash(a).1, hash(b).1, "{a} {b}");
        }
        assert!(are_equal(&format!("1.0e+0{huge}"), &format!("1.00E{huge}")));
    }

    /// A number, and another way to write it or one close to it.
    fn numbers() -> impl Strategy<Value = (String, String)> {
        let digits = prop_oneof!["0", "[1-9][0-9]{0,2}", "[1-9][0-9]{15,25}", "[1-9]0{1,30}"];
        let fraction =
            prop_oneof![Just(String::new()), "\\.[0-9]{1,3}", "\\.[0-9]{15,25}", "\\.0{1,30}[1-9]?"];
        let exponent = prop_oneof![
            Just(String::new()),
            "[eE][+-]?[0-9]{1,2}",
            "[eE][+-]?0{0,3}[0-9]{9}",
            "[eE][+-]?[0-9]{17}"
        ];
        let number = ("-?", digits, fraction, exponent)
            .prop_map(|(sign, digits, fraction, exponent)| sign + &digits + &fraction + &exponent);
        let edit = (0..9_usize, any::<prop::sample::Index>(), -40..40_i64);
        (number.clone(), number, edit).prop_map(|(number, other, (edit, at, shift))| {
            let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((&number, "0"));
            let exponent: i64 = exponent.parse().unwrap();
            let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let written = match edit {
                0 => other,
                // One digit is another one.
                1 => {
                    let mut digits: Vec<_> = number.bytes().collect();
                    let at = at.index(digits.len());
                    if matches!(digits[at], b'2'..=b'9') {
                        digits[at] -= 1;
                    }
                    String::from_utf8(digits).unwrap()
                }
                2 => format!("{mantissa}e{}", exponent + shift),
                3 => format!("{integer}.{fraction}000e{exponent}"),
                // The point moves, and the exponent with it.
                _ => {
                    let sign = if integer.starts_with('-') { "-" } else { "" };
                    let digits = integer.trim_start_matches('-').to_owned() + fraction;
                    let point = shift.rem_euclid(40);
                    let exponent = exponent - i64::try_from(fraction.len()).unwrap();
                    if edit % 2 == 0 {
                        let zeros = "0".repeat(usize::try_from(point).unwrap());
                        let digits = format!("{digits}{zeros}");
                        let digits = digits.trim_start_matches('0');
                        format!("{sign}{}E{}", if digits.is_empty() { "0" } else { digits }, exponent - point)
                    } else {
                        let length = i64::try_from(digits.len()).unwrap();
                        format!("{sign}0.{digits}e{:+}", exponent + length)
                    }
                }
            };
            (number, written)
        })
    }

    #[test]
    fn numbers_are_equal_exactly_when_they_are_to_pythons_decimal() {
        const ORACLE: &str = "import sys\nfrom decimal import Decimal\nfor line in sys.stdin:\n    a, b = line.split()\n    print(int(Decimal(a) == Decimal(b)))\n";
        const PAIRS: usize = 20_000;
        let mut runner = TestRunner::default();
        let strategy = numbers();
        let pairs: Vec<_> = (0..PAIRS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
        let mut python = Command::new("python3")
            .args(["-c", ORACLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs python3");
        let mut input = python.stdin.take().unwrap();
        let lines = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect::<Vec<_>>().concat();
        let writer = thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
        let output = python.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success());
        let told = String::from_utf8(output.stdout).unwrap();
        let told: Vec<_> = told.lines().map(|line| line == "1").collect();
        assert_eq!(told.len(), PAIRS);
        for ((a, b), are_same) in pairs.iter().zip(&told) {
            serde_json::from_str::<&RawValue>(a).unwrap();
            serde_json::from_str::<&RawValue>(b).unwrap();
            assert_eq!(are_equal(a, b), *are_same, "{a} {b}");
            assert_eq!(canonical_text(a) == canonical_text(b), *are_same, "{a} {b}");
        }
        // Neither is rare.
        let same = told.iter().filter(|are_same| **are_same).count();
        assert!((PAIRS / 10..PAIRS * 9 / 10).contains(&same), "{same}");
    }
}
