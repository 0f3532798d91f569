use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::byte_stream::ByteStream;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;

use crate::flow::Timestamp;

/// Keys are fetched again when they are older, so that a revoked one goes.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Keys are fetched at most this often, whatever tokens come in.
const MIN_INTERVAL: Duration = Duration::from_secs(30);
/// Until there are any, they are fetched as often as clients are told to come back.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_JWKS_BYTES: usize = 256 * 1024;

/// Where the keys come from that tokens are verified with.
#[derive(Clone)]
pub enum KeySource {
    /// A JWKS (RFC 7517) as text.
    Inline(String),
    /// A file with a JWKS, read once.
    File(PathBuf),
    /// A JWKS behind a URL: https, or http on loopback.
    Url(String),
    /// A secret shared with the issuer, for HS256.
    Secret(String),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the JWKS file")]
    File(#[source] std::io::Error),
    /// The text is no JWKS.
    #[error("the JWKS is not valid JSON")]
    Parse(#[source] serde_json::Error),
    /// There is no key in it that a token could be verified with.
    #[error("the JWKS has no usable key")]
    Empty,
    /// The secret is shorter than HS256 wants it.
    #[error("AUTH_HS256_SECRET has fewer than {MIN_SECRET_BYTES} bytes")]
    ShortSecret,
    /// The URL did not answer with a JWKS.
    #[error("cannot fetch the JWKS: {0}")]
    Fetch(&'static str),
}

/// A public key with the algorithms it may be used for.
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

pub(super) enum Keys {
    Secret(Arc<Key>),
    Fixed(HashMap<String, Arc<Key>>),
    Fetched(Box<FetchedKeys>),
}

/// A secret shorter than its hash is weaker than HS256 promises (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

impl Keys {
    pub(super) fn open(source: &KeySource) -> Result<Self, KeyError> {
        Ok(match source {
            KeySource::Inline(text) => Self::Fixed(parse(text.as_bytes())?),
            KeySource::File(path) => Self::Fixed(parse(&std::fs::read(path).map_err(KeyError::File)?)?),
            KeySource::Url(url) => Self::Fetched(Box::new(FetchedKeys::new(url.clone()))),
            KeySource::Secret(secret) if secret.len() < MIN_SECRET_BYTES => {
                return Err(KeyError::ShortSecret);
            }
            KeySource::Secret(secret) => {
                let decoding = DecodingKey::from_secret(secret.as_bytes());
                Self::Secret(Arc::new(Key { decoding, algorithms: vec![Algorithm::HS256] }))
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

    /// The key a token names, `None` when there is no such key.
    pub(super) async fn find(&self, kid: Option<&str>) -> Result<Option<Arc<Key>>, KeyError> {
        match (self, kid) {
            (Self::Secret(key), _) => Ok(Some(Arc::clone(key))),
            (_, None) => Ok(None),
            (Self::Fixed(keys), Some(kid)) => Ok(keys.get(kid).cloned()),
            (Self::Fetched(keys), Some(kid)) => keys.find(kid).await,
        }
    }
}

pub(super) struct FetchedKeys {
    url: String,
    connector: Connector,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: HashMap<String, Arc<Key>>,
    fetched: Option<Timestamp>,
    attempted: Option<Timestamp>,
}

impl FetchedKeys {
    fn new(url: String) -> Self {
        let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build();
        Self { url, connector, state: Mutex::default() }
    }

    async fn find(&self, kid: &str) -> Result<Option<Arc<Key>>, KeyError> {
        // Held while fetching, so that requests that come together fetch once.
        let mut state = self.state.lock().await;
        let now = Timestamp::now();
        let younger = |time: Option<Timestamp>, than: Duration| {
            time.is_some_and(|time| u128::from(now.millis().saturating_sub(time.millis())) < than.as_millis())
        };
        let known = state.keys.get(kid).cloned();
        let interval = if state.fetched.is_some() { MIN_INTERVAL } else { FIRST_INTERVAL };
        if (known.is_some() && younger(state.fetched, MAX_AGE)) || younger(state.attempted, interval) {
            return match known {
                None if state.fetched.is_none() => Err(KeyError::Fetch("the last attempt failed")),
                known => Ok(known),
            };
        }
        state.attempted = Some(now);
        match self.fetch().await {
            Ok(keys) => {
                state.keys = keys;
                state.fetched = Some(now);
                Ok(state.keys.get(kid).cloned())
            }
            // Better the keys of an hour ago than no service.
            Err(error) if state.fetched.is_some() => {
                tracing::warn!(error = %error, "jwks.refresh_failed");
                Ok(known)
            }
            Err(error) => Err(error),
        }
    }

    /// Should it fail, the first token is no second attempt that has to wait.
    async fn prefetch(&self) -> Result<(), KeyError> {
        let mut state = self.state.lock().await;
        let (keys, now) = (self.fetch().await?, Some(Timestamp::now()));
        *state = State { keys, fetched: now, attempted: now };
        Ok(())
    }

    async fn fetch(&self) -> Result<HashMap<String, Arc<Key>>, KeyError> {
        let mut request = HttpRequest::empty();
        request.set_uri(self.url.as_str()).map_err(|_| KeyError::Fetch("the URL is not valid"))?;
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
        parse(&body?)
    }
}

/// The usable keys of a JWKS; those of unknown kinds are passed over, as RFC 7517 (5) wants.
fn parse(text: &[u8]) -> Result<HashMap<String, Arc<Key>>, KeyError> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }

    let set: Set = serde_json::from_slice(text).map_err(KeyError::Parse)?;
    let mut keys = HashMap::new();
    for jwk in set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()) {
        let Some(kid) = jwk.common.key_id.clone() else {
            continue;
        };
        let algorithms = algorithms(&jwk);
        if algorithms.is_empty() || keys.contains_key(&kid) {
            continue;
        }
        if let Ok(decoding) = DecodingKey::from_jwk(&jwk) {
            keys.insert(kid, Arc::new(Key { decoding, algorithms }));
        }
    }
    if keys.is_empty() { Err(KeyError::Empty) } else { Ok(keys) }
}

/// What a key may verify: its kind decides, and its `alg`, `use` and `key_ops` where it has them. A
/// symmetric key never verifies anything here (RFC 8725, 3.1).
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|u| *u != PublicKeyUse::Signature)
        || common.key_operations.as_ref().is_some_and(|ops| !ops.contains(&KeyOperations::Verify))
    {
        return Vec::new();
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => Vec::new(),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![EdDSA]
        }
        _ => Vec::new(),
    };
    if let Some(algorithm) = common.key_algorithm {
        algorithms.retain(|own| key_algorithm(*own) == Some(algorithm));
    }
    algorithms
}

fn key_algorithm(algorithm: Algorithm) -> Option<KeyAlgorithm> {
    serde_json::to_value(algorithm).and_then(serde_json::from_value).ok()
}
