//! Credentials of nodes: which secrets a change takes up, and literal ones that should be secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::document::Document;
use super::parse::{Fault, MAX_FAULTS, bounded};
use super::pointer::cut;
use super::{Flow, Node, SecretId, Status};

/// Ends of names, in lower case and without separators, whose values are credentials. Ends, because
/// `tokenUrl` or `passwordField` only speak of one.
const NAMES: [&str; 17] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "secret",
    "secretkey",
    "secretaccesskey",
    "clientsecret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authkey",
    "signingkey",
    "authorization",
    "connectionstring",
];

/// Ends of names that are none of these: positions in lists, not keys.
const POSITIONS: [&str; 5] = ["pagetoken", "nexttoken", "synctoken", "deltatoken", "continuationtoken"];

/// How known kinds of keys begin, and how many characters follow at least. What follows looks random: names of
/// regions, files and flows begin so too.
const PREFIXES: [(&str, usize); 15] = [
    ("AIza", 35),
    ("ghp_", 36),
    ("gho_", 36),
    ("ghs_", 36),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("sk-", 20),
    ("xapp-", 10),
    ("SG.", 40),
    ("npm_", 36),
    ("pypi-", 40),
    ("shpat_", 32),
    ("dop_v1_", 64),
];

/// With and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What becomes of a flow with literal credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialCheck {
    /// It is stored, with warnings.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
}

impl Flow {
    /// The nodes whose secrets whoever made this flow of `before` must be allowed to use, with their
    /// places: all when it starts, because a run reads secrets in the name of who started it, and
    /// otherwise those that are new or changed. A node that stays as it is keeps its secret, so a
    /// colleague who may not use it can still change the rest of the flow.
    fn taken_up(&self, before: Option<&Self>) -> impl Iterator<Item = (usize, SecretId)> {
        let starts = self.status == Status::Starting && before.is_some_and(|flow| flow.status != self.status);
        let known: BTreeMap<&str, &Node> = before
            .filter(|_| !starts)
            .into_iter()
            .flat_map(|flow| &flow.document.graph.nodes)
            .filter(|node| node.credentials_id.value().is_some())
            .map(|node| (node.id.as_str(), node))
            .collect();
        let nodes = self.document.graph.nodes.iter().enumerate();
        nodes.filter_map(move |(index, node)| {
            let secret = node.credentials_id.value()?;
            (known.get(node.id.as_str()) != Some(&node)).then_some((index, *secret))
        })
    }

    /// The secrets of these nodes, each once.
    pub(crate) fn secrets_taken_up(&self, before: Option<&Self>) -> BTreeSet<SecretId> {
        self.taken_up(before).map(|(_, secret)| secret).collect()
    }

    /// What is wrong with these nodes when these secrets are none that their user may use. Missing and
    /// foreign ones are the same.
    pub(crate) fn unknown_secrets(&self, before: Option<&Self>, unknown: &BTreeSet<SecretId>) -> Vec<Fault> {
        let faults = self.taken_up(before).filter(|(_, secret)| unknown.contains(secret));
        let faults = faults.map(|(index, secret)| Fault {
            message: format!("Secret with id \"{secret}\" could not be found."),
            reason: "node.credentials.unknown",
            pointer: format!("/graph/nodes/{index}/credentials_id"),
            help: None,
        });
        bounded(faults, MAX_FAULTS)
    }
}

impl Document {
    /// Members of nodes' `fields` that look like credentials, in document order. The faults name no
    /// value.
    #[must_use]
    pub fn literal_credentials(&self) -> Vec<Fault> {
        let mut found = Vec::new();
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let Some(fields) = node.fields.value() else { continue };
            let mut pointer = format!("/graph/nodes/{index}/fields");
            let search = Search { is_credential: false, pointer: &mut pointer, found: &mut found };
            // It was valid JSON when it was taken in, so it ends early only with more than is told.
            if search.deserialize(&mut serde_json::Deserializer::from_str(fields.0.get())).is_err() {
                break;
            }
        }
        let faults = found.into_iter().map(|pointer| Fault {
            message: "This looks like a credential. Store it as a secret and refer to it by credentials_id."
                .into(),
            reason: "node.fields.credential",
            pointer,
            help: None,
        });
        bounded(faults, MAX_FAULTS)
    }
}

/// Looks through JSON for credentials and notes where they are, until there are more than are told.
struct Search<'s> {
    /// Whether the name says that the value is one.
    is_credential: bool,
    pointer: &'s mut String,
    found: &'s mut Vec<String>,
}

impl Search<'_> {
    fn note_if<E: Error>(&mut self, holds: bool) -> Result<(), E> {
        if holds {
            self.found.push(cut(self.pointer).to_owned());
        }
        if self.found.len() > MAX_FAULTS { Err(E::custom("there are more")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
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

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.note_if(self.is_credential)
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.note_if(self.is_credential)
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.note_if(self.is_credential)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        let holds = if self.is_credential { !is_placeholder(text) } else { is_key(text) };
        self.note_if(holds)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { is_credential, pointer, found } = self;
        let length = pointer.len();
        let mut index = 0_usize;
        loop {
            pointer.push('/');
            pointer.push_str(&index.to_string());
            let next = elements.next_element_seed(Search { is_credential, pointer, found })?;
            pointer.truncate(length);
            index += 1;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { pointer, found, .. } = self;
        let length = pointer.len();
        while let Some(name) = members.next_key::<String>()? {
            pointer.push('/');
            if name.contains(['~', '/']) {
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            } else {
                pointer.push_str(&name);
            }
            members.next_value_seed(Search { is_credential: is_name(&name), pointer, found })?;
            pointer.truncate(length);
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let ends_with = |end: &&str| {
        let letters = name.bytes().rev().filter(u8::is_ascii_alphanumeric);
        let mut letters = letters.map(|letter| letter.to_ascii_lowercase());
        end.bytes().rev().all(|letter| letters.next() == Some(letter))
    };
    NAMES.iter().any(&ends_with) && !POSITIONS.iter().any(ends_with)
}

/// What stands for a value that is not there: nothing, an expression, or stars.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let is_expression = ["{{", "${", "$.", "$$", "<%"].iter().any(|start| text.starts_with(start));
    text.is_empty() || is_expression || text.chars().all(|letter| letter == '*')
}

/// Whether a text has the form of a known kind of key, whatever it is called.
fn is_key(text: &str) -> bool {
    let text = text.trim();
    has_prefix(text) || is_jwt(text) || is_header(text) || has_password(text) || has_private_key(text)
}

fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'='))
}

/// Whether letters and digits, capitals and others change so often as in nothing that people write: about every
/// second time where they are drawn, and at the ends of words else.
fn is_random(text: &str) -> bool {
    let changes = text.as_bytes().windows(2).filter(|pair| match pair {
        [a, b] => {
            (a.is_ascii_digit() && b.is_ascii_alphabetic())
                || (a.is_ascii_alphabetic() && b.is_ascii_digit())
                || (a.is_ascii_lowercase() && b.is_ascii_uppercase())
        }
        _ => false,
    });
    4 * changes.count() >= text.len()
}

fn has_prefix(text: &str) -> bool {
    let has_known = || {
        PREFIXES.iter().any(|(prefix, length)| {
            text.strip_prefix(prefix)
                .is_some_and(|rest| rest.len() >= *length && is_token(rest) && is_random(rest))
        })
    };
    // Drawn from capitals and few digits: 16 of them, and in 29 of 30 a digit.
    let is_aws = || {
        let rest = text.strip_prefix("AKIA").or_else(|| text.strip_prefix("ASIA"));
        rest.is_some_and(|rest| {
            rest.len() == 16
                && rest.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'))
                && rest.bytes().any(|byte| byte.is_ascii_digit())
        })
    };
    // These tell workspace and user by their numbers.
    let is_slack = || {
        let rest = text.strip_prefix("xoxb-").or_else(|| text.strip_prefix("xoxp-"));
        rest.is_some_and(|rest| is_token(rest) && rest.bytes().take_while(u8::is_ascii_digit).count() >= 10)
    };
    has_known() || is_aws() || is_slack()
}

fn is_jwt(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3 && text.len() > 60 && is_token(text)
}

/// A value of the header `Authorization`: a bearer's token, or a user and a password in Base64 (RFC 7617).
fn is_header(text: &str) -> bool {
    let Some((scheme, credentials)) = text.split_once(' ') else { return false };
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("Basic") {
        let pair = BASE64.decode(credentials).ok().and_then(|pair| String::from_utf8(pair).ok());
        return pair.is_some_and(|pair| pair.contains(':') && !pair.contains(char::is_control));
    }
    scheme.eq_ignore_ascii_case("Bearer")
        && (has_prefix(credentials)
            || is_jwt(credentials)
            || (credentials.len() >= 8 && is_token(credentials) && is_random(credentials)))
}

/// Whether there is a URL with a password in its authority, which ends at the first `/`, `?` or `#` and has no
/// blanks (RFC 3986, 3.2), or with a key as its user.
fn has_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>') || c.is_whitespace();
        let authority = rest.split(ends).next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@') else { return false };
        let password = user.split_once(':').map(|(_, password)| password);
        password.is_some_and(|password| !is_placeholder(password)) || has_prefix(user)
    })
}

/// Whether there is a private key, and not only talk of one.
fn has_private_key(text: &str) -> bool {
    let begin = text.split_once("-----BEGIN ").map(|(_, rest)| rest);
    let key = begin.and_then(|rest| rest.split_once("PRIVATE KEY-----"));
    key.is_some_and(|(kind, key)| kind.len() <= 20 && key.contains("-----END "))
}

#[cfg(test)]
mod corpus;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::corpus::{CREDENTIALS, HARMLESS, MISSED};
    use super::*;
    use crate::flow::{ComponentCheck, Role, read_fields};
    use crate::identity::Caller;

    fn document(fields: &Value) -> Document {
        let body = json!({"graph": {"nodes": [{"id": "a", "fields": fields}]}}).to_string();
        let fields = read_fields(serde_json::from_str(&body).unwrap()).unwrap();
        Document::parse(fields, ComponentCheck::AtStart.into()).unwrap().document
    }

    fn found(fields: &Value) -> Vec<String> {
        let faults = document(fields).literal_credentials();
        faults.into_iter().map(|fault| fault.pointer.replace("/graph/nodes/0/fields", "")).collect()
    }

    #[test]
    fn names_that_end_like_credentials_are_found_wherever_they_are() {
        for (fields, pointers) in [
            (json!({"password": "x"}), vec!["/password"]),
            (json!({"API-Key": "x", "client_secret": "y"}), vec!["/API-Key", "/client_secret"]),
            (json!({"auth": {"accessToken": "x"}}), vec!["/auth/accessToken"]),
            (json!([{"pwd": "x"}]), vec!["/0/pwd"]),
            (json!({"tokens": ["x"], "secret": ["a", "b"]}), vec!["/secret/0", "/secret/1"]),
            (json!({"passcode": 1234}), vec!["/passcode"]),
            (json!({"a/b": {"c~token": "x"}}), vec!["/a~1b/c~0token"]),
        ] {
            assert_eq!(found(&fields), pointers, "{fields}");
        }
    }

    #[test]
    fn what_only_speaks_of_credentials_is_none() {
        for fields in [
            json!({"tokenUrl": "https://id.example.com/token", "passwordField": "pw", "maxTokens": 100}),
            json!({"password": "", "token": null, "secret": true}),
            json!({"password": "{{credentials.passphrase}}", "token": "${TOKEN}", "secret": "***"}),
            json!({"text": "the password is with Anna", "url": "https://example.com:8080/a@b"}),
            json!({"nextPageToken": "x", "sync_token": "y", "header": "Bearer {token}", "scheme": "Basic", "sk": "sk-short"}),
            json!("plain"),
        ] {
            assert_eq!(found(&fields), Vec::<String>::new(), "{fields}");
        }
    }

    #[test]
    fn known_forms_of_keys_are_found_whatever_they_are_called() {
        let letters = "aB3".repeat(30);
        for text in [
            "AKIAQ3EGRS5XTU2WVZ7Y".to_owned(),
            format!("ghp_{}", &letters[..36]),
            format!("xoxb-123456789012-{}", &letters[..12]),
            format!("eyJ{}.{}.{}", &letters[..30], &letters[..30], &letters[..20]),
            "Basic YW5uYTpzZWNyZXQ=".to_owned(),
            "postgres://anna:hunter2@db.example.com/orders".to_owned(),
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----".to_owned(),
        ] {
            assert_eq!(found(&json!({"x": [text]})), ["/x/0"], "{text}");
        }
    }

    /// A text of the corpus with something random in its places, another one each time.
    fn filled(template: &str, seed: &mut u64) -> String {
        let mut random = |alphabet: &[u8]| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(alphabet[usize::try_from(*seed >> 33).unwrap() % alphabet.len()])
        };
        let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        let mut text = String::new();
        for (index, part) in template.split(['<', '>']).enumerate() {
            if index % 2 == 0 {
                text.push_str(part);
            } else if part == "u:p" {
                let pair: String = (0..9).map(|_| random(&letters[..62])).collect();
                text.push_str(&BASE64.encode(format!("anna:{pair}")));
            } else {
                let alphabet: &[u8] = match part.trim_start_matches(|c: char| c.is_ascii_digit()) {
                    "A" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
                    "d" => b"0123456789",
                    "x" => b"0123456789abcdef",
                    "_" => letters,
                    "" => &letters[..62],
                    other => panic!("{other} in {template}"),
                };
                let length = part.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
                text.extend((0..length).map(|_| random(alphabet)));
            }
        }
        text
    }

    /// The rates that docs/secrets.md tells.
    #[test]
    fn harmless_texts_are_left_alone_and_credentials_are_found() {
        const TIMES: usize = 200;
        let is_found = |text: &str| !found(&json!({"x": text})).is_empty();
        let alarms: Vec<_> = HARMLESS.iter().filter(|text| is_found(text)).collect();
        assert!(alarms.is_empty(), "false alarms: {alarms:#?}");

        let (known, unseen) = CREDENTIALS.split_at(CREDENTIALS.len() - MISSED);
        let mut seed = 1;
        for template in unseen {
            assert!(!is_found(&filled(template, &mut seed)), "{template} is found: say so");
        }
        let mut in_all = 0;
        for template in known {
            let misses = (0..TIMES).filter(|_| !is_found(&filled(template, &mut seed))).count();
            assert!(misses <= TIMES / 10, "{template} is missed {misses} times of {TIMES}");
            in_all += misses;
        }
        assert!(in_all * 100 <= known.len() * TIMES, "{in_all} misses of {}", known.len() * TIMES);
        assert_eq!((HARMLESS.len(), known.len()), (66, 40), "docs/secrets.md has these numbers");
    }

    #[test]
    fn a_megabyte_of_credentials_is_reported_within_bounds() {
        let many: Vec<_> = (0..50_000).map(|_| json!({"password": "x"})).collect();
        assert_eq!(document(&json!(many)).literal_credentials().len(), MAX_FAULTS + 1);
    }

    #[test]
    fn a_change_takes_up_the_secrets_of_nodes_that_it_changes_and_a_start_all() {
        let [a, b] = ["5ca5c44c187c040010a9bb8b", "5ca5c44c187c040010a9bb8c"];
        let node = |id: &str, secret: &str, function: &str| json!({"id": id, "credentials_id": secret, "function": function, "componentId": a});
        let graph = |nodes: Value| {
            json!({"graph": {"nodes": nodes, "edges": [{"source": "x", "target": "y"}]}}).to_string()
        };
        let anna = Caller::new("anna", None, []);
        let body = graph(json!([node("x", a, "f"), node("y", b, "f")]));
        let flow =
            Flow::create(&anna, serde_json::from_str(&body).unwrap(), ComponentCheck::AtStart, Role::Owner)
                .unwrap();
        let taken_up = |next: &Flow, before: Option<&Flow>| -> Vec<String> {
            next.secrets_taken_up(before).iter().map(ToString::to_string).collect()
        };
        assert_eq!(taken_up(&flow, None), [a, b]);
        for (nodes, secrets) in [
            (json!([node("y", b, "f"), node("x", a, "f")]), vec![]),
            (json!([node("x", a, "g"), node("y", b, "f")]), vec![a]),
            (json!([node("x", b, "f"), node("y", b, "f")]), vec![b]),
            (json!([node("x", a, "f"), node("z", b, "f"), node("y", b, "f")]), vec![b]),
        ] {
            let body = graph(nodes);
            let next =
                flow.patch(&anna, serde_json::from_str(&body).unwrap(), ComponentCheck::AtStart).unwrap();
            let next = next.unwrap_or_else(|| flow.clone());
            assert_eq!(taken_up(&next, Some(&flow)), secrets, "{body}");
        }
        let renamed =
            flow.patch(&anna, serde_json::from_str(r#"{"name":"n"}"#).unwrap(), ComponentCheck::AtStart);
        assert!(taken_up(&renamed.unwrap().unwrap(), Some(&flow)).is_empty());
        let started = flow.start(&anna).unwrap().unwrap();
        assert_eq!(taken_up(&started, Some(&flow)), [a, b]);
        let stopped = started.stop(&anna).unwrap();
        assert!(taken_up(&stopped, Some(&started)).is_empty());
        let faults = flow.unknown_secrets(None, &[b.parse().unwrap()].into());
        assert_eq!(
            (faults.len(), faults[0].pointer.as_str(), faults[0].reason),
            (1, "/graph/nodes/1/credentials_id", "node.credentials.unknown")
        );
    }
}
