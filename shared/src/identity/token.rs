use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, crypto};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Caller;
use super::keys::{KeyError, KeySource, Keys, algorithm};
use crate::config::ConfigError;
use crate::flow::Timestamp;
use crate::json::Plain;

/// Clocks may differ by this many seconds.
const LEEWAY: u64 = 60;
/// API Gateway lets no longer header through.
const MAX_TOKEN_BYTES: usize = 10 * 1024;
/// Users and tenants become keys in the table.
const MAX_ID_CHARACTERS: usize = 256;
/// Where identity providers write what somebody may do.
const PERMISSION_CLAIMS: [&str; 5] = ["permissions", "scope", "scp", "scopes", "roles"];

type Claims = Map<String, Value>;

/// Which tokens are accepted, and what they say of the caller; docs/identity.md.
#[derive(Clone)]
pub struct AuthSettings {
    /// The one `iss` that is accepted.
    pub issuer: String,
    /// Of these, one must be in `aud`.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are.
    pub keys: KeySource,
    /// The claim that stands in for `aud` in a token that has none.
    pub client_claim: Option<&'static str>,
    /// The claim that names the caller's tenant.
    pub tenant_claim: String,
    /// The claims that name what the caller may do; the first that names anything counts.
    pub permission_claims: Vec<String>,
    /// What the names of permissions begin with in a token.
    pub permission_prefix: Option<String>,
    /// What groups may, by their names in a token.
    pub groups: BTreeMap<String, Vec<String>>,
}

impl AuthSettings {
    /// With the defaults for everything that need not be set.
    #[must_use]
    pub fn new(issuer: &str, audience: &str, keys: KeySource) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            keys,
            client_claim: None,
            tenant_claim: "tenant".into(),
            permission_claims: PERMISSION_CLAIMS.map(Into::into).into(),
            permission_prefix: None,
            groups: BTreeMap::new(),
        }
    }

    /// What RFC 7519 (4.1) wants of the claims that say for whom and for how long a token is.
    fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        let now = Timestamp::now().seconds();
        let ends = claims.get("exp").and_then(seconds).ok_or(Refusal::Exp)?;
        if ends.saturating_add(LEEWAY) < now {
            return Err(Refusal::Exp);
        }
        if let Some(begins) = claims.get("nbf")
            && seconds(begins).is_none_or(|begins| begins > now + LEEWAY)
        {
            return Err(Refusal::Nbf);
        }
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Refusal::Iss);
        }
        let is_own = |name: &Value| {
            name.as_str().is_some_and(|name| self.audiences.iter().any(|audience| audience == name))
        };
        let is_for_us = match (claims.get("aud"), self.client_claim) {
            (None | Some(Value::Null), client) => {
                client.and_then(|claim| claims.get(claim)).is_some_and(is_own)
            }
            (Some(Value::Array(names)), _) => names.iter().any(is_own),
            (Some(name), _) => is_own(name),
        };
        if is_for_us { Ok(()) } else { Err(Refusal::Aud) }
    }

    /// Whom the claims describe.
    fn caller(&self, claims: &Claims) -> Result<Caller, Refusal> {
        let sub = claims.get("sub").and_then(Value::as_str).filter(|sub| is_id(sub)).ok_or(Refusal::Sub)?;
        let tenant = claim(claims, &self.tenant_claim).map_or(Ok(None), tenant)?;
        let found = self.permission_claims.iter().filter_map(|name| claim(claims, name));
        let names = found.map(names).find(|names| !names.is_empty()).unwrap_or_default();
        let permissions = names.into_iter().flat_map(|name| self.permissions(name));
        Ok(Caller::new(sub, tenant, permissions.map(ToOwned::to_owned)))
    }

    /// What a name in a token stands for. With a prefix or groups only what has it or is one, for another name may
    /// be called like a permission and mean something else.
    fn permissions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let group = self.groups.get(name);
        let own = match &self.permission_prefix {
            _ if group.is_some() => None,
            Some(prefix) => name.strip_prefix(prefix.as_str()),
            None => self.groups.is_empty().then_some(name),
        };
        own.into_iter().chain(group.into_iter().flatten().map(String::as_str))
    }
}

/// Why a request has no caller.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization` header.
    #[error("the authorization header is missing")]
    MissingHeader,
    /// The header is not `Bearer` and one token.
    #[error("the authorization header is not a bearer token")]
    InvalidHeader,
    /// The token is not valid: why is for the log alone.
    #[error("the token is not valid")]
    InvalidToken(Refusal),
    /// Tokens cannot be verified now.
    #[error("there are no keys to verify tokens with")]
    NoKeys(#[source] KeyError),
}

impl AuthError {
    /// A word for the check that failed.
    #[must_use]
    pub const fn check(&self) -> &'static str {
        match self {
            Self::MissingHeader => "header.missing",
            Self::InvalidHeader => "header.form",
            Self::InvalidToken(refusal) => refusal.as_str(),
            Self::NoKeys(_) => "keys",
        }
    }
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidToken(refusal)
    }
}

/// The check that a token has not passed; docs/identity.md says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the names of what is checked")]
pub enum Refusal {
    Form,
    Typ,
    Crit,
    Alg,
    Kid,
    KidAmbiguous,
    Signature,
    Exp,
    Nbf,
    Iss,
    Aud,
    Sub,
    Tenant,
    TenantSeveral,
}

impl Refusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Typ => "typ",
            Self::Crit => "crit",
            Self::Alg => "alg",
            Self::Kid => "kid",
            Self::KidAmbiguous => "kid.ambiguous",
            Self::Signature => "signature",
            Self::Exp => "exp",
            Self::Nbf => "nbf",
            Self::Iss => "iss",
            Self::Aud => "aud",
            Self::Sub => "sub",
            Self::Tenant => "tenant",
            Self::TenantSeveral => "tenant.several",
        }
    }
}

/// Turns the `Authorization` header into a [`Caller`].
pub struct Verifier {
    settings: AuthSettings,
    keys: Keys,
}

impl Verifier {
    /// Opens the key source; a URL is asked by [`Self::fetch_keys`], or when a token needs it.
    ///
    /// # Errors
    /// When fixed keys cannot be read.
    pub fn new(settings: AuthSettings) -> Result<Self, ConfigError> {
        Ok(Self { keys: Keys::open(&settings.keys)?, settings })
    }

    /// Fetches the keys before the first token, if they come from a URL.
    ///
    /// # Errors
    /// When the URL does not answer with keys.
    pub async fn fetch_keys(&self) -> Result<(), KeyError> {
        self.keys.prefetch().await
    }

    /// The caller that the header proves, by RFC 7519 (7.2) with the advice of RFC 8725.
    ///
    /// # Errors
    /// See [`AuthError`]; every kind of invalid token gives the same.
    pub async fn verify(&self, header: Option<&str>) -> Result<Caller, AuthError> {
        let token = bearer(header.ok_or(AuthError::MissingHeader)?).ok_or(AuthError::InvalidHeader)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Form.into());
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Form)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Form)?;
        let header = Header::read(header)?;
        let algorithm = header.check()?;
        let key = self.keys.find(header.kid.as_deref(), algorithm).await?;
        if !crypto::verify(signature, message.as_bytes(), &key.decoding, algorithm).unwrap_or(false) {
            return Err(Refusal::Signature.into());
        }
        let claims = serde_json::from_slice(&decode(claims)?);
        let Ok(Plain(Value::Object(claims))) = claims else { return Err(Refusal::Form.into()) };
        self.settings.check(&claims)?;
        Ok(self.settings.caller(&claims)?)
    }

    /// As if its keys were older by so much.
    #[cfg(test)]
    pub(super) async fn age_keys(&self, by: Duration) {
        self.keys.age(by).await;
    }
}

/// What is read of a token's header (RFC 7515, 4.1): nothing in it says where a key is.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// Whatever it says, `null` too.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Header {
    fn read(part: &str) -> Result<Self, Refusal> {
        serde_json::from_slice(&decode(part)?).map_err(|_| Refusal::Form)
    }

    /// The algorithm, if it is a token for an API.
    fn check(&self) -> Result<Algorithm, Refusal> {
        let typ = self.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(typ.trim_start_matches("application/"), "jwt" | "at+jwt") {
            return Err(Refusal::Typ);
        }
        if self.crit {
            return Err(Refusal::Crit);
        }
        algorithm(&self.alg).ok_or(Refusal::Alg)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Form)
}

/// A time in seconds, which may have a fraction.
fn seconds(time: &Value) -> Option<u64> {
    let whole = |time| Duration::try_from_secs_f64(time).ok().map(|time| time.as_secs());
    time.as_u64().or_else(|| time.as_f64().and_then(whole))
}

/// A claim of this name; if there is none, that to which its dots lead through objects, whose names may have
/// dots themselves.
fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        name.match_indices('.')
            .find_map(|(dot, _)| claim(claims.get(name.get(..dot)?)?.as_object()?, name.get(dot + 1..)?))
    })
}

/// The names in a claim: the elements of an array, or what stands between the blanks of a text.
fn names(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(text) => text.split_ascii_whitespace().collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The one tenant that a claim names: a text, a list of one, or an object of one, whose name it is.
fn tenant(claim: &Value) -> Result<Option<&str>, Refusal> {
    let (first, count) = match claim {
        Value::Null => (None, 0),
        Value::String(tenant) => (Some(tenant.as_str()), 1),
        Value::Array(list) => (list.first().and_then(Value::as_str), list.len()),
        Value::Object(members) => (members.keys().next().map(String::as_str), members.len()),
        _ => (None, 1),
    };
    match (first, count) {
        (_, 0) => Ok(None),
        (Some(tenant), 1) if is_id(tenant) => Ok(Some(tenant)),
        (_, 1) => Err(Refusal::Tenant),
        _ => Err(Refusal::TenantSeveral),
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && (id.len() <= MAX_ID_CHARACTERS || id.chars().count() <= MAX_ID_CHARACTERS)
}

/// The token of `Bearer <token>` (RFC 6750, 2.1): the scheme in any case, one space, one token.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let one = !token.is_empty() && !token.contains(char::is_whitespace);
    (scheme.eq_ignore_ascii_case("bearer") && one).then_some(token)
}
