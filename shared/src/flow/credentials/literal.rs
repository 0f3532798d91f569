//! Which values of a node's `fields` look like credentials: by their name, by that of a pair, or by their form.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::flow::parse::MAX_FAULTS;
use crate::flow::pointer::cut;

/// What a name says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// It is whatever a person can remember.
    Password,
    /// It is drawn by a machine.
    Key,
    /// It may be anything: only what is long and drawn counts.
    Perhaps,
}

/// Ends of names that end with a letter, in lower case and without separators. Ends, because `tokenUrl` or
/// `passwordField` only speak of a credential.
fn ends(last: u8) -> &'static [(&'static str, Said)] {
    match last {
        b'd' => &[("password", Said::Password), ("passwd", Said::Password), ("pwd", Said::Password)],
        b'e' => &[("passphrase", Said::Password), ("passcode", Said::Password), ("cookie", Said::Key)],
        b't' => &[("secret", Said::Key)],
        b'n' => &[("token", Said::Key), ("authorization", Said::Key)],
        b'g' => &[("connectionstring", Said::Key)],
        b'y' => &[
            ("apikey", Said::Key),
            ("accesskey", Said::Key),
            ("secretkey", Said::Key),
            ("privatekey", Said::Key),
            ("authkey", Said::Key),
            ("signingkey", Said::Key),
            ("encryptionkey", Said::Key),
            ("masterkey", Said::Key),
            ("accountkey", Said::Key),
            ("subscriptionkey", Said::Key),
            ("passkey", Said::Key),
        ],
        _ => &[],
    }
}

/// Names that may say so, as a whole: `sortKey` and the like do not.
const PERHAPS: [&str; 4] = ["key", "sig", "auth", "appid"];

/// Ends of names of what is no credential: positions in lists, and what makes a request happen once.
const OTHERS: [&str; 8] = [
    "pagetoken",
    "nexttoken",
    "synctoken",
    "deltatoken",
    "continuationtoken",
    "clienttoken",
    "requesttoken",
    "idempotencytoken",
];

/// First words of names of what a person reads, of switches and of counts.
const TALK: [&str; 14] = [
    "label",
    "placeholder",
    "hint",
    "help",
    "title",
    "error",
    "show",
    "hide",
    "has",
    "is",
    "use",
    "max",
    "min",
    "require",
];

/// Members that name the value beside them, and the values.
const LABELS: [&str; 13] = [
    "name",
    "key",
    "header",
    "headerName",
    "field",
    "fieldId",
    "parameter",
    "property",
    "variable",
    "p",
    "keyType",
    "keyValue",
    "parameterKey",
];
const VALUES: [&str; 9] = [
    "value",
    "v",
    "to",
    "stringValue",
    "valueValue",
    "headerValue",
    "fieldValue",
    "parameterValue",
    "default",
];

/// Parts of texts that stand for a value: of expressions, and of what is to be filled in.
const EXPRESSIONS: [&str; 8] = ["{{", "${", "{%", "<%", "#{", "@{", "$(", "%("];
const FILLERS: [&str; 14] = [
    "your",
    "xxxx",
    "***",
    "...",
    "…",
    "placeholder",
    "changeme",
    "change-me",
    "change_me",
    "replace",
    "dummy",
    "redacted",
    "example",
    "_here",
];

/// Words that are no passwords: of types, switches and kinds of authentication.
const WORDS: [&str; 26] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "none",
    "null",
    "undefined",
    "string",
    "str",
    "text",
    "number",
    "boolean",
    "required",
    "optional",
    "hidden",
    "basic",
    "bearer",
    "header",
    "query",
    "custom",
    "default",
    "cred",
    "env",
    "input",
];

/// How known kinds of keys begin, and how many characters follow at least. What follows looks random: names of
/// regions, files and flows begin so too.
const PREFIXES: [(&str, usize); 46] = [
    ("AIza", 35),
    ("ghp_", 36),
    ("gho_", 36),
    ("ghs_", 36),
    ("ghu_", 36),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("sk_test_", 16),
    ("whsec_", 24),
    ("sk-", 20),
    ("sk_", 40),
    ("xapp-", 10),
    ("SG.", 40),
    ("npm_", 36),
    ("pypi-", 40),
    ("shpat_", 32),
    ("shpss_", 32),
    ("dop_v1_", 64),
    ("hf_", 30),
    ("gsk_", 40),
    ("xai-", 40),
    ("pplx-", 32),
    ("tvly-", 20),
    ("r8_", 36),
    ("fc-", 32),
    ("key-", 32),
    ("xkeysib-", 64),
    ("apify_api_", 30),
    ("secret_", 40),
    ("ntn_", 40),
    ("lin_api_", 40),
    ("figd_", 36),
    ("sbp_", 40),
    ("dckr_pat_", 24),
    ("hvs.", 24),
    ("glsa_", 32),
    ("ATATT3", 60),
    ("EAA", 80),
    ("ya29.", 40),
    ("pat-na1-", 32),
    ("pat-eu1-", 32),
    ("sq0atp-", 22),
    ("NRAK-", 26),
    ("lsv2_pt_", 32),
];

/// Ends of hosts, and how paths begin there, of addresses that let everybody in who knows them.
const ADDRESSES: [&str; 6] = [
    "hooks.slack.com/services/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
    ".webhook.office.com/webhookb2/",
    "maker.ifttt.com/trigger/",
    "chat.googleapis.com/v1/spaces/",
];

/// With and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Looks through JSON for credentials and notes where they are, until there are more than are told.
pub(super) struct Search<'s> {
    pointer: &'s mut String,
    found: &'s mut Vec<String>,
    said: Said,
    /// Whether the text is part of a pair, and is handed back.
    is_part: bool,
}

impl<'s> Search<'s> {
    pub(super) fn new(pointer: &'s mut String, found: &'s mut Vec<String>) -> Self {
        Self { pointer, found, said: Said::Nothing, is_part: false }
    }

    fn note<E: Error>(&mut self) -> Result<(), E> {
        self.found.push(cut(self.pointer).to_owned());
        if self.found.len() > MAX_FAULTS { Err(E::custom("there are more")) } else { Ok(()) }
    }

    fn note_number<E: Error>(&mut self, is_long: bool) -> Result<Option<String>, E> {
        if self.said == Said::Password && is_long {
            self.note()?;
        }
        Ok(None)
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    /// A text that is part of a pair, and no credential by itself.
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<Self::Value, E> {
        self.note_number(number.unsigned_abs() >= 1000)
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<Self::Value, E> {
        self.note_number(number >= 1000)
    }

    fn visit_f64<E: Error>(mut self, number: f64) -> Result<Self::Value, E> {
        self.note_number(number.abs() >= 1000.0)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<Self::Value, E> {
        if is_called_so(self.said, text) || has_form(text) {
            self.note()?;
            return Ok(None);
        }
        Ok(self.is_part.then(|| text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let Self { pointer, found, said, .. } = self;
        let length = pointer.len();
        let mut index = 0_usize;
        loop {
            pointer.push('/');
            pointer.push_str(&index.to_string());
            let next = elements.next_element_seed(Search { pointer, found, said, is_part: false })?;
            pointer.truncate(length);
            index += 1;
            if next.is_none() {
                return Ok(None);
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let Self { pointer, found, said: mut label, .. } = self;
        let length = pointer.len();
        let mut values = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            pointer.push('/');
            if name.contains(['~', '/']) {
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            } else {
                pointer.push_str(&name);
            }
            let is = |names: &[&str]| names.iter().any(|other| other.eq_ignore_ascii_case(&name));
            let (is_label, is_value) = (is(&LABELS), is(&VALUES));
            let said = if is_label { Said::Nothing } else { said(&name) };
            let is_part = is_label || is_value;
            let text = members.next_value_seed(Search { pointer, found, said, is_part })?;
            match text {
                Some(text) if is_value => values.push((cut(pointer).to_owned(), text)),
                Some(text) if label == Said::Nothing => label = self::said(&text),
                _ => {}
            }
            pointer.truncate(length);
        }
        for (mut pointer, text) in values {
            if is_called_so(label, &text) {
                Search { pointer: &mut pointer, found, said: label, is_part: false }.note()?;
            }
        }
        Ok(None)
    }
}

fn said(name: &str) -> Said {
    let letters = || {
        let letters = name.bytes().rev().skip_while(|byte| !byte.is_ascii_alphabetic());
        letters.filter(u8::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase())
    };
    let ends_with = |end: &str| {
        let mut letters = letters();
        end.bytes().rev().all(|letter| letters.next() == Some(letter))
    };
    let is_perhaps = || {
        let is_header = || name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
        PERHAPS.iter().any(|whole| whole.eq_ignore_ascii_case(name)) || (is_header() && ends_with("key"))
    };
    let said = match letters().next().and_then(|last| ends(last).iter().find(|(end, _)| ends_with(end))) {
        Some((_, said)) => *said,
        None if ends_with("pass") && last_word(name).eq_ignore_ascii_case("pass") => Said::Password,
        None if is_perhaps() => Said::Perhaps,
        None => return Said::Nothing,
    };
    let is_other = OTHERS.iter().any(|end| ends_with(end));
    if is_other || TALK.iter().any(|word| starts_with_word(name, word)) {
        return Said::Nothing;
    }
    // What a person reads, such as `Forgot password`, has other values beside it.
    if name.contains(' ') { Said::Key } else { said }
}

/// That of `smtpPass` or `smtp_pass`, and all of `bypass`.
fn last_word(name: &str) -> &str {
    let word = name.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let has_small = word.bytes().any(|byte| byte.is_ascii_lowercase());
    let start = word.rfind(|c: char| c.is_ascii_uppercase()).filter(|_| has_small);
    word.get(start.unwrap_or_default()..).unwrap_or_default()
}

fn starts_with_word(name: &str, word: &str) -> bool {
    let (Some(start), Some(rest)) = (name.get(..word.len()), name.get(word.len()..)) else { return false };
    let is_small = start.ends_with(|c: char| c.is_ascii_lowercase());
    start.eq_ignore_ascii_case(word)
        && !rest.starts_with(|c: char| c.is_ascii_lowercase() || (c.is_ascii_uppercase() && !is_small))
}

/// Whether a value is what its name says.
fn is_called_so(said: Said, text: &str) -> bool {
    let text = text.trim();
    match said {
        Said::Nothing => false,
        Said::Password => is_password(text),
        Said::Key => is_key(text),
        Said::Perhaps => is_long(text),
    }
}

/// Neither prose nor a file nor one of the words that stand there in forms and settings. Passwords of programs have
/// groups of four.
fn is_password(text: &str) -> bool {
    let words = text.split_whitespace();
    (words.clone().count() == 1 || (words.clone().count() >= 4 && words.clone().all(|word| word.len() == 4)))
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
        && !text.starts_with('/')
        && !stands_for_another(text)
}

/// A drawn word, perhaps behind one that tells its kind, as in headers.
fn is_key(text: &str) -> bool {
    text.split_whitespace().count() <= 3
        && text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_drawn)
        && !stands_for_another(text)
}

fn is_long(text: &str) -> bool {
    text.len() >= 24
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'%'))
        && is_random(text)
        && !stands_for_another(text)
}

/// Whether letters and digits change as in what is drawn.
fn is_drawn(word: &str) -> bool {
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = word.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_hex = || word.len() >= 20 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    match word.len() {
        0..8 => false,
        8..16 => has_digit && has_letter && is_random(word),
        length => has_letter && (has_digit || length >= 24) && (6 * changes(word) >= length || is_hex()),
    }
}

fn changes(text: &str) -> usize {
    let changes = text.as_bytes().windows(2).filter(|pair| match pair {
        [a, b] => {
            (a.is_ascii_digit() && b.is_ascii_alphabetic())
                || (a.is_ascii_alphabetic() && b.is_ascii_digit())
                || (a.is_ascii_lowercase() && b.is_ascii_uppercase())
        }
        _ => false,
    });
    changes.count()
}

/// Whether letters and digits, capitals and others change so often as in nothing that people write: about every
/// second time where they are drawn, and at the ends of words else.
fn is_random(text: &str) -> bool {
    4 * changes(text) >= text.len()
}

/// Whether a text stands for a value that is not there: nothing, an expression, the name or the address of what holds
/// it, or something to be filled in.
fn stands_for_another(text: &str) -> bool {
    let is_in = |start, end| text.starts_with(start) && text.ends_with(end);
    let is_path = || {
        let is_identifier = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !is_drawn(part)
        };
        text.contains('.') && text.split('.').all(is_identifier)
    };
    let is_constant = || {
        let is_of = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        text.contains('_') && text.bytes().all(is_of)
    };
    let is_call = || text.ends_with(')') && text.contains('(');
    let first = text.chars().next();
    text.chars().all(|letter| Some(letter) == first)
        || text.starts_with(['$', '%'])
        || is_in('<', '>')
        || is_in('[', ']')
        || is_in('{', '}')
        || is_in('(', ')')
        || text.starts_with("__")
        || text.starts_with("arn:")
        || text.contains("://")
        || EXPRESSIONS.iter().any(|part| text.contains(part))
        || is_call()
        || is_path()
        || is_constant()
        || (said(text) != Said::Nothing && text.ends_with(|c: char| c.is_ascii_alphabetic()))
        || is_to_be_filled_in(text)
}

fn is_to_be_filled_in(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    FILLERS.iter().any(|part| text.contains(part))
}

/// Whether there is something in a text that has the form of a credential, whatever it is called.
fn has_form(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(is_of_token) {
        let (_, start) = rest.split_at(at);
        let length = start.bytes().position(|byte| !is_of_token(byte)).unwrap_or(start.len());
        let (token, after) = start.split_at(length);
        if (length >= 16 && is_known(token)) || is_introduced(token, after) {
            return true;
        }
        rest = after;
    }
    false
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The token that a text begins with.
fn token(text: &str) -> &str {
    let end = text.bytes().position(|byte| !is_of_token(byte)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Whether a token says that what follows it is a credential, and it is one.
fn is_introduced(token: &str, after: &str) -> bool {
    // Longer ones show what they are by then, and many in one text cost no more than it is long.
    let after = after.get(..after.floor_char_boundary(256)).unwrap_or_default();
    match after.as_bytes() {
        [b':', b'/', b'/', ..] => after.get(3..).is_some_and(lets_in),
        [b':', b'A', b'A', ..] if is_bot(token, after) => true,
        [b' ', ..] if token.len() <= 6 && is_header(token, after) => true,
        [b' ', ..] if token == "-----BEGIN" => has_private_key(after),
        [b'=' | b':' | b'"' | b'\'' | b'\\' | b' ' | b']', ..] => is_assigned(token, after),
        _ => false,
    }
}

/// Whether a name in a text is followed by a value that is what the name says: in a query, a header, JSON, a
/// connection string, or code.
fn is_assigned(name: &str, after: &str) -> bool {
    let quotes = ['"', '\'', '\\', '`'];
    let after = after.trim_start_matches([' ', '"', '\'', '\\', ']']);
    let Some(value) = after.strip_prefix([':', '=']) else { return false };
    if value.starts_with(['=', '/']) {
        return false;
    }
    let said = said(name);
    if said == Said::Nothing {
        return false;
    }
    let value = value.trim_start_matches(' ').trim_start_matches(quotes);
    let ends = |c: char| c.is_whitespace() || "\"'\\`&;,<>()[]{}|:=".contains(c);
    let end = value.find(ends).unwrap_or(value.len());
    let (value, rest) = value.split_at(end);
    if rest.starts_with(['(', '{', '[']) {
        return false;
    }
    match said {
        Said::Password => {
            value.len() >= 6
                && value.bytes().any(|byte| byte.is_ascii_digit())
                && value.bytes().any(|byte| byte.is_ascii_alphabetic())
                && is_password(value)
        }
        said => is_called_so(said, value),
    }
}

fn is_known(token: &str) -> bool {
    let has_prefix = || {
        PREFIXES.iter().any(|(prefix, length)| {
            prefix.bytes().next() == token.bytes().next()
                && token.strip_prefix(prefix).is_some_and(|rest| rest.len() >= *length && is_random(rest))
        })
    };
    // Drawn from capitals and few digits: 16 of them, and in 29 of 30 a digit.
    let is_aws = || {
        let rest = token.strip_prefix("AKIA").or_else(|| token.strip_prefix("ASIA"));
        rest.is_some_and(|rest| {
            rest.len() == 16
                && rest.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'))
                && rest.bytes().any(|byte| byte.is_ascii_digit())
                && !rest.ends_with("EXAMPLE")
        })
    };
    // These tell workspace and user by their numbers.
    let is_slack = || {
        let rest = token.strip_prefix("xoxb-").or_else(|| token.strip_prefix("xoxp-"));
        rest.is_some_and(|rest| rest.bytes().take_while(u8::is_ascii_digit).count() >= 10)
    };
    let is_airtable = || {
        let parts = token.strip_prefix("pat").and_then(|rest| rest.split_once('.'));
        parts.is_some_and(|(id, secret)| id.len() == 14 && secret.len() == 64)
    };
    let is_jwt = || token.starts_with("eyJ") && token.len() > 60 && token.split('.').count() == 3;
    has_prefix() || is_aws() || is_slack() || is_airtable() || is_jwt()
}

/// A value of the header `Authorization`: a bearer's token, or a user and a password in Base64 (RFC 7617).
fn is_header(scheme: &str, after: &str) -> bool {
    if scheme.eq_ignore_ascii_case("Basic") {
        let credentials = after.trim_start();
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        let credentials = credentials.split(|c| !is_base64(c)).next().unwrap_or_default();
        let pair = BASE64.decode(credentials).ok().and_then(|pair| String::from_utf8(pair).ok());
        return pair.is_some_and(|pair| {
            pair.contains(':') && !pair.contains(char::is_control) && !is_to_be_filled_in(&pair)
        });
    }
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '`' | '<' | '&' | ',');
    scheme.eq_ignore_ascii_case("Bearer") && after.trim_start().split(ends).next().is_some_and(is_key)
}

/// The token of a bot of Telegram: its number, and 35 characters.
fn is_bot(number: &str, after: &str) -> bool {
    number.bytes().rev().take_while(u8::is_ascii_digit).count() >= 8
        && after.get(1..).is_some_and(|secret| token(secret).len() == 35 && is_random(token(secret)))
}

/// Whether a URL has a password in its authority, which ends at the first `/`, `?` or `#` and has no
/// blanks (RFC 3986, 3.2), or is one that nobody is to know.
fn lets_in(rest: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || "/?#\"'<>`".contains(c);
    let (authority, path) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
    let password = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    password.is_some_and(|(_, password)| {
        !password.is_empty() && !password.contains(['{', '}', '[', ']', '*']) && !stands_for_another(password)
    }) || ADDRESSES.iter().any(|known| {
        let (host, start) = known.split_at(known.find('/').unwrap_or_default());
        let secret = path.strip_prefix(start).filter(|_| authority.ends_with(host));
        let mut parts = secret.into_iter().flat_map(|secret| secret.split(|c| "/?&=\"' ".contains(c)));
        parts.any(|part| part.len() >= 20 && is_random(part))
    })
}

/// Whether there is a private key, and not only talk of one.
fn has_private_key(after: &str) -> bool {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let key = after.split_once("PRIVATE KEY-----");
    key.is_some_and(|(kind, key)| kind.len() <= 20 && key.split(|c| !is_base64(c)).any(|run| run.len() >= 32))
}
