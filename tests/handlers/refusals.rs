//! Who is not let in: what the caller is told, and what the log.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local::issuer::{AUDIENCE, Claims, ISSUER, Issuer};
use serde_json::{Value, json};
use shared::identity::{AuthSettings, KeySource, Verifier};
use tests::ALL;

use crate::log::Log;
use crate::stack::Stack;

async fn ask(stack: &Stack, authorization: &str) -> Value {
    let headers = &[("authorization", authorization)];
    stack
        .send_with("get-flow", "GET /flows/{id}", "5ca5c44c187c040010a9bb8b", "", headers, &Value::Null)
        .await
}

#[tokio::test]
async fn a_refused_token_tells_the_caller_nothing_and_the_log_which_check_failed() {
    let stack = Stack::start().await;
    let issuer = Issuer::open(&local::default_folder()).unwrap();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = |value: Value| format!("{}.{}.AAAA", part(value), part(json!({})));
    let good = stack.token("anna", "acme", ALL);
    let claims =
        |sub: &str, expires_in| Claims { sub: sub.into(), tenant: None, permissions: vec![], expires_in };
    let log = Log::start();
    let mut answers = Vec::new();
    for (token, check) in [
        ("x".to_owned(), "form"),
        (format!("{}.{}", part(json!({"alg": "EdDSA"})), part(json!({}))), "form"),
        (header(json!({"alg": "none", "kid": "local"})), "alg"),
        (header(json!({"alg": "HS256", "kid": "local"})), "alg"),
        (header(json!({"alg": "EdDSA", "kid": "other"})), "kid"),
        (header(json!({"alg": "RS256", "kid": "local"})), "kid"),
        (header(json!({"alg": "EdDSA", "kid": "local", "typ": "logout+jwt"})), "typ"),
        (header(json!({"alg": "EdDSA", "kid": "local", "crit": ["exp"]})), "crit"),
        (header(json!({"alg": "EdDSA", "kid": "local"})), "signature"),
        (issuer.token(&claims("anna", -3600)).unwrap(), "exp"),
        (issuer.token(&claims("", 600)).unwrap(), "sub"),
    ] {
        log.take();
        let mut answer = ask(&stack, &format!("Bearer {token}")).await;
        let lines = log.take();
        let refused: Vec<_> = lines.iter().filter(|line| line["message"] == "refused").collect();
        assert_eq!(refused.len(), 1, "{lines:?}");
        assert_eq!((&refused[0]["check"], &refused[0]["level"]), (&json!(check), &json!("DEBUG")));
        assert!(!format!("{lines:?}").contains(&token) || token == "x", "{lines:?}");
        let mut body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        body["requestId"] = Value::Null;
        answer["headers"]["x-request-id"] = Value::Null;
        answers.push((answer["statusCode"].clone(), answer["headers"].clone(), body));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");

    assert_eq!(ask(&stack, &format!("Bearer {good}")).await["statusCode"], 404);
    assert!(log.take().iter().all(|line| line.get("check").is_none()), "a flow is no token");
}

#[tokio::test]
async fn a_challenge_says_what_a_client_has_to_get() {
    let stack = Stack::start().await;
    let token = stack.token("anna", "acme", "flows.read");
    let invalid = r#"Bearer error="invalid_token""#;
    for (header, challenge) in [
        ("", "Bearer"),
        ("Basic YTpi", "Bearer"),
        ("Bearer", "Bearer"),
        ("Bearer x", invalid),
        (&format!("Bearer {token}x"), invalid),
    ] {
        let answer = ask(&stack, header).await;
        assert_eq!(answer["statusCode"], 401, "{header}");
        assert_eq!(answer["headers"]["www-authenticate"], challenge, "{header}");
    }
    let found = ask(&stack, &format!("Bearer {token}")).await;
    assert_eq!((&found["statusCode"], &found["headers"]["www-authenticate"]), (&json!(404), &Value::Null));
    for (function, route) in [("create-flow", "POST /flows"), ("create-secret", "POST /secrets")] {
        let answer = stack.send_with(function, route, "", &token, &[], &json!({})).await;
        assert_eq!(answer["statusCode"], 403, "{route}");
        assert_eq!(answer["headers"]["www-authenticate"], r#"Bearer error="insufficient_scope""#, "{route}");
    }
}

#[test]
fn a_key_that_is_passed_over_is_named_in_the_log() {
    let issuer = Issuer::open(&local::default_folder()).unwrap();
    let mut set: Value = serde_json::from_str(&issuer.jwks()).unwrap();
    let usable = set["keys"][0].clone();
    let mut nameless = usable.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    let small = URL_SAFE_NO_PAD.encode([0x81; 128]);
    set["keys"] = json!([
        {"kty": "RSA", "kid": "small", "n": small, "e": "AQAB"},
        {"kty": "RSA", "kid": "for encryption", "use": "enc", "n": small, "e": "AQAB"},
        {"kty": "oct", "k": "AAAA"},
        5,
        usable,
        nameless,
    ]);
    let log = Log::start();
    let settings = |set: &Value| AuthSettings::new(ISSUER, AUDIENCE, KeySource::Inline(set.to_string()));
    Verifier::new(settings(&set)).unwrap();
    let lines = log.take();
    let passed_over = lines.iter().filter(|line| line["message"] == "jwks.key_passed_over");
    let words = |line: &Value| ["kid", "kind", "why"].map(|name| line[name].as_str().unwrap().to_owned());
    assert_eq!(
        passed_over.map(words).collect::<Vec<_>>(),
        [
            ["small", "RSA", "it does not have 2,048 to 8,192 bits"],
            ["for encryption", "RSA", "it is not for signatures"],
            ["", "oct", "its kind is not taken"],
            ["", "", "a member is missing or of another type"],
        ]
    );
    assert_eq!(lines.iter().filter(|line| line["message"] == "jwks.kid_missing").count(), 1, "{lines:?}");

    set["keys"] = json!(vec![json!({"kty": "oct", "k": "AAAA"}); 1000]);
    assert!(Verifier::new(settings(&set)).is_err());
    assert!((1..100).contains(&log.take().len()), "it is not for the set to fill the log");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_logged_and_counted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    drop(listener);
    let log = Log::start();
    let keys = KeySource::Url { url, authority: None };
    assert!(Verifier::new(AuthSettings::new(ISSUER, AUDIENCE, keys)).unwrap().fetch_keys().await.is_err());
    let lines = log.take();
    let line = lines.iter().find(|line| line["message"] == "jwks.refresh_failed").unwrap();
    assert_eq!(line["error"], "cannot fetch the JWKS: no answer");
    let metric = lines.iter().find(|line| line["message"] == "metric").unwrap();
    assert_eq!((&metric["metric"], &metric["value"]), (&json!("KeyFetchFailures"), &json!(1)));
}
