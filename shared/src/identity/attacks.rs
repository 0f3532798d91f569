//! The attacks of RFC 8725 and their relatives, each of which must end in the same refusal.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{AuthError, AuthSettings, Caller, KeySource, Verifier};
use crate::flow::Timestamp;

const SECRET: &str = "a secret of at least thirty-two bytes";

pub(super) struct Keys {
    pub(super) rsa: EncodingKey,
    /// The public key in the form in which it is published, for confusion with a secret.
    rsa_public_der: Vec<u8>,
    pub(super) ec: EncodingKey,
    pub(super) ed: EncodingKey,
    foreign: EncodingKey,
    pub(super) jwks: Value,
}

impl Keys {
    pub(super) fn new() -> Self {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (ed, foreign) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = ec.public_key().as_ref();
        let n = rsa.public_key().modulus().big_endian_without_leading_zero().to_vec();
        let e = rsa.public_key().exponent().big_endian_without_leading_zero().to_vec();
        let jwks = json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": encode(&n), "e": encode(&e)},
            {"kty": "RSA", "kid": "rsa-any", "n": encode(&n), "e": encode(&e)},
            {"kty": "RSA", "kid": "rsa-encryption", "use": "enc", "n": encode(&n), "e": encode(&e)},
            {"kty": "RSA", "kid": "rsa-wrap", "key_ops": ["wrapKey"], "n": encode(&n), "e": encode(&e)},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": encode(ed.public_key().as_ref())},
            {"kty": "oct", "kid": "oct", "k": encode(SECRET.as_bytes())},
            {"kty": "a kind from the future", "kid": "future"},
            {"kty": "OKP", "crv": "Ed25519", "x": encode(ed.public_key().as_ref())},
        ]});
        let pkcs8 = |pair: &Ed25519KeyPair| EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
        let rsa_private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let ec_private = ec.to_pkcs8v1().unwrap();
        Self {
            // The library signs with the PKCS #1 key that is inside, behind a header of 26 bytes.
            rsa: EncodingKey::from_rsa_der(&rsa_private.as_ref()[26..]),
            rsa_public_der: rsa.public_key().as_ref().to_vec(),
            ec: EncodingKey::from_ec_der(ec_private.as_ref()),
            ed: pkcs8(&ed),
            foreign: pkcs8(&foreign),
            jwks,
        }
    }

    fn verifier(&self) -> Verifier {
        verifier(KeySource::Inline(self.jwks.to_string()))
    }
}

pub(super) fn settings(keys: KeySource) -> AuthSettings {
    let settings = AuthSettings::new("https://id.example", "flows", keys);
    AuthSettings { tenant_claim: "custom:tenant".into(), ..settings }
}

pub(super) fn verifier(keys: KeySource) -> Verifier {
    Verifier::new(settings(keys)).unwrap()
}

pub(super) fn claims() -> Value {
    let now = Timestamp::now().seconds();
    json!({
        "iss": "https://id.example", "aud": "flows", "sub": "anna", "iat": now, "nbf": now, "exp": now + 600,
        "custom:tenant": "acme", "permissions": ["flows.read"],
    })
}

fn with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

fn without(member: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(member);
    claims
}

pub(super) fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.into()), ..Header::new(algorithm) }
}

pub(super) fn sign(algorithm: Algorithm, kid: &str, key: &EncodingKey, claims: &Value) -> String {
    encode(&header(algorithm, kid), claims, key).unwrap()
}

/// A token with any header, signed or not.
fn raw(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

pub(super) async fn ask(verifier: &Verifier, token: &str) -> Result<Caller, AuthError> {
    verifier.verify(Some(&format!("Bearer {token}"))).await
}

#[tokio::test]
async fn good_tokens_of_every_kind_of_key_are_accepted() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let now = Timestamp::now().seconds();
    for (what, token) in [
        ("RS256", sign(Algorithm::RS256, "rsa", &keys.rsa, &claims())),
        ("PS512", sign(Algorithm::PS512, "rsa-any", &keys.rsa, &claims())),
        ("ES256", sign(Algorithm::ES256, "ec", &keys.ec, &claims())),
        ("EdDSA", sign(Algorithm::EdDSA, "ed", &keys.ed, &claims())),
        (
            "one of many audiences",
            sign(Algorithm::EdDSA, "ed", &keys.ed, &with("aud", json!(["x", "flows"]))),
        ),
        ("no beginning", sign(Algorithm::EdDSA, "ed", &keys.ed, &without("nbf"))),
        ("within the leeway", sign(Algorithm::EdDSA, "ed", &keys.ed, &with("exp", json!(now - 30)))),
        (
            "access token",
            encode(
                &Header { typ: Some("at+JWT".into()), ..header(Algorithm::EdDSA, "ed") },
                &claims(),
                &keys.ed,
            )
            .unwrap(),
        ),
    ] {
        let caller = ask(&verifier, &token).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((caller.sub.as_str(), caller.tenant.as_deref()), ("anna", Some("acme")), "{what}");
    }
    let token = sign(Algorithm::EdDSA, "ed", &keys.ed, &{
        let mut claims = without("permissions");
        claims["scope"] = "openid flows.write".into();
        claims
    });
    let caller = ask(&verifier, &token).await.unwrap();
    assert!(caller.may(super::Permission::Write) && !caller.may(super::Permission::Read));
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "it is one table")]
async fn attacks_all_end_in_the_same_refusal() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let now = Timestamp::now().seconds();
    let good = sign(Algorithm::EdDSA, "ed", &keys.ed, &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let ed = |claims: Value| sign(Algorithm::EdDSA, "ed", &keys.ed, &claims);
    let public = EncodingKey::from_secret(&keys.rsa_public_der);
    let jwks_text = EncodingKey::from_secret(keys.jwks.to_string().as_bytes());
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let foreign_jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32])});
    let attacks = [
        // RFC 8725, 2.1 and 3.1: the algorithm
        ("alg none", raw(&json!({"alg": "none", "kid": "ed"}), &claims(), b"")),
        ("alg nOnE", raw(&json!({"alg": "nOnE", "kid": "ed"}), &claims(), &signature)),
        ("alg missing", raw(&json!({"kid": "ed"}), &claims(), &signature)),
        ("alg of another family", raw(&json!({"alg": "RS256", "kid": "ed"}), &claims(), &signature)),
        ("public key as secret", sign(Algorithm::HS256, "rsa", &public, &claims())),
        ("jwks as secret", sign(Algorithm::HS256, "rsa", &jwks_text, &claims())),
        ("symmetric key of the set", sign(Algorithm::HS256, "oct", &secret, &claims())),
        ("alg the key is not for", sign(Algorithm::RS512, "rsa", &keys.rsa, &claims())),
        ("key for encryption", sign(Algorithm::RS256, "rsa-encryption", &keys.rsa, &claims())),
        ("key for wrapping", sign(Algorithm::RS256, "rsa-wrap", &keys.rsa, &claims())),
        // 3.10: the header is not to be trusted
        ("unknown kid", sign(Algorithm::EdDSA, "other", &keys.ed, &claims())),
        ("kid as a path", sign(Algorithm::EdDSA, "../../ed", &keys.ed, &claims())),
        ("kid as an injection", sign(Algorithm::EdDSA, "ed' OR '1'='1", &keys.ed, &claims())),
        ("no kid", encode(&Header::new(Algorithm::EdDSA), &claims(), &keys.ed).unwrap()),
        (
            "embedded key",
            raw(&json!({"alg": "EdDSA", "jwk": foreign_jwk, "kid": "x"}), &claims(), &signature),
        ),
        (
            "key from elsewhere",
            encode(
                &Header { jku: Some("http://127.0.0.1:1/jwks".into()), ..header(Algorithm::EdDSA, "x") },
                &claims(),
                &keys.foreign,
            )
            .unwrap(),
        ),
        ("foreign key", sign(Algorithm::EdDSA, "ed", &keys.foreign, &claims())),
        (
            "critical extension",
            encode(
                &Header { crit: Some(vec!["exp".into()]), ..header(Algorithm::EdDSA, "ed") },
                &claims(),
                &keys.ed,
            )
            .unwrap(),
        ),
        // 3.11: another kind of token
        (
            "typ of something else",
            encode(
                &Header { typ: Some("logout+jwt".into()), ..header(Algorithm::EdDSA, "ed") },
                &claims(),
                &keys.ed,
            )
            .unwrap(),
        ),
        // 3.2 and 3.3: the signature
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.{}", parts[2])),
        (
            "other claims",
            format!(
                "{}.{}.{}",
                parts[0],
                URL_SAFE_NO_PAD.encode(with("sub", json!("root")).to_string()),
                parts[2]
            ),
        ),
        ("no token", "x".into()),
        ("no base64", "a.b.c".into()),
        ("huge", "x".repeat(20_000)),
        // 3.8, 3.9: issuer, subject, audience
        ("other issuer", ed(with("iss", json!("https://evil.example")))),
        ("list of issuers", ed(with("iss", json!(["https://id.example"])))),
        ("no issuer", ed(without("iss"))),
        ("other audience", ed(with("aud", json!("other")))),
        ("empty audience", ed(with("aud", json!([])))),
        ("no audience", ed(without("aud"))),
        ("no subject", ed(without("sub"))),
        ("empty subject", ed(with("sub", json!("")))),
        ("number as subject", ed(with("sub", json!(5)))),
        ("endless subject", ed(with("sub", json!("x".repeat(257))))),
        ("two tenants", ed(with("custom:tenant", json!(["acme", "other"])))),
        ("empty tenant", ed(with("custom:tenant", json!("")))),
        // time
        ("expired", ed(with("exp", json!(now - 120)))),
        ("no expiry", ed(without("exp"))),
        ("expiry as text", ed(with("exp", json!("9999999999")))),
        ("negative expiry", ed(with("exp", json!(-1)))),
        ("not yet", ed(with("nbf", json!(now + 120)))),
        ("beginning as text", ed(with("nbf", json!("0")))),
        ("claims that are no object", ed(json!([1]))),
    ];
    for (what, token) in attacks {
        let refusal = ask(&verifier, &token).await.err();
        assert!(matches!(refusal, Some(AuthError::InvalidToken(_))), "{what}: {refusal:?}");
    }
    assert!(ask(&verifier, &good).await.is_ok());
}

#[tokio::test]
async fn a_header_is_bearer_and_one_token() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let good = sign(Algorithm::EdDSA, "ed", &keys.ed, &claims());
    assert!(matches!(verifier.verify(None).await.err(), Some(AuthError::MissingHeader)));
    for header in [
        "",
        "abc",
        &good,
        "Bearer",
        "Bearer ",
        &format!("Basic {good}"),
        &format!("Bearer  {good}"),
        &format!("Bearer {good} x"),
        &format!("Bearer {good},Bearer {good}"),
        &format!("Bearer\t{good}"),
    ] {
        let refusal = verifier.verify(Some(header)).await.err();
        assert!(matches!(refusal, Some(AuthError::InvalidHeader)), "{header}: {refusal:?}");
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert!(verifier.verify(Some(&format!("{scheme} {good}"))).await.is_ok());
    }
}

#[tokio::test]
async fn a_shared_secret_verifies_nothing_but_hs256() {
    let verifier = verifier(KeySource::Secret(SECRET.into()));
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    assert!(
        ask(&verifier, &encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap()).await.is_ok()
    );
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert!(ask(&verifier, &encode(&Header::new(algorithm), &claims(), &secret).unwrap()).await.is_err());
    }
    assert!(ask(&verifier, &raw(&json!({"alg": "none"}), &claims(), b"")).await.is_err());
    assert!(Verifier::new(settings(KeySource::Secret("short".into()))).is_err());
}
