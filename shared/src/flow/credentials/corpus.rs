//! How well credentials are found. The corpus is `fields` of nodes, as four families of flows have them (n8n, Node-RED,
//! Step Functions and Kestra, elastic.io), all invented. `held_out.json` was written before the rules, and none was
//! changed for it; `tuned.json` is what they were made with.
//!
//! A text that begins with `!` is a credential, and every other value is none. What is random in them is put in when a
//! test runs, so that no scanner takes the files for a leak: `‹16A›` stands for 16 random capitals and digits 2 to 7,
//! `‹36›` for letters and digits, `‹43_›` for those with `-` and `_`, `‹32x›` for hexadecimal digits, `‹12d›` for
//! digits, `‹u:p›` for the Base64 of a user and a password.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::tests::found;

/// How often each node is looked at, with other random characters each time.
const TIMES: u32 = 20;

/// Makes random characters, the same ones in every run.
struct Random(u64);

impl Random {
    fn of(&mut self, alphabet: &[u8]) -> char {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(alphabet[usize::try_from(self.0 >> 33).unwrap() % alphabet.len()])
    }

    fn fill(&mut self, template: &str) -> String {
        let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        let mut text = String::new();
        for (index, part) in template.split(['‹', '›']).enumerate() {
            if index % 2 == 0 {
                text.push_str(part);
            } else if part == "u:p" {
                let password: String = (0..9).map(|_| self.of(&letters[..62])).collect();
                text.push_str(&BASE64_STANDARD.encode(format!("anna:{password}")));
            } else {
                let kind = part.trim_start_matches(|c: char| c.is_ascii_digit());
                let alphabet: &[u8] = match kind {
                    "A" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
                    "d" => b"0123456789",
                    "x" => b"0123456789abcdef",
                    "_" => letters,
                    "" => &letters[..62],
                    other => panic!("{other} in {template}"),
                };
                let length: usize = part.strip_suffix(kind).unwrap().parse().unwrap();
                text.extend((0..length).map(|_| self.of(alphabet)));
            }
        }
        text
    }
}

/// What was found in a half of the corpus, over all times.
#[derive(Default)]
pub(super) struct Rates {
    values: u32,
    credentials: u32,
    found: u32,
    alarms: u32,
    /// What was missed, or was no credential, at least once.
    pub(super) wrong: BTreeSet<String>,
}

impl Rates {
    pub(super) fn of(corpus: &str) -> Self {
        let nodes: Vec<Value> = serde_json::from_str(corpus).unwrap();
        let mut rates = Self::default();
        let mut random = Random(1);
        for _ in 0..TIMES {
            for (index, node) in nodes.iter().enumerate() {
                let (mut fields, mut credentials) = (node.clone(), BTreeSet::new());
                rates.values += prepare(&mut fields, "", &mut random, &mut credentials);
                let found: BTreeSet<String> = found(&fields).into_iter().collect();
                rates.credentials += u32::try_from(credentials.len()).unwrap();
                rates.found += u32::try_from(found.intersection(&credentials).count()).unwrap();
                rates.alarms += u32::try_from(found.difference(&credentials).count()).unwrap();
                let wrong = found.symmetric_difference(&credentials);
                rates.wrong.extend(wrong.map(|pointer| format!("{index}{pointer}")));
            }
        }
        rates
    }

    pub(super) fn precision(&self) -> f64 {
        f64::from(self.found) / f64::from(self.found + self.alarms)
    }

    pub(super) fn recall(&self) -> f64 {
        f64::from(self.found) / f64::from(self.credentials)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (values, credentials) = (self.values / TIMES, self.credentials / TIMES);
        let (precision, recall) = (100.0 * self.precision(), 100.0 * self.recall());
        write!(
            formatter,
            "{values} values, {credentials} of them credentials; precision {precision:.1} %, recall {recall:.1} %"
        )
    }
}

/// Fills the templates, notes which of them are credentials, and tells how many values there are.
fn prepare(value: &mut Value, pointer: &str, random: &mut Random, credentials: &mut BTreeSet<String>) -> u32 {
    match value {
        Value::Array(elements) => {
            let prepared = elements
                .iter_mut()
                .enumerate()
                .map(|(index, element)| prepare(element, &format!("{pointer}/{index}"), random, credentials));
            prepared.sum()
        }
        Value::Object(members) => {
            let prepared = members.iter_mut().map(|(name, member)| {
                let name = name.replace('~', "~0").replace('/', "~1");
                prepare(member, &format!("{pointer}/{name}"), random, credentials)
            });
            prepared.sum()
        }
        Value::String(text) => {
            if let Some(credential) = text.strip_prefix('!') {
                credentials.insert(pointer.to_owned());
                *text = credential.to_owned();
            }
            *text = random.fill(text);
            1
        }
        _ => 1,
    }
}
