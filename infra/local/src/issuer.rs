//! The development issuer: signs tokens that every local server of this checkout accepts.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use shared::flow::{ObjectId, Timestamp};

/// The `iss` of local tokens.
pub const ISSUER: &str = "flow-repository-local";
/// The `aud` of local tokens.
pub const AUDIENCE: &str = "flow-repository";
const KEY_ID: &str = "local";
const KEY_FILE: &str = "signing-key.der";

/// A signing key kept in a folder.
pub struct Issuer {
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

/// What a token says.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// Its tenant.
    pub tenant: Option<String>,
    /// What it may do.
    pub permissions: Vec<String>,
    /// Seconds from now until the token expires; negative for one that has expired.
    pub expires_in: i64,
}

impl Issuer {
    /// Reads the key of this folder, or makes one.
    ///
    /// # Errors
    /// When the folder cannot be written or the key is damaged.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(KEY_FILE);
        if !path.exists() {
            create_key(folder, &path)?;
        }
        let pkcs8 = fs::read(&path)?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8)
            .map_err(|_| io::Error::other(format!("{} is damaged; remove it", path.display())))?;
        Ok(Self { pkcs8, public: pair.public_key().as_ref().to_vec() })
    }

    /// The public key as a JWKS.
    #[must_use]
    pub fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(&self.public);
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY_ID, "x": x}]}).to_string()
    }

    /// A signed token.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn token(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        let now = i64::try_from(Timestamp::now().seconds()).unwrap_or(i64::MAX);
        let mut body = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": claims.sub,
            "permissions": claims.permissions,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(claims.expires_in).max(0),
        });
        if let (Some(tenant), Some(members)) = (&claims.tenant, body.as_object_mut()) {
            members.insert("tenant".into(), tenant.as_str().into());
        }
        let header = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &body, &EncodingKey::from_ed_der(&self.pkcs8))
    }
}

/// Writes the key under another name first: servers that start together must not read half of it,
/// and the first one wins.
fn create_key(folder: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let pair = Ed25519KeyPair::generate().map_err(io::Error::other)?;
    let pkcs8 = pair.to_pkcs8v1().map_err(io::Error::other)?;
    let draft = folder.join(format!("{KEY_FILE}.{}", ObjectId::generate()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&draft)?.write_all(pkcs8.as_ref())?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
