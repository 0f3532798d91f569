use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey};
use aws_lc_rs::signature::{EcdsaVerificationAlgorithm, VerificationAlgorithm};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::byte_stream::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::token::{AuthError, Refusal};
use crate::config::{ConfigError, no_certificates};
use crate::flow::Timestamp;
use crate::json::Plain;
use crate::telemetry::{self, Metric};

/// Keys are fetched again when they are older, so that a revoked one goes.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Keys that cannot be fetched again are used for so long: who can keep them from being fetched must not keep
/// a revoked one alive.
const MAX_USE: Duration = Duration::from_hours(24);
/// Keys are fetched at most this often, whatever tokens come in.
const MIN_INTERVAL: Duration = Duration::from_secs(30);
/// Where a token can be neither accepted nor refused, they are asked for as often as clients are told to come back.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const MAX_JWKS_BYTES: usize = 256 * 1024;
/// More keys than these are passed over without a word.
const MAX_WORDS: usize = 20;
/// Firewalls refuse requests that do not say who asks, such as AWS WAF by its common rules.
const USER_AGENT: &str = concat!("flow-repository/", env!("CARGO_PKG_VERSION"));

/// Where the keys come from that tokens are verified with.
#[derive(Clone)]
pub enum KeySource {
    /// A JWKS (RFC 7517) as text.
    Inline(String),
    /// A file with a JWKS, read once.
    File(PathBuf),
    /// A JWKS behind a URL: https, or http on loopback.
    Url {
        /// The URL.
        url: String,
        /// Certificates (PEM) to trust there, instead of the system's.
        authority: Option<String>,
    },
    /// A secret shared with the issuer, for HS256.
    Secret(String),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no JWKS.
    #[error("the JWKS is not valid JSON")]
    Parse(#[source] serde_json::Error),
    /// There is no key in it that a token could be verified with.
    #[error("the JWKS has no usable key")]
    Empty,
    /// The URL did not answer with a JWKS.
    #[error("cannot fetch the JWKS: {0}")]
    Fetch(&'static str),
}

/// A public key with the algorithms it may be used for.
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
}

pub(super) enum Keys {
    Secret(Arc<Key>),
    Fixed(KeySet),
    Fetched(Box<FetchedKeys>),
}

/// A secret shorter than its hash is weaker than HS256 promises (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

impl Keys {
    pub(super) fn open(source: &KeySource) -> Result<Self, ConfigError> {
        let wrong = |name, problem: String| ConfigError { name, problem: problem.into() };
        let fixed = |text: &[u8]| {
            KeySet::parse(text).map(Self::Fixed).map_err(|error| match error {
                KeyError::Parse(error) => {
                    wrong("AUTH_JWKS", format!("is no JWKS, as JSON or in a file: {error}"))
                }
                error => wrong("AUTH_JWKS", format!("does not do: {error}")),
            })
        };
        Ok(match source {
            KeySource::Inline(text) => fixed(text.as_bytes())?,
            KeySource::File(path) => fixed(&std::fs::read(path).map_err(|error| {
                wrong(
                    "AUTH_JWKS",
                    format!("is neither a JWKS nor the path of a file that can be read: {error}"),
                )
            })?)?,
            KeySource::Url { url, authority } => Self::Fetched(Box::new(
                FetchedKeys::new(url.clone(), authority.as_deref())
                    .ok_or_else(|| no_certificates("AUTH_JWKS_CA"))?,
            )),
            KeySource::Secret(secret) if secret.len() < MIN_SECRET_BYTES => {
                return Err(wrong("AUTH_HS256_SECRET", format!("has fewer than {MIN_SECRET_BYTES} bytes")));
            }
            KeySource::Secret(secret) => {
                let decoding = DecodingKey::from_secret(secret.as_bytes());
                Self::Secret(Arc::new(Key { decoding, kid: None, algorithms: vec![Algorithm::HS256] }))
            }
        })
    }

    /// Fetches them before a token needs them, if they are to be fetched.
    pub(super) async fn prefetch(&self) -> Result<(), KeyError> {
        match self {
            Self::Fetched(keys) => keys.prefetch().await,
            Self::Secret(_) | Self::Fixed(_) => Ok(()),
        }
    }

    /// The key for a token of this id and algorithm.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, AuthError> {
        let is_symmetric = algorithm.family() == AlgorithmFamily::Hmac;
        match self {
            Self::Secret(key) if key.algorithms.contains(&algorithm) => Ok(Arc::clone(key)),
            // A symmetric key never verifies anything beside public ones (RFC 8725, 3.1).
            Self::Fixed(keys) if !is_symmetric => Ok(keys.find(kid, algorithm)?),
            Self::Fetched(keys) if !is_symmetric => keys.find(kid, algorithm).await,
            _ => Err(Refusal::Alg.into()),
        }
    }
}

/// The usable keys of a JWKS.
#[derive(Default)]
pub(super) struct KeySet(Vec<Arc<Key>>);

impl KeySet {
    /// Those of unknown kinds are passed over, as RFC 7517 (5) wants, and so is what can never verify anything.
    fn parse(text: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Plain>,
        }

        let set: Set = serde_json::from_slice(text).map_err(KeyError::Parse)?;
        let (mut keys, mut passed_over) = (Vec::new(), 0);
        for Plain(jwk) in set.keys {
            let (id, kind) = (word(&jwk, "kid"), word(&jwk, "kty"));
            match Key::read(jwk) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(why) if passed_over < MAX_WORDS => {
                    passed_over += 1;
                    tracing::warn!(kid = id, kind, why, "jwks.key_passed_over");
                }
                Err(_) => {}
            }
        }
        // A key for all algorithms of its kind must not hide one for the token's alone.
        keys.sort_by_key(|key| key.algorithms.len());
        let is_rivalled = |key: &Arc<Key>| {
            let mut others = keys.iter().filter(|other| !Arc::ptr_eq(key, other));
            others.any(|other| key.algorithms.iter().any(|own| other.algorithms.contains(own)))
        };
        if keys.iter().any(|key| key.kid.is_none() && is_rivalled(key)) {
            tracing::warn!("jwks.kid_missing");
        }
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self(keys)) }
    }

    /// By id and algorithm (RFC 7517, 4.5); without an id the one that fits (RFC 7515, 4.1.4).
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Refusal> {
        let is_named = |key: &&Arc<Key>| kid.is_none() || key.kid.as_deref() == kid;
        let fits = |key: &&Arc<Key>| is_named(key) && key.algorithms.contains(&algorithm);
        let mut fitting = self.0.iter().filter(fits);
        let key = fitting.next().ok_or(Refusal::Kid)?;
        if kid.is_none() && fitting.next().is_some() {
            return Err(Refusal::KidAmbiguous);
        }
        Ok(Arc::clone(key))
    }
}

/// A member for the log.
fn word(jwk: &Value, name: &str) -> String {
    jwk.get(name).and_then(Value::as_str).unwrap_or_default().chars().take(64).collect()
}

/// What is read of a key (RFC 7517, 4; RFC 7518, 6; RFC 8037, 2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// A key of which a token may be, or why none can be.
    fn read(jwk: Value) -> Result<Self, &'static str> {
        let jwk: Jwk = serde_json::from_value(jwk).map_err(|_| "a member is missing or of another type")?;
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
            || jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|of| of == "verify"))
        {
            return Err("it is not for signatures");
        }
        let (decoding, mut algorithms) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (rsa(&jwk)?, RSA_ALGORITHMS.to_vec()),
            ("EC", Some("P-256")) => (point(&jwk, &ECDSA_P256_SHA256_FIXED)?, vec![Algorithm::ES256]),
            ("EC", Some("P-384")) => (point(&jwk, &ECDSA_P384_SHA384_FIXED)?, vec![Algorithm::ES384]),
            ("OKP", Some("Ed25519")) => {
                let public = parsed(&ED25519, &bytes(jwk.x.as_deref())?)?;
                (DecodingKey::from_ed_der(&public), vec![Algorithm::EdDSA])
            }
            _ => return Err("its kind is not taken"),
        };
        if let Some(name) = &jwk.alg {
            algorithms.retain(|own| algorithm(name) == Some(*own));
        }
        if algorithms.is_empty() {
            return Err("its algorithm is not taken, or not of its kind");
        }
        Ok(Self { decoding, kid: jwk.kid, algorithms })
    }
}

const RSA_ALGORITHMS: [Algorithm; 6] = {
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    [RS256, RS384, RS512, PS256, PS384, PS512]
};

/// The algorithm of this name in a header or a key.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    // RFC 9864 has a name for each curve, and keeps the old one.
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}

fn bytes(member: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let member = member.ok_or("a member is missing or of another type")?;
    URL_SAFE_NO_PAD.decode(member).map_err(|_| "a member is not base64url")
}

/// A number without the zeros that some libraries put in front of it, and that verification does not take.
fn number(member: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let bytes = bytes(member)?;
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

fn rsa(jwk: &Jwk) -> Result<DecodingKey, &'static str> {
    let (n, e) = (number(jwk.n.as_deref())?, number(jwk.e.as_deref())?);
    let leading = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(2048..=8192).contains(&(n.len() * 8 - leading)) {
        return Err("it does not have 2,048 to 8,192 bits");
    }
    if e.len() > 4 || e == [1] || e.last().is_none_or(|last| last % 2 == 0) {
        return Err("its exponent is none");
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn point(jwk: &Jwk, curve: &'static EcdsaVerificationAlgorithm) -> Result<DecodingKey, &'static str> {
    let (x, y) = (bytes(jwk.x.as_deref())?, bytes(jwk.y.as_deref())?);
    Ok(DecodingKey::from_ec_der(&parsed(curve, &[&[4], &x[..], &y[..]].concat())?))
}

/// The same, if it is a public key of this kind.
fn parsed(kind: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<Vec<u8>, &'static str> {
    ParsedPublicKey::new(kind, key).map_err(|_| "it is no point of its curve")?;
    Ok(key.to_vec())
}

pub(super) struct FetchedKeys {
    url: String,
    connector: Connector,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: KeySet,
    fetched: Option<Timestamp>,
    attempted: Option<Timestamp>,
    /// Whether the last attempt was in vain.
    has_failed: bool,
}

impl FetchedKeys {
    fn new(url: String, authority: Option<&str>) -> Option<Self> {
        Some(Self { url, connector: connector(authority)?, state: Mutex::default() })
    }

    async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, AuthError> {
        // Held while fetching, so that requests that come together fetch once.
        let mut state = self.state.lock().await;
        let now = Timestamp::now();
        let younger = |time: Option<Timestamp>, than: Duration| {
            time.is_some_and(|time| u128::from(now.millis().saturating_sub(time.millis())) < than.as_millis())
        };
        let is_in_use = younger(state.fetched, MAX_USE);
        let known = if is_in_use { state.keys.find(kid, algorithm) } else { Err(Refusal::Kid) };
        let is_decided = !matches!(known, Err(Refusal::Kid)) && younger(state.fetched, MAX_AGE);
        let interval = if known.is_err() && state.has_failed { UNKNOWN_INTERVAL } else { MIN_INTERVAL };
        if is_decided || younger(state.attempted, interval) {
            return match known {
                Err(Refusal::Kid) if state.has_failed => {
                    Err(AuthError::NoKeys(KeyError::Fetch("the last attempt failed")))
                }
                known => Ok(known?),
            };
        }
        state.attempted = Some(now);
        // Also if this request's time is up before there is an answer.
        state.has_failed = true;
        match (self.fetch().await, known) {
            (Ok(keys), _) => {
                *state = State { keys, fetched: Some(now), attempted: Some(now), has_failed: false };
                Ok(state.keys.find(kid, algorithm)?)
            }
            // Better the keys of some hours ago than no service.
            (Err(_), Ok(known)) => Ok(known),
            (Err(error), Err(_)) => Err(AuthError::NoKeys(error)),
        }
    }

    /// Should it fail, the first token is no second attempt that has to wait.
    async fn prefetch(&self) -> Result<(), KeyError> {
        let mut state = self.state.lock().await;
        let (keys, now) = (self.fetch().await?, Some(Timestamp::now()));
        *state = State { keys, fetched: now, attempted: now, has_failed: false };
        Ok(())
    }

    /// What fails for a moment is not seen.
    async fn fetch(&self) -> Result<KeySet, KeyError> {
        let mut keys = self.attempt().await;
        if keys.is_err() {
            keys = self.attempt().await;
        }
        if let Err(error) = &keys {
            tracing::warn!(error = %error, "jwks.refresh_failed");
            telemetry::measure(&[(Metric::KeyFetchFailures, 1)]);
        }
        keys
    }

    async fn attempt(&self) -> Result<KeySet, KeyError> {
        let mut request = HttpRequest::empty();
        request.set_uri(self.url.as_str()).map_err(|_| KeyError::Fetch("the URL is not valid"))?;
        let headers = request.headers_mut();
        headers.insert("user-agent", USER_AGENT);
        headers.insert("accept", "application/json");
        headers.insert("accept-encoding", "identity");
        let response = async {
            let response = self.connector.call(request).await.map_err(|_| KeyError::Fetch("no answer"))?;
            if !response.status().is_success() {
                return Err(KeyError::Fetch("the answer is not a success"));
            }
            let mut stream = ByteStream::new(response.into_body());
            let mut body = Vec::new();
            while let Some(chunk) =
                stream.try_next().await.map_err(|_| KeyError::Fetch("the answer broke off"))?
            {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_JWKS_BYTES {
                    return Err(KeyError::Fetch("the answer is too large"));
                }
            }
            Ok(body)
        };
        let body = tokio::time::timeout(FETCH_TIMEOUT, response)
            .await
            .map_err(|_| KeyError::Fetch("no answer in time"))?;
        KeySet::parse(&body?)
    }

    /// As if so much time had passed.
    #[cfg(test)]
    async fn age(&self, by: Duration) {
        let mut state = self.state.lock().await;
        state.fetched = state.fetched.map(|time| time.minus(by));
        state.attempted = state.attempted.map(|time| time.minus(by));
    }
}

#[cfg(test)]
impl Keys {
    pub(super) async fn age(&self, by: Duration) {
        if let Self::Fetched(keys) = self {
            keys.age(by).await;
        }
    }
}

/// Whether a text (PEM) has certificates, and each begins like one. To decode them would be a twentieth of a start,
/// to parse them half of one.
pub(crate) fn are_certificates(text: &str) -> bool {
    // A sequence of more than 127 bytes, in Base64.
    let begins_like_one = |body: &str| body.trim_start().starts_with("MI");
    let mut bodies = bodies(text).peekable();
    bodies.peek().is_some() && bodies.all(begins_like_one)
}

/// Each request has a connection of its own: one that was kept while a sandbox was frozen is dead.
fn connector(authority: Option<&str>) -> Option<Connector> {
    let builder = Connector::builder().pool_max_idle_per_host(0);
    let builder = builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    let Some(authority) = authority.map(certificates) else { return Some(builder.build()) };
    if authority.is_empty() {
        return None;
    }
    let trust = TrustStore::empty().with_pem_certificate(authority);
    let context = TlsContext::builder().with_trust_store(trust).build().ok()?;
    // The library panics over what is no certificate. That is said in other words.
    let build = || builder.tls_context(context).build();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let connector = std::panic::catch_unwind(std::panic::AssertUnwindSafe(build));
    std::panic::set_hook(hook);
    connector.ok()
}

/// The certificates of a text (PEM), whose line breaks may have become blanks on their way here.
fn certificates(text: &str) -> String {
    let certificate = |body: &str| {
        let body = body.split_whitespace().collect::<String>();
        format!("{BEGIN}\n{body}\n{END}\n")
    };
    bodies(text).map(certificate).collect()
}

/// Their Base64, with its line breaks.
fn bodies(text: &str) -> impl Iterator<Item = &str> {
    text.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END)).map(|(body, _)| body)
}
