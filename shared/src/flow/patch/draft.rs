use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::flow::Fields;
use crate::json::{are_equal, quoted};

/// JSON that is being changed. What nothing is changed in stays the text that it is.
#[derive(Clone)]
pub(super) struct Draft<'a> {
    /// As long as nothing in it has changed.
    text: Option<&'a str>,
    /// As far as anybody has looked into it.
    inside: Inside<'a>,
}

#[derive(Clone)]
enum Inside<'a> {
    Unread,
    Array(Vec<Draft<'a>>),
    Object(Members<'a>),
}

/// The members of an object, each with its place.
#[derive(Clone, Default)]
struct Members<'a> {
    by_name: BTreeMap<String, (usize, Draft<'a>)>,
    next: usize,
}

/// There is no such place.
pub(super) struct Nowhere;

impl<'a> Draft<'a> {
    /// Of valid JSON.
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text: Some(text), inside: Inside::Unread }
    }

    pub(super) const fn is_changed(&self) -> bool {
        self.text.is_none()
    }

    /// The same, and nothing of what has been read of it.
    pub(super) fn copy(&self) -> Self {
        self.text.map_or_else(|| self.clone(), Self::new)
    }

    /// As JSON.
    pub(super) fn to_text(&self) -> Cow<'a, str> {
        self.text.map_or_else(
            || {
                let mut text = String::with_capacity(self.size());
                self.write(&mut text);
                text.into()
            },
            Cow::Borrowed,
        )
    }

    fn write(&self, out: &mut String) {
        match (self.text, &self.inside) {
            (Some(text), _) => out.push_str(text),
            (None, Inside::Unread) => out.push_str("null"),
            (None, Inside::Array(elements)) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    element.write(out);
                }
                out.push(']');
            }
            (None, Inside::Object(members)) => {
                out.push('{');
                for (index, (name, member)) in members.in_order().into_iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(&quoted(name));
                    out.push(':');
                    member.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The bytes of its text, but for escapes in names.
    pub(super) fn size(&self) -> usize {
        match (self.text, &self.inside) {
            (Some(text), _) => text.len(),
            (None, Inside::Unread) => 0,
            (None, Inside::Array(elements)) => 2 + elements.iter().map(|one| one.size() + 1).sum::<usize>(),
            (None, Inside::Object(members)) => {
                let member = |(name, (_, one)): (&String, &(usize, Self))| name.len() + 4 + one.size();
                2 + members.by_name.iter().map(member).sum::<usize>()
            }
        }
    }

    pub(super) fn depth(&self) -> usize {
        match (self.text, &self.inside) {
            (Some(text), _) => depth(text),
            (None, Inside::Unread) => 0,
            (None, Inside::Array(elements)) => 1 + elements.iter().map(Self::depth).max().unwrap_or_default(),
            (None, Inside::Object(members)) => {
                1 + members.by_name.values().map(|(_, one)| one.depth()).max().unwrap_or_default()
            }
        }
    }

    fn read(&mut self) {
        if let (Some(text), Inside::Unread) = (self.text, &self.inside) {
            self.inside = match text.as_bytes().first() {
                Some(b'[') => serde_json::from_str(text)
                    .map(|elements: Vec<&RawValue>| elements.into_iter().map(|raw| Self::new(raw.get())))
                    .map_or(Inside::Unread, |elements| Inside::Array(elements.collect())),
                Some(b'{') => serde_json::from_str(text).map_or(Inside::Unread, Inside::Object),
                _ => Inside::Unread,
            };
        }
    }

    fn child(&mut self, token: &str) -> Result<&mut Self, Nowhere> {
        self.read();
        let child = match &mut self.inside {
            Inside::Unread => None,
            Inside::Array(elements) => index(token).and_then(|index| elements.get_mut(index)),
            Inside::Object(members) => members.by_name.get_mut(token).map(|(_, member)| member),
        };
        child.ok_or(Nowhere)
    }

    /// What is at this place.
    pub(super) fn at(&mut self, pointer: &Pointer) -> Result<&mut Self, Nowhere> {
        pointer.tokens().try_fold(self, |inner, token| inner.child(&token))
    }

    /// What is at this place, where something will change.
    fn change_at(&mut self, pointer: &str) -> Result<&mut Self, Nowhere> {
        let holder = tokens(pointer).try_fold(self, |inner, token| {
            inner.read();
            inner.text = None;
            inner.child(&token)
        })?;
        holder.read();
        match holder.inside {
            Inside::Unread => Err(Nowhere),
            Inside::Array(_) | Inside::Object(_) => {
                holder.text = None;
                Ok(holder)
            }
        }
    }

    /// Puts a value there: in front of an element, instead of a member.
    pub(super) fn add(&mut self, pointer: &Pointer, value: Self) -> Result<(), Nowhere> {
        let Some((holder, token)) = pointer.split() else {
            *self = value;
            return Ok(());
        };
        match &mut self.change_at(holder)?.inside {
            Inside::Array(elements) => {
                let index = if token == "-" { Some(elements.len()) } else { index(&token) };
                let index = index.filter(|index| *index <= elements.len()).ok_or(Nowhere)?;
                elements.insert(index, value);
            }
            Inside::Object(members) => members.insert(token.into_owned(), value),
            Inside::Unread => return Err(Nowhere),
        }
        Ok(())
    }

    /// Puts a value in the place of another one.
    pub(super) fn replace(&mut self, pointer: &Pointer, value: Self) -> Result<(), Nowhere> {
        let place = match pointer.split() {
            None => self,
            Some((holder, token)) => self.change_at(holder)?.child(&token)?,
        };
        *place = value;
        Ok(())
    }

    /// Takes away what is there.
    pub(super) fn remove(&mut self, pointer: &Pointer) -> Result<Self, Nowhere> {
        let (holder, token) = pointer.split().ok_or(Nowhere)?;
        let removed = match &mut self.change_at(holder)?.inside {
            Inside::Array(elements) => {
                let index = index(&token).filter(|index| *index < elements.len());
                index.map(|index| elements.remove(index))
            }
            Inside::Object(members) => members.by_name.remove(&*token).map(|(_, member)| member),
            Inside::Unread => None,
        };
        removed.ok_or(Nowhere)
    }

    /// Makes of it what a merge patch says (RFC 7396).
    pub(super) fn merge(&mut self, patch: &Fields<'a>) -> serde_json::Result<()> {
        self.read();
        if !matches!(self.inside, Inside::Object(_)) {
            *self = Self { text: None, inside: Inside::Object(Members::default()) };
        }
        let Inside::Object(members) = &mut self.inside else { return Ok(()) };
        for (name, value) in patch {
            let is_changed = if value.get() == "null" {
                members.by_name.remove(name).is_some()
            } else if let Some((_, member)) = members.by_name.get_mut(name) {
                let before = member.text;
                member.merge_value(value.get())?;
                member.text.is_none() || member.text != before
            } else {
                let mut member = Self::new("null");
                member.merge_value(value.get())?;
                members.insert(name.clone(), member);
                true
            };
            self.text = self.text.filter(|_| !is_changed);
        }
        Ok(())
    }

    fn merge_value(&mut self, patch: &'a str) -> serde_json::Result<()> {
        if patch.starts_with('{') {
            return self.merge(&serde_json::from_str(patch)?);
        }
        if self.text.is_none_or(|text| !are_equal(text, patch)) {
            *self = Self::new(patch);
        }
        Ok(())
    }
}

impl<'a> Members<'a> {
    fn insert(&mut self, name: String, value: Draft<'a>) {
        let next = self.next;
        self.by_name.entry(name).or_insert((next, Draft::new("null"))).1 = value;
        self.next += 1;
    }

    fn in_order(&self) -> Vec<(&str, &Draft<'a>)> {
        let mut members: Vec<_> = self.by_name.iter().collect();
        members.sort_unstable_by_key(|(_, (place, _))| *place);
        members.into_iter().map(|(name, (_, member))| (name.as_str(), member)).collect()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;

        impl<'de> Visitor<'de> for Ordered {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
                    members.insert(name, Draft::new(raw.get()));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Ordered)
    }
}

/// How deep valid JSON is nested.
fn depth(text: &str) -> usize {
    let (mut now, mut most, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => {
                now += 1;
                most = most.max(now);
            }
            b']' | b'}' if !is_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The index of an element: digits without zeros in front.
fn index(token: &str) -> Option<usize> {
    let is_index = token == "0" || !token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit());
    token.parse().ok().filter(|_| is_index)
}

/// A place in JSON (RFC 6901).
#[derive(Clone, Debug)]
pub(super) struct Pointer(String);

impl Pointer {
    /// Reads one, if it is one.
    pub(super) fn read(text: String) -> Option<Self> {
        let is_rooted = text.is_empty() || text.starts_with('/');
        let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        (is_rooted && is_escaped).then_some(Self(text))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = Cow<'_, str>> {
        tokens(&self.0)
    }

    /// Where what is there is held, and its name or index in that; none of the whole.
    fn split(&self) -> Option<(&str, Cow<'_, str>)> {
        self.0.rsplit_once('/').map(|(holder, token)| (holder, unescape(token)))
    }

    /// Whether that place is inside of this one.
    pub(super) fn holds(&self, other: &Self) -> bool {
        other.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn tokens(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(unescape)
}

fn unescape(token: &str) -> Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}
