//! Keys as they are published, and what becomes of tokens when they cannot be had.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::attacks::{Keys, ask, claims, settings, sign, verifier};
use super::{AuthError, KeySource, Verifier};
use crate::config::ConfigError;

/// The keys of the test under other ids and with other members; `null` takes one away.
fn jwk(keys: &Keys, kid: &str, changes: Value) -> Value {
    let all = keys.jwks["keys"].as_array().unwrap();
    let mut key = all.iter().find(|key| key["kid"] == kid).unwrap().clone();
    let Value::Object(changes) = changes else { panic!("{changes}") };
    for (name, value) in changes {
        key[name.as_str()] = value;
    }
    key.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    key
}

const NO_KEY: &str = "AUTH_JWKS does not do: the JWKS has no usable key";

fn open(keys: &[Value]) -> Result<Verifier, ConfigError> {
    Verifier::new(settings(KeySource::Inline(json!({"keys": keys}).to_string())))
}

fn without_kid(algorithm: Algorithm, key: &EncodingKey) -> String {
    encode(&Header::new(algorithm), &claims(), key).unwrap()
}

async fn check(verifier: &Verifier, token: &str) -> &'static str {
    ask(verifier, token).await.map_or_else(|error| error.check(), |_| "good")
}

#[tokio::test]
async fn a_key_is_chosen_by_its_id_and_its_algorithm() {
    let keys = Keys::new();
    let rsa = |alg: &str| jwk(&keys, "rsa", json!({"kid": "k", "alg": alg}));
    let ec = jwk(&keys, "ec", json!({"kid": "k"}));
    let other = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let n = URL_SAFE_NO_PAD.encode(other.public_key().modulus().big_endian_without_leading_zero());
    let any_rsa = jwk(&keys, "rsa-any", json!({"kid": "k", "n": n}));
    // In both orders; and a key for all algorithms does not hide one for this.
    for set in [[rsa("RS256"), ec.clone(), any_rsa.clone()], [any_rsa, ec, rsa("RS256")]] {
        let verifier = open(&set).unwrap();
        let of = |algorithm, key: &EncodingKey| sign(algorithm, "k", key, &claims());
        assert_eq!(check(&verifier, &of(Algorithm::RS256, &keys.rsa)).await, "good");
        assert_eq!(check(&verifier, &of(Algorithm::ES256, &keys.ec)).await, "good");
        assert_eq!(check(&verifier, &of(Algorithm::PS256, &keys.rsa)).await, "signature");
        assert_eq!(check(&verifier, &of(Algorithm::EdDSA, &keys.ed)).await, "kid");
    }
    let verifier = open(&[rsa("RS256"), rsa("PS256")]).unwrap();
    for algorithm in [Algorithm::RS256, Algorithm::PS256] {
        assert_eq!(check(&verifier, &sign(algorithm, "k", &keys.rsa, &claims())).await, "good");
    }
    assert_eq!(check(&verifier, &sign(Algorithm::RS512, "k", &keys.rsa, &claims())).await, "kid");
}

#[tokio::test]
async fn a_token_without_an_id_is_verified_with_the_one_key_that_fits() {
    let keys = Keys::new();
    let nameless = |kid: &str| jwk(&keys, kid, json!({"kid": null}));
    let token = without_kid(Algorithm::EdDSA, &keys.ed);
    for set in [
        vec![nameless("ed")],
        vec![nameless("ed"), nameless("rsa")],
        vec![jwk(&keys, "ed", json!({}))],
        vec![jwk(&keys, "ed", json!({})), jwk(&keys, "rsa", json!({}))],
    ] {
        assert_eq!(check(&open(&set).unwrap(), &token).await, "good", "{set:?}");
    }
    let two = open(&[nameless("ed"), jwk(&keys, "ed", json!({})), nameless("rsa")]).unwrap();
    assert_eq!(check(&two, &token).await, "kid.ambiguous");
    assert_eq!(check(&two, &without_kid(Algorithm::RS256, &keys.rsa)).await, "good");
    assert_eq!(check(&two, &sign(Algorithm::EdDSA, "ed", &keys.ed, &claims())).await, "good");
    assert_eq!(check(&two, &without_kid(Algorithm::ES256, &keys.ec)).await, "kid");
    let named = open(&[nameless("ed")]).unwrap();
    assert_eq!(
        check(&named, &sign(Algorithm::EdDSA, "x", &keys.ed, &claims())).await,
        "kid",
        "another key's"
    );
}

#[tokio::test]
async fn ed25519_is_a_name_of_eddsa() {
    let keys = Keys::new();
    let signing = |alg: &str| {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(json!({"alg": alg, "kid": "ed"})), part(claims()));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &keys.ed, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    };
    for alg in [json!("Ed25519"), json!("EdDSA"), json!(null)] {
        let verifier = open(&[jwk(&keys, "ed", json!({"alg": alg}))]).unwrap();
        for name in ["Ed25519", "EdDSA"] {
            assert_eq!(check(&verifier, &signing(name)).await, "good", "{alg} {name}");
        }
        for name in ["Ed448", "ed25519", "RS256"] {
            assert_ne!(check(&verifier, &signing(name)).await, "good", "{alg} {name}");
        }
    }
}

#[tokio::test]
async fn what_a_key_has_beside_it_does_not_matter() {
    let keys = Keys::new();
    let n = URL_SAFE_NO_PAD.decode(jwk(&keys, "rsa", json!({}))["n"].as_str().unwrap()).unwrap();
    let padded = URL_SAFE_NO_PAD.encode([&[0, 0][..], &n].concat());
    let token = sign(Algorithm::RS256, "rsa", &keys.rsa, &claims());
    for changes in [
        json!({"n": padded, "e": "AAEAAQ"}),
        json!({"x5c": "MIIC", "x5t": 5, "x5t#S256": [], "x5u": null}),
        json!({"key_ops": ["verify", "of the future"], "ext": true, "nbf": "2026"}),
    ] {
        let verifier = open(&[jwk(&keys, "rsa", changes.clone())]).unwrap();
        assert_eq!(check(&verifier, &token).await, "good", "{changes}");
    }
}

#[test]
fn a_key_that_can_verify_nothing_is_none() {
    let keys = Keys::new();
    let small = |bits: usize| URL_SAFE_NO_PAD.encode([&[0x80][..], &vec![1; bits / 8 - 1]].concat());
    for (kid, changes) in [
        ("rsa", json!({"n": small(1024)})),
        ("rsa", json!({"n": small(2040)})),
        ("rsa", json!({"n": small(16384)})),
        ("rsa", json!({"n": "AAAA"})),
        ("rsa", json!({"n": ""})),
        ("rsa", json!({"n": "no base64 !"})),
        ("rsa", json!({"n": null})),
        ("rsa", json!({"n": 5})),
        ("rsa", json!({"e": "AA"})),
        ("rsa", json!({"e": "AQ"})),
        ("rsa", json!({"e": "Ag"})),
        ("rsa", json!({"use": "enc"})),
        ("rsa", json!({"use": 5})),
        ("rsa", json!({"key_ops": ["wrapKey"]})),
        ("rsa", json!({"key_ops": "verify"})),
        ("rsa", json!({"alg": "RSA-OAEP"})),
        ("rsa", json!({"alg": "ES256"})),
        ("rsa", json!({"kid": 5})),
        ("ec", json!({"crv": "P-384"})),
        ("ec", json!({"crv": "secp256k1"})),
        ("ec", json!({"x": URL_SAFE_NO_PAD.encode([7; 32])})),
        ("ec", json!({"y": null})),
        ("ed", json!({"crv": "X25519"})),
        ("ed", json!({"x": "AAAA"})),
        ("ed", json!({"kty": "EC"})),
        ("oct", json!({})),
        ("future", json!({})),
    ] {
        let refusal = open(&[jwk(&keys, kid, changes.clone())]).err();
        assert_eq!(refusal.unwrap().to_string(), NO_KEY, "{kid} {changes}");
        assert!(open(&[jwk(&keys, kid, changes), jwk(&keys, "ed", json!({"kid": "e"}))]).is_ok(), "{kid}");
    }
    for set in ["{}", "[]", r#"{"keys": {}}"#, "no json"] {
        let refusal = Verifier::new(settings(KeySource::Inline(set.into()))).err();
        assert!(refusal.unwrap().to_string().starts_with("AUTH_JWKS is no JWKS"), "{set}");
    }
    assert_eq!(open(&[json!(5), json!(null)]).err().unwrap().to_string(), NO_KEY);
}

/// A JWKS endpoint that gives each answer once, the last one for ever; it hangs up without one for status 0.
struct Endpoint {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    async fn start(answers: Vec<(u16, String)>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let length = socket.read(&mut request).await.unwrap();
                let index = {
                    let mut noted = noted.lock().unwrap();
                    noted.push(String::from_utf8_lossy(&request[..length]).to_ascii_lowercase());
                    noted.len() - 1
                };
                let (status, body) = &answers[index.min(answers.len() - 1)];
                let length = body.len();
                // It offers to keep the connection, and does not: whoever uses it again finds it closed.
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
                if *status > 0 {
                    // Nobody reads on when it is too long.
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self { url, requests }
    }

    fn verifier(&self) -> Verifier {
        verifier(KeySource::Url { url: self.url.clone(), authority: None })
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn good(keys: &Keys) -> String {
    sign(Algorithm::EdDSA, "ed", &keys.ed, &claims())
}

#[tokio::test]
async fn keys_are_fetched_once_and_not_for_every_unknown_id() {
    let keys = Keys::new();
    let endpoint = Endpoint::start(vec![(200, keys.jwks.to_string())]).await;
    let verifier = endpoint.verifier();
    let token = good(&keys);
    let asked = futures_util::future::join_all((0..10).map(|_| ask(&verifier, &token))).await;
    assert!(asked.iter().all(Result::is_ok));
    for n in 0..10 {
        let unknown = sign(Algorithm::EdDSA, &format!("unknown {n}"), &keys.ed, &claims());
        assert_eq!(check(&verifier, &unknown).await, "kid");
    }
    assert_eq!(endpoint.count(), 1);
}

#[tokio::test]
async fn the_request_for_keys_says_who_asks_for_what() {
    let keys = Keys::new();
    let endpoint = Endpoint::start(vec![(200, keys.jwks.to_string())]).await;
    endpoint.verifier().fetch_keys().await.unwrap();
    let requests = endpoint.requests.lock().unwrap();
    for header in
        ["user-agent: flow-repository/", "accept: application/json\r\n", "accept-encoding: identity\r\n"]
    {
        assert_eq!(requests[0].matches(header).count(), 1, "{header}: {}", requests[0]);
    }
}

#[tokio::test]
async fn keys_that_were_fetched_before_are_not_fetched_again() {
    let keys = Keys::new();
    let endpoint = Endpoint::start(vec![(200, keys.jwks.to_string())]).await;
    let warm = endpoint.verifier();
    warm.fetch_keys().await.unwrap();
    assert!(ask(&warm, &good(&keys)).await.is_ok());
    assert_eq!(endpoint.count(), 1);

    let failing = || (500, String::new());
    let endpoint = Endpoint::start(vec![failing(), failing(), (200, keys.jwks.to_string())]).await;
    let unlucky = endpoint.verifier();
    assert!(unlucky.fetch_keys().await.is_err());
    assert!(ask(&unlucky, &good(&keys)).await.is_ok(), "the first token tries again at once");
    assert!(keys_of(&keys).fetch_keys().await.is_ok(), "there is nothing to fetch");
}

fn keys_of(keys: &Keys) -> Verifier {
    verifier(KeySource::Inline(keys.jwks.to_string()))
}

#[tokio::test]
async fn without_keys_nobody_is_told_that_the_token_is_wrong() {
    let keys = Keys::new();
    for answer in [
        (0, String::new()),
        (500, String::new()),
        (200, "no json".into()),
        (200, r#"{"keys":[]}"#.into()),
        (302, String::new()),
        (200, "x".repeat(300_000)),
    ] {
        let endpoint = Endpoint::start(vec![answer.clone()]).await;
        let refusal = ask(&endpoint.verifier(), &good(&keys)).await.err();
        assert!(matches!(refusal, Some(AuthError::NoKeys(_))), "{answer:?}: {refusal:?}");
        assert_eq!(endpoint.count(), 2, "it is asked once more");
    }
}

#[tokio::test]
async fn a_new_key_is_found_though_one_attempt_fails() {
    let keys = Keys::new();
    let old = json!({"keys": [jwk(&keys, "rsa", json!({}))]}).to_string();
    for status in [0, 503] {
        let answers = vec![(200, old.clone()), (status, String::new()), (200, keys.jwks.to_string())];
        let endpoint = Endpoint::start(answers).await;
        let verifier = endpoint.verifier();
        verifier.fetch_keys().await.unwrap();
        verifier.age_keys(Duration::from_mins(1)).await;
        assert_eq!(check(&verifier, &good(&keys)).await, "good", "{status}");
    }
}

#[tokio::test]
async fn a_key_that_could_not_be_asked_for_is_not_unknown() {
    let keys = Keys::new();
    let known = sign(Algorithm::RS256, "rsa", &keys.rsa, &claims());
    let secret = EncodingKey::from_secret(&[7; 32]);
    let old = json!({"keys": [jwk(&keys, "rsa", json!({}))]}).to_string();
    let endpoint = Endpoint::start(vec![(200, old), (503, String::new())]).await;
    let verifier = endpoint.verifier();
    verifier.fetch_keys().await.unwrap();
    assert_eq!(check(&verifier, &good(&keys)).await, "kid", "it has just been asked for");
    verifier.age_keys(Duration::from_mins(1)).await;
    assert_eq!(check(&verifier, &good(&keys)).await, "keys");
    assert_eq!(endpoint.count(), 3);
    assert_eq!(check(&verifier, &good(&keys)).await, "keys", "nor is it when nobody asks so soon after");
    assert_eq!(check(&verifier, &known).await, "good", "the known stay in use");
    assert_eq!(check(&verifier, &sign(Algorithm::HS256, "x", &secret, &claims())).await, "alg");
}

#[tokio::test]
async fn keys_are_used_for_a_day_at_most() {
    let keys = Keys::new();
    let answers = vec![(200, keys.jwks.to_string()), (500, String::new())];
    let endpoint = Endpoint::start(answers).await;
    let verifier = endpoint.verifier();
    verifier.fetch_keys().await.unwrap();
    for (hours, expected, count) in [(2, "good", 3), (23 - 2, "good", 5), (2, "keys", 7)] {
        verifier.age_keys(Duration::from_hours(hours)).await;
        assert_eq!(check(&verifier, &good(&keys)).await, expected, "{hours}");
        assert_eq!(endpoint.count(), count, "once when they are old, and once more");
        assert_eq!(check(&verifier, &good(&keys)).await, expected, "{hours}");
    }
}
