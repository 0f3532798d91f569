use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::Caller;
use super::keys::{KeyError, KeySource, Keys};

/// Clocks may differ by this many seconds.
const LEEWAY: u64 = 60;
/// API Gateway lets no longer header through.
const MAX_TOKEN_BYTES: usize = 10 * 1024;
/// Users and tenants become keys in the table.
const MAX_ID_CHARACTERS: usize = 256;

/// Which tokens are accepted.
#[derive(Clone)]
pub struct AuthSettings {
    /// The one `iss` that is accepted.
    pub issuer: String,
    /// Of these, one must be in `aud`.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are.
    pub keys: KeySource,
    /// The claim that names the caller's tenant.
    pub tenant_claim: String,
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
    /// The token is not valid: why is for nobody to know.
    #[error("the token is not valid")]
    InvalidToken,
    /// Tokens cannot be verified now.
    #[error("there are no keys to verify tokens with")]
    NoKeys(#[source] KeyError),
}

/// Turns the `Authorization` header into a [`Caller`].
pub struct Verifier {
    settings: AuthSettings,
    keys: Keys,
    /// Of every token; which algorithm is the token's own business, within what its key allows.
    validation: Validation,
}

impl Verifier {
    /// Opens the key source; a URL is asked by [`Self::fetch_keys`], or when a token needs it.
    ///
    /// # Errors
    /// When fixed keys cannot be read.
    pub fn new(settings: AuthSettings) -> Result<Self, KeyError> {
        let mut validation = Validation { leeway: LEEWAY, validate_nbf: true, ..Validation::default() };
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&settings.audiences);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        Ok(Self { keys: Keys::open(&settings.keys)?, settings, validation })
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
            return Err(AuthError::InvalidToken);
        }
        let header = decode_header(token).map_err(|_| AuthError::InvalidToken)?;
        let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(typ.trim_start_matches("application/"), "jwt" | "at+jwt") || header.crit.is_some() {
            return Err(AuthError::InvalidToken);
        }
        let key = self.keys.find(header.kid.as_deref()).await.map_err(AuthError::NoKeys)?;
        let key = key.filter(|key| key.algorithms.contains(&header.alg)).ok_or(AuthError::InvalidToken)?;

        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        let claims = decode(token, &key.decoding, &validation).map_err(|_| AuthError::InvalidToken)?.claims;
        self.caller(&claims).ok_or(AuthError::InvalidToken)
    }

    fn caller(&self, claims: &Map<String, Value>) -> Option<Caller> {
        // The library accepts a list of issuers too.
        claims.get("iss")?.as_str()?;
        let id = |value: &Value| {
            let id = value.as_str().filter(|id| !id.is_empty() && id.chars().count() <= MAX_ID_CHARACTERS);
            id.map(ToOwned::to_owned)
        };
        let sub = id(claims.get("sub")?)?;
        let tenant = match claims.get(&self.settings.tenant_claim) {
            None | Some(Value::Null) => None,
            Some(tenant) => Some(id(tenant)?),
        };
        let permissions: Vec<String> = match (claims.get("permissions"), claims.get("scope")) {
            (Some(Value::Array(list)), _) => list.iter().filter_map(Value::as_str).map(Into::into).collect(),
            (None | Some(Value::Null), Some(Value::String(scope))) => {
                scope.split_ascii_whitespace().map(Into::into).collect()
            }
            _ => Vec::new(),
        };
        Some(Caller::new(&sub, tenant.as_deref(), permissions))
    }
}

/// The token of `Bearer <token>` (RFC 6750, 2.1): the scheme in any case, one space, one token.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let one = !token.is_empty() && !token.contains(char::is_whitespace);
    (scheme.eq_ignore_ascii_case("bearer") && one).then_some(token)
}
