//! What a secret keeps: the types of credentials, what each consists of, and what of it may be shown.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::flow::{Fault, ObjectId, id_text, read_fields};
use crate::json::Tree;
use crate::limits::SECRET_BYTES;

/// What is shown of what is not shown.
const MASK: &str = "***";
/// What gets new tokens. No component needs it that is not given the task, and it is worth more than they are.
const RENEWAL: [&str; 2] = ["refreshToken", "inputFields"];
/// Keys of at least this many characters keep the last [`SHOWN`] of them.
const MIN_SHOWN: usize = 10;
const SHOWN: usize = 4;

/// The type of a secret, by upstream's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names say it")]
pub enum SecretType {
    Simple,
    Mixed,
    ApiKey,
    #[serde(rename = "OA1_TWO_LEGGED")]
    Oa1TwoLegged,
    #[serde(rename = "OA1_THREE_LEGGED")]
    Oa1ThreeLegged,
    #[serde(rename = "OA2_AUTHORIZATION_CODE")]
    Oa2AuthorizationCode,
    SessionAuth,
}

/// What a member may be, and what of it is shown.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A text that is no secret.
    Open,
    /// The id of an auth client.
    Id,
    /// A text of which nothing is shown.
    Hidden,
    /// A text of which the end is shown if it is long.
    Key,
    /// Any JSON, of which only the names are shown.
    Tree,
}

/// A member of a value: its name, whether it must be there, and its form.
type Member = (&'static str, bool, Form);

impl SecretType {
    /// All names, as messages show them.
    pub(super) const NAMES: &str =
        "SIMPLE, MIXED, API_KEY, OA1_TWO_LEGGED, OA1_THREE_LEGGED, OA2_AUTHORIZATION_CODE, SESSION_AUTH";

    const fn members(self) -> &'static [Member] {
        match self {
            Self::Simple => &[("username", true, Form::Open), ("passphrase", true, Form::Hidden)],
            Self::Mixed => &[("payload", true, Form::Tree)],
            Self::ApiKey => &[("key", true, Form::Key), ("headerName", false, Form::Open)],
            Self::Oa1TwoLegged => &[("expiresAt", false, Form::Open)],
            Self::Oa1ThreeLegged => &[
                ("authClientId", true, Form::Id),
                ("accessToken", true, Form::Hidden),
                ("accessTokenSecret", true, Form::Hidden),
                ("scope", false, Form::Open),
                ("expires", false, Form::Open),
                ("externalId", false, Form::Open),
            ],
            Self::Oa2AuthorizationCode => &[
                ("authClientId", true, Form::Id),
                ("refreshToken", false, Form::Hidden),
                ("accessToken", true, Form::Hidden),
                ("scope", false, Form::Open),
                ("expires", true, Form::Open),
                ("externalId", false, Form::Open),
            ],
            Self::SessionAuth => &[
                ("authClientId", true, Form::Id),
                ("accessToken", false, Form::Hidden),
                ("expires", false, Form::Open),
                ("inputFields", false, Form::Tree),
            ],
        }
    }
}

impl FromStr for SecretType {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_value(text.into())
    }
}

/// A value that obeys the rules of its type. It is shown by [`Self::shown`] alone.
#[derive(Clone, PartialEq)]
pub struct SecretValue {
    kind: SecretType,
    members: BTreeMap<String, Tree>,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue")
    }
}

/// How much of a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing that is secret.
    Masked,
    /// All that a component needs.
    Raw,
    /// What renews the credential, too.
    Whole,
}

/// The value does not fit Secrets Manager.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl SecretValue {
    /// Reads a value of this type. What a client was shown of `stored` and sends back as it is, stays
    /// as it is stored. Unknown members are dropped. No fault repeats what was sent.
    pub(super) fn parse(
        kind: SecretType,
        raw: &RawValue,
        stored: Option<&Self>,
        pointer: &str,
        faults: &mut Vec<Fault>,
    ) -> Result<Self, TooLarge> {
        let mut members = BTreeMap::new();
        if let Some(sent) = read_fields(raw) {
            let stored = stored.filter(|stored| stored.kind == kind).map(|stored| &stored.members);
            for (name, required, form) in kind.members() {
                let stored = stored.and_then(|members| members.get(*name));
                match form.read(sent.get(*name).copied(), stored) {
                    Ok(Some(value)) => drop(members.insert((*name).into(), value)),
                    Ok(None) if !required => {}
                    Ok(None) => faults.push(Fault {
                        message: format!("Path `value.{name}` is required."),
                        reason: "secret.value.required",
                        pointer: format!("{pointer}/{name}"),
                        help: None,
                    }),
                    Err((reason, what)) => faults.push(Fault {
                        message: format!("Path `value.{name}` {what}."),
                        reason,
                        pointer: format!("{pointer}/{name}"),
                        help: None,
                    }),
                }
            }
        } else {
            faults.push(Fault {
                message: "Path `value` must be an object.".into(),
                reason: "cast",
                pointer: pointer.into(),
                help: None,
            });
        }
        let value = Self { kind, members };
        if value.to_text().len() > SECRET_BYTES { Err(TooLarge) } else { Ok(value) }
    }

    /// The value as Secrets Manager keeps it: its members as JSON.
    pub(super) fn to_text(&self) -> String {
        self.whole().to_text()
    }

    /// Reads what [`Self::to_text`] gave.
    pub(super) fn from_text(kind: SecretType, text: &str) -> serde_json::Result<Self> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
        let members = members.into_iter().map(|(name, member)| Ok((name, Tree::read(member.get())?)));
        Ok(Self { kind, members: members.collect::<serde_json::Result<_>>()? })
    }

    /// The whole value.
    fn whole(&self) -> Tree {
        Tree::Object(self.members.clone().into_iter().collect())
    }

    /// So much of the value, and `***` for the rest.
    #[must_use]
    pub fn shown(&self, shown: Shown) -> Tree {
        let form = |name: &str| {
            let known = self.kind.members().iter().find(|(known, ..)| *known == name);
            known.map_or(Form::Tree, |(_, _, form)| *form)
        };
        let is_masked = |name: &str| match shown {
            Shown::Masked => true,
            Shown::Raw => RENEWAL.contains(&name),
            Shown::Whole => false,
        };
        let members = self.members.iter().map(|(name, value)| {
            (name.clone(), if is_masked(name) { form(name).mask(value) } else { value.clone() })
        });
        Tree::Object(members.collect())
    }
}

impl Form {
    /// What is kept of what was sent.
    fn read(
        self,
        sent: Option<&RawValue>,
        stored: Option<&Tree>,
    ) -> Result<Option<Tree>, (&'static str, &'static str)> {
        let Some(sent) = sent.filter(|raw| raw.get() != "null") else { return Ok(None) };
        if self == Self::Tree {
            let sent = Tree::read(sent.get()).map_err(|_| ("cast", "cannot be read"))?;
            return unmasked(sent, stored).map(Some);
        }
        let text = if self == Self::Id { id_text(sent) } else { Tree::read_text(sent) };
        let text = text.ok_or(("cast", "must be a string"))?;
        if let Some(stored) = stored
            && Tree::Text(text.clone()) == self.mask(stored)
        {
            return Ok(Some(stored.clone()));
        }
        match self {
            _ if text.is_empty() => Ok(None),
            Self::Id => match text.parse::<ObjectId>() {
                Ok(id) => Ok(Some(Tree::Text(id.to_string()))),
                Err(_) => Err(("cast", "must be an id of 24 hex digits")),
            },
            Self::Hidden | Self::Key if is_mask(&text) => Err(MASKED),
            _ => Ok(Some(Tree::Text(text))),
        }
    }

    fn mask(self, value: &Tree) -> Tree {
        match (self, value) {
            (Self::Open | Self::Id, value) => value.clone(),
            (Self::Key, Tree::Text(key)) => {
                let length = key.chars().count();
                let end: String =
                    key.chars().skip(if length < MIN_SHOWN { length } else { length - SHOWN }).collect();
                Tree::Text(format!("{MASK}{end}"))
            }
            (_, Tree::Array(elements)) => {
                Tree::Array(elements.iter().map(|element| self.mask(element)).collect())
            }
            (_, Tree::Object(members)) => {
                Tree::Object(members.iter().map(|(name, member)| (name.clone(), self.mask(member))).collect())
            }
            (_, value) if value.is_null() => value.clone(),
            (_, _) => Tree::Text(MASK.into()),
        }
    }
}

const MASKED: (&str, &str) = ("secret.value.masked", "is masked. Send what it stands for");

fn is_mask(text: &str) -> bool {
    let rest = text.strip_prefix(MASK);
    rest.is_some_and(|rest| matches!(rest.chars().count(), 0 | SHOWN))
}

/// A tree with what `stored` has wherever it has a mask. A member is found by its name. An element has
/// only its place, which an edit of the array moves: an array with masks is the stored one or refused.
fn unmasked(sent: Tree, stored: Option<&Tree>) -> Result<Tree, (&'static str, &'static str)> {
    match sent {
        sent @ (Tree::Text(_) | Tree::Array(_)) if has_mask(&sent) => {
            stored.filter(|stored| shows(&sent, stored)).cloned().ok_or(MASKED)
        }
        Tree::Object(members) => {
            let members = members.into_iter().map(|(name, member)| {
                let stored = match stored {
                    Some(Tree::Object(stored)) => stored.get(&name),
                    _ => None,
                };
                Ok((name, unmasked(member, stored)?))
            });
            members.collect::<Result<_, _>>().map(Tree::Object)
        }
        plain => Ok(plain),
    }
}

fn has_mask(tree: &Tree) -> bool {
    match tree {
        Tree::Literal(_) => false,
        Tree::Text(text) => is_mask(text),
        Tree::Array(elements) => elements.iter().any(has_mask),
        Tree::Object(members) => members.iter().any(|(_, member)| has_mask(member)),
    }
}

/// Whether this is what is stored, but for masks where one is shown.
fn shows(sent: &Tree, stored: &Tree) -> bool {
    match (sent, stored) {
        (Tree::Text(text), Tree::Literal(_) | Tree::Text(_)) if text == MASK => !stored.is_null(),
        (Tree::Array(sent), Tree::Array(stored)) => {
            sent.len() == stored.len() && sent.iter().zip(stored).all(|(sent, stored)| shows(sent, stored))
        }
        (Tree::Object(sent), Tree::Object(stored)) => {
            let is_shown =
                |(name, sent): (&String, &Tree)| stored.get(name).is_some_and(|stored| shows(sent, stored));
            sent.iter().len() == stored.iter().len() && sent.iter().all(is_shown)
        }
        (sent, stored) => sent == stored,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const CLIENT: &str = "5ca5c44c187c040010a9bb8b";

    fn parse(kind: &str, value: &Value, stored: Option<&SecretValue>) -> Result<SecretValue, Vec<String>> {
        let raw = serde_json::value::to_raw_value(value).unwrap();
        let mut faults = Vec::new();
        let value = SecretValue::parse(kind.parse().unwrap(), &raw, stored, "/value", &mut faults).unwrap();
        let messages: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
        if messages.is_empty() { Ok(value) } else { Err(messages) }
    }

    fn json(tree: &Tree) -> Value {
        serde_json::from_str(&tree.to_text()).unwrap()
    }

    #[test]
    fn every_secret_member_of_every_type_is_masked() {
        for (kind, value, masked) in [
            (
                "SIMPLE",
                json!({"username": "anna", "passphrase": "hunter2"}),
                json!({"username": "anna", "passphrase": "***"}),
            ),
            (
                "MIXED",
                json!({"payload": {"a": "x", "b": [1, true, null, {"c": "y"}]}}),
                json!({"payload": {"a": "***", "b": ["***", "***", null, {"c": "***"}]}}),
            ),
            ("MIXED", json!({"payload": "x"}), json!({"payload": "***"})),
            (
                "API_KEY",
                json!({"key": "0123456789", "headerName": "x-api-key"}),
                json!({"key": "***6789", "headerName": "x-api-key"}),
            ),
            ("API_KEY", json!({"key": "012345678"}), json!({"key": "***"})),
            ("OA1_TWO_LEGGED", json!({"expiresAt": "2026"}), json!({"expiresAt": "2026"})),
            (
                "OA1_THREE_LEGGED",
                json!({"authClientId": CLIENT, "accessToken": "t", "accessTokenSecret": "s", "scope": "a"}),
                json!({"authClientId": CLIENT, "accessToken": "***", "accessTokenSecret": "***", "scope": "a"}),
            ),
            (
                "OA2_AUTHORIZATION_CODE",
                json!({"authClientId": CLIENT, "accessToken": "t", "refreshToken": "r", "expires": "1", "externalId": "e"}),
                json!({"authClientId": CLIENT, "accessToken": "***", "refreshToken": "***", "expires": "1", "externalId": "e"}),
            ),
            (
                "SESSION_AUTH",
                json!({"authClientId": CLIENT, "accessToken": "t", "inputFields": {"pin": 1234}}),
                json!({"authClientId": CLIENT, "accessToken": "***", "inputFields": {"pin": "***"}}),
            ),
        ] {
            let secret = parse(kind, &value, None).unwrap();
            assert_eq!(json(&secret.shown(Shown::Masked)), masked, "{kind}");
            assert_eq!(json(&secret.whole()), value, "{kind}");
            assert_eq!(SecretValue::from_text(secret.kind, &secret.to_text()).unwrap(), secret);
            assert_eq!(
                parse(kind, &masked, Some(&secret)),
                Ok(secret),
                "{kind}: what was shown can be sent back"
            );
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_and_never_repeated() {
        for (kind, value, messages) in [
            (
                "SIMPLE",
                json!({}),
                vec!["Path `value.username` is required.", "Path `value.passphrase` is required."],
            ),
            (
                "SIMPLE",
                json!({"username": "", "passphrase": {"canary": "canary"}}),
                vec!["Path `value.username` is required.", "Path `value.passphrase` must be a string."],
            ),
            ("SIMPLE", json!("canary"), vec!["Path `value` must be an object."]),
            (
                "SIMPLE",
                json!({"username": "a", "passphrase": "***"}),
                vec!["Path `value.passphrase` is masked. Send what it stands for."],
            ),
            (
                "API_KEY",
                json!({"key": "***cdef"}),
                vec!["Path `value.key` is masked. Send what it stands for."],
            ),
            (
                "MIXED",
                json!({"payload": {"a": ["***"]}}),
                vec!["Path `value.payload` is masked. Send what it stands for."],
            ),
            (
                "SESSION_AUTH",
                json!({"authClientId": "canary"}),
                vec!["Path `value.authClientId` must be an id of 24 hex digits."],
            ),
        ] {
            assert_eq!(parse(kind, &value, None).unwrap_err(), messages, "{kind}");
        }
    }

    #[test]
    fn scalars_become_texts_and_unknown_members_are_dropped() {
        let secret = parse("SIMPLE", &json!({"username": "a", "passphrase": 1234, "x": 1}), None).unwrap();
        assert_eq!(json(&secret.whole()), json!({"username": "a", "passphrase": "1234"}));
    }

    #[test]
    fn a_mask_keeps_a_member_of_the_same_type_only() {
        let simple = parse("SIMPLE", &json!({"username": "a", "passphrase": "old"}), None).unwrap();
        let kept = parse("SIMPLE", &json!({"username": "b", "passphrase": "***"}), Some(&simple)).unwrap();
        assert_eq!(json(&kept.whole()), json!({"username": "b", "passphrase": "old"}));
        assert!(parse("MIXED", &json!({"payload": "***"}), Some(&simple)).is_err());
        let tree = parse("MIXED", &json!({"payload": {"a": "1", "b": "2"}}), None).unwrap();
        let kept = parse("MIXED", &json!({"payload": {"b": "***", "c": "3"}}), Some(&tree)).unwrap();
        assert_eq!(json(&kept.whole()), json!({"payload": {"b": "2", "c": "3"}}));
    }

    #[test]
    fn a_value_may_have_64_kb() {
        let of = |length: usize| {
            let raw = serde_json::value::to_raw_value(&json!({"payload": "x".repeat(length)})).unwrap();
            SecretValue::parse(SecretType::Mixed, &raw, None, "", &mut Vec::new())
        };
        let around = r#"{"payload":""}"#.len();
        assert!(of(SECRET_BYTES - around).is_ok());
        assert_eq!(of(SECRET_BYTES - around + 1), Err(TooLarge));
    }

    #[test]
    fn a_mask_of_another_form_is_no_value_either() {
        // What was shown of a long key, as a part of a tree.
        assert!(parse("MIXED", &json!({"payload": {"key": "***cdef"}}), None).is_err());
        let tree = parse("MIXED", &json!({"payload": ["0123456789abcdef"]}), None).unwrap();
        assert!(parse("MIXED", &json!({"payload": ["***cdef"]}), Some(&tree)).is_err());
        // However it is written.
        let raw = RawValue::from_string(r#"{"payload":"\u002a**"}"#.into()).unwrap();
        let mut faults = Vec::new();
        assert!(SecretValue::parse(SecretType::Mixed, &raw, None, "", &mut faults).is_ok());
        assert_eq!(faults[0].reason, "secret.value.masked");
    }

    /// Any JSON with texts that are no masks, among them many numbers that no double is.
    fn tree() -> impl Strategy<Value = Tree> {
        let number = "-?[1-9][0-9]{0,25}(\\.[0-9]{1,22})?(e[+-]?[0-9]{1,2})?";
        let leaf = prop_oneof![
            Just(Tree::Literal("null".into())),
            Just(Tree::Literal("true".into())),
            number.prop_map(|number| Tree::Literal(number.into())),
            "[a-c\\\\\"ä]{0,3}".prop_map(Tree::Text),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::Array),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|members| Tree::Object(members.into_iter().collect())),
            ]
        })
    }

    /// An edit of an array, somewhere in a tree.
    #[derive(Clone, Debug)]
    enum Edit {
        Remove(usize),
        Swap(usize, usize),
        Insert(usize),
        Repeat(usize),
        Change(usize),
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let place = 0..4_usize;
        let edit = prop_oneof![
            place.clone().prop_map(Edit::Remove),
            (place.clone(), place.clone()).prop_map(|(a, b)| Edit::Swap(a, b)),
            place.clone().prop_map(Edit::Insert),
            place.clone().prop_map(Edit::Repeat),
            place.prop_map(Edit::Change),
        ];
        prop::collection::vec(edit, 0..4)
    }

    /// Applies each edit to the next array, in the order in which they are written.
    fn edit(tree: &mut Tree, edits: &mut std::vec::IntoIter<Edit>) {
        match tree {
            Tree::Array(elements) => {
                let length = elements.len();
                match edits.next() {
                    Some(Edit::Remove(at)) if at < length => drop(elements.remove(at)),
                    Some(Edit::Swap(a, b)) if a < length && b < length => elements.swap(a, b),
                    Some(Edit::Insert(at)) if at <= length => elements.insert(at, Tree::Text("new".into())),
                    Some(Edit::Repeat(at)) if at < length => elements.insert(at, elements[at].clone()),
                    Some(Edit::Change(at)) if at < length => elements[at] = Tree::Text("new".into()),
                    _ => {}
                }
                for element in elements {
                    edit(element, edits);
                }
            }
            Tree::Object(members) => {
                let edited = members.clone().into_iter().map(|(name, mut member)| {
                    edit(&mut member, edits);
                    (name, member)
                });
                *members = edited.collect();
            }
            _ => {}
        }
    }

    /// The scalars of a tree by their pointers.
    fn leaves(tree: &Tree) -> BTreeMap<String, Tree> {
        fn find(tree: &Tree, place: &str, found: &mut BTreeMap<String, Tree>) {
            match tree {
                Tree::Array(elements) => {
                    for (index, element) in elements.iter().enumerate() {
                        find(element, &format!("{place}/{index}"), found);
                    }
                }
                Tree::Object(members) => {
                    for (name, member) in members.iter() {
                        find(member, &format!("{place}/{name}"), found);
                    }
                }
                scalar => drop(found.insert(place.into(), scalar.clone())),
            }
        }
        let mut found = BTreeMap::new();
        find(tree, "", &mut found);
        found
    }

    fn read(value: &Tree, stored: Option<&SecretValue>) -> Option<SecretValue> {
        let raw = RawValue::from_string(value.to_text()).unwrap();
        let mut faults = Vec::new();
        let value = SecretValue::parse(SecretType::Mixed, &raw, stored, "", &mut faults).unwrap();
        faults.is_empty().then_some(value)
    }

    fn payload(tree: Tree) -> Tree {
        Tree::Object([("payload".to_owned(), tree)].into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_was_shown_can_be_sent_back_and_is_exactly_what_is_stored(tree in tree()) {
            let Some(secret) = read(&payload(tree), None) else { return Ok(()) };
            prop_assert!(read(&secret.shown(Shown::Masked), Some(&secret)) == Some(secret.clone()));
            prop_assert!(SecretValue::from_text(secret.kind, &secret.to_text()).unwrap() == secret);
            prop_assert!(read(&secret.whole(), None) == Some(secret));
        }

        #[test]
        fn an_edit_of_an_array_never_gives_a_mask_another_value(tree in tree(), edits in edits()) {
            let Some(secret) = read(&payload(tree), None) else { return Ok(()) };
            let mut sent = secret.shown(Shown::Masked);
            edit(&mut sent, &mut edits.into_iter());
            let Some(kept) = read(&sent, Some(&secret)) else { return Ok(()) };
            let (sent, kept, stored) = (leaves(&sent), leaves(&kept.whole()), leaves(&secret.whole()));
            for (place, _) in sent.iter().filter(|(_, leaf)| **leaf == Tree::Text(MASK.into())) {
                // What the mask stands for is where it was, and so is all of the outermost array around it.
                let array = place.find(|c: char| c.is_ascii_digit()).unwrap_or(place.len());
                let around = |leaves: &BTreeMap<String, Tree>| -> Vec<(String, Tree)> {
                    let around = leaves.iter().filter(|(other, _)| other.starts_with(&place[..array]));
                    around.map(|(place, leaf)| (place.clone(), leaf.clone())).collect()
                };
                prop_assert_eq!(around(&kept), around(&stored));
            }
        }

        #[test]
        fn no_mask_shows_more_than_the_end_of_a_long_key(key in "[a-z0-9]{1,40}") {
            let secret = parse("API_KEY", &json!({"key": key}), None).unwrap();
            let shown = json(&secret.shown(Shown::Masked))["key"].as_str().unwrap().replace('*', "");
            prop_assert_eq!(shown.len(), if key.len() < 10 { 0 } else { 4 });
            prop_assert!(key.ends_with(&shown));
        }
    }
}
