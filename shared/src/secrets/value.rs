//! What a secret keeps: the types of credentials, what each consists of, and what of it may be shown.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::flow::{Fault, ObjectId};

/// As much as Secrets Manager takes: 64 KB as JSON.
const MAX_BYTES: usize = 64 * 1024;
/// What is shown of what is not shown.
const MASK: &str = "***";
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

/// A value that obeys the rules of its type. It is shown by [`Self::masked`] alone.
#[derive(Clone, PartialEq)]
pub struct SecretValue {
    kind: SecretType,
    members: Map<String, Value>,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue")
    }
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
        let mut members = Map::new();
        if raw.get().starts_with('{') {
            let mut sent: Map<String, Value> = serde_json::from_str(raw.get()).unwrap_or_default();
            let stored = stored.filter(|stored| stored.kind == kind).map(|stored| &stored.members);
            for (name, required, form) in kind.members() {
                let stored = stored.and_then(|members| members.get(*name));
                match form.read(sent.remove(*name), stored) {
                    Ok(Some(value)) => drop(members.insert((*name).into(), value)),
                    Ok(None) if !required => {}
                    Ok(None) => faults.push(Fault {
                        message: format!("Path `value.{name}` is required."),
                        reason: "secret.value.required",
                        pointer: format!("{pointer}/{name}"),
                    }),
                    Err((reason, what)) => faults.push(Fault {
                        message: format!("Path `value.{name}` {what}."),
                        reason,
                        pointer: format!("{pointer}/{name}"),
                    }),
                }
            }
        } else {
            faults.push(Fault {
                message: "Path `value` must be an object.".into(),
                reason: "cast",
                pointer: pointer.into(),
            });
        }
        let value = Self { kind, members };
        if value.to_text().len() > MAX_BYTES { Err(TooLarge) } else { Ok(value) }
    }

    /// The value as Secrets Manager keeps it: its members as JSON.
    pub(super) fn to_text(&self) -> String {
        Value::Object(self.members.clone()).to_string()
    }

    /// Reads what [`Self::to_text`] gave.
    pub(super) fn from_text(kind: SecretType, text: &str) -> serde_json::Result<Self> {
        Ok(Self { kind, members: serde_json::from_str(text)? })
    }

    /// The whole value.
    #[must_use]
    pub fn raw(&self) -> Value {
        Value::Object(self.members.clone())
    }

    /// The value with `***` for whatever is secret in it.
    #[must_use]
    pub fn masked(&self) -> Value {
        let form = |name: &str| {
            let known = self.kind.members().iter().find(|(known, ..)| *known == name);
            known.map_or(Form::Tree, |(_, _, form)| *form)
        };
        Value::Object(
            self.members.iter().map(|(name, value)| (name.clone(), form(name).mask(value))).collect(),
        )
    }
}

impl Form {
    /// What is kept of what was sent.
    fn read(
        self,
        sent: Option<Value>,
        stored: Option<&Value>,
    ) -> Result<Option<Value>, (&'static str, &'static str)> {
        let Some(sent) = sent.filter(|value| !value.is_null()) else { return Ok(None) };
        if let (Some(stored), true) = (stored, self != Self::Tree)
            && sent == self.mask(stored)
        {
            return Ok(Some(stored.clone()));
        }
        let text = match sent {
            sent if self == Self::Tree => return unmasked(sent, stored).map(Some),
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => sent.to_string(),
            _ => return Err(("cast", "must be a string")),
        };
        match self {
            _ if text.is_empty() => Ok(None),
            Self::Id => match text.parse::<ObjectId>() {
                Ok(id) => Ok(Some(id.to_string().into())),
                Err(_) => Err(("cast", "must be an id of 24 hex digits")),
            },
            Self::Hidden | Self::Key if is_mask(&text) => Err(MASKED),
            _ => Ok(Some(text.into())),
        }
    }

    fn mask(self, value: &Value) -> Value {
        match (self, value) {
            (Self::Open | Self::Id, value) => value.clone(),
            (Self::Key, Value::String(key)) => {
                let length = key.chars().count();
                let end: String =
                    key.chars().skip(if length < MIN_SHOWN { length } else { length - SHOWN }).collect();
                format!("{MASK}{end}").into()
            }
            (_, Value::Array(elements)) => elements.iter().map(|element| self.mask(element)).collect(),
            (_, Value::Object(members)) => Value::Object(
                members.iter().map(|(name, member)| (name.clone(), self.mask(member))).collect(),
            ),
            (_, Value::Null) => Value::Null,
            (_, _) => MASK.into(),
        }
    }
}

const MASKED: (&str, &str) = ("secret.value.masked", "is masked. Send what it stands for");

fn is_mask(text: &str) -> bool {
    let rest = text.strip_prefix(MASK);
    rest.is_some_and(|rest| matches!(rest.chars().count(), 0 | SHOWN))
}

/// A tree with what `stored` has wherever it has a mask.
fn unmasked(sent: Value, stored: Option<&Value>) -> Result<Value, (&'static str, &'static str)> {
    match sent {
        Value::String(text) if text == MASK => {
            stored.filter(|stored| Form::Tree.mask(stored) == MASK).cloned().ok_or(MASKED)
        }
        Value::Array(elements) => {
            let elements = elements.into_iter().enumerate();
            elements.map(|(index, element)| unmasked(element, stored.and_then(|s| s.get(index)))).collect()
        }
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, member)| {
                let stored = stored.and_then(|stored| stored.get(&name));
                Ok((name, unmasked(member, stored)?))
            });
            members.collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
        scalar => Ok(scalar),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const CLIENT: &str = "5ca5c44c187c040010a9bb8b";

    fn parse(kind: &str, value: &Value, stored: Option<&SecretValue>) -> Result<SecretValue, Vec<String>> {
        let raw = serde_json::value::to_raw_value(value).unwrap();
        let mut faults = Vec::new();
        let value = SecretValue::parse(kind.parse().unwrap(), &raw, stored, "/value", &mut faults).unwrap();
        let messages: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
        if messages.is_empty() { Ok(value) } else { Err(messages) }
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
            assert_eq!(secret.masked(), masked, "{kind}");
            assert_eq!(secret.raw(), value, "{kind}");
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
        assert_eq!(secret.raw(), json!({"username": "a", "passphrase": "1234"}));
    }

    #[test]
    fn a_mask_keeps_a_member_of_the_same_type_only() {
        let simple = parse("SIMPLE", &json!({"username": "a", "passphrase": "old"}), None).unwrap();
        let kept = parse("SIMPLE", &json!({"username": "b", "passphrase": "***"}), Some(&simple)).unwrap();
        assert_eq!(kept.raw(), json!({"username": "b", "passphrase": "old"}));
        assert!(parse("MIXED", &json!({"payload": "***"}), Some(&simple)).is_err());
        let tree = parse("MIXED", &json!({"payload": {"a": "1", "b": "2"}}), None).unwrap();
        let kept = parse("MIXED", &json!({"payload": {"b": "***", "c": "3"}}), Some(&tree)).unwrap();
        assert_eq!(kept.raw(), json!({"payload": {"b": "2", "c": "3"}}));
    }

    #[test]
    fn a_value_may_have_64_kb() {
        let of = |length: usize| {
            let raw = serde_json::value::to_raw_value(&json!({"payload": "x".repeat(length)})).unwrap();
            SecretValue::parse(SecretType::Mixed, &raw, None, "", &mut Vec::new())
        };
        let around = r#"{"payload":""}"#.len();
        assert!(of(MAX_BYTES - around).is_ok());
        assert_eq!(of(MAX_BYTES - around + 1), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn no_mask_shows_more_than_the_end_of_a_long_key(key in "[a-z0-9]{1,40}") {
            let secret = parse("API_KEY", &json!({"key": key}), None).unwrap();
            let shown = secret.masked()["key"].as_str().unwrap().replace('*', "");
            prop_assert_eq!(shown.len(), if key.len() < 10 { 0 } else { 4 });
            prop_assert!(key.ends_with(&shown));
        }
    }
}
