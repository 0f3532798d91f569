//! What identity providers issue, by the set-ups and tokens of docs/identity.md.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::attacks::{Keys, ask, sign};
use super::{AuthError, Caller, Permission, Verifier};
use crate::config::Config;
use crate::flow::Timestamp;

const PAGE: &str = include_str!("../../../docs/identity.md");
const PERMISSIONS: [&str; 7] = [
    "flows.read",
    "flows.write",
    "flows.control",
    "flows.bulk",
    "secrets.write",
    "secrets.secret.readRaw",
    "all",
];

type Settings = BTreeMap<String, String>;

/// A section of the page: its set-up, and each token of it with what it is said to be.
struct Provider {
    name: &'static str,
    settings: Settings,
    tokens: Vec<(Value, Described)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Described {
    sub: String,
    tenant: Option<String>,
    permissions: Vec<String>,
}

fn providers() -> Vec<Provider> {
    let sections = PAGE.split("\n## ").skip(1).filter(|section| section.contains("infra/deploy prod"));
    let provider = |section: &'static str| {
        let words = section.lines().map(|line| line.trim().trim_end_matches('\\').trim().trim_matches('\''));
        let settings = words.filter(|word| word.starts_with("Auth")).filter_map(|word| word.split_once('='));
        let tokens = section.split("```json\n").skip(1).map(|rest| {
            let (claims, rest) = rest.split_once("```").unwrap();
            (serde_json::from_str(claims).unwrap(), described(rest.trim().lines().next().unwrap()))
        });
        Provider {
            name: section.lines().next().unwrap(),
            settings: settings.map(|(name, value)| (variable(name), value.to_owned())).collect(),
            tokens: tokens.collect(),
        }
    };
    sections.map(provider).collect()
}

/// What a parameter of the template sets: `AUTH_JWKS_URL` for `AuthJwksUrl`.
fn variable(parameter: &str) -> String {
    let words = parameter.chars().enumerate().flat_map(|(at, letter)| {
        let blank = (at > 0 && letter.is_ascii_uppercase()).then_some('_');
        blank.into_iter().chain([letter.to_ascii_uppercase()])
    });
    words.collect()
}

/// "It is user `a` of tenant `b`, who may `c`, `d`."
fn described(line: &str) -> Described {
    assert!(line.starts_with("It is user "), "{line}");
    let mut names = line.split('`').skip(1).step_by(2).map(ToOwned::to_owned);
    let sub = names.next().unwrap();
    let tenant = if line.contains(" of tenant ") { names.next() } else { None };
    Described { sub, tenant, permissions: names.collect() }
}

fn describe(caller: &Caller) -> Described {
    use Permission::{Bulk, Control, Read, ReadRawSecrets, Write, WriteSecrets};

    let all = [Read, Write, Control, Bulk, WriteSecrets, ReadRawSecrets];
    let names = all.into_iter().filter(|permission| caller.may(*permission)).map(Permission::as_str);
    let names = names.chain(caller.is_admin().then_some("all")).map(ToOwned::to_owned);
    Described { sub: caller.sub.clone(), tenant: caller.tenant.clone(), permissions: names.collect() }
}

/// The settings, with keys of the test's own.
fn verifier(settings: &Settings, keys: &Keys) -> Verifier {
    let mut settings = settings.clone();
    settings.remove("AUTH_JWKS_URL");
    settings.insert("AUTH_JWKS".into(), keys.jwks.to_string());
    Verifier::new(Config::new(move |name: &str| settings.get(name).cloned()).auth().unwrap()).unwrap()
}

/// The claims as if they were issued now.
fn now(claims: &Value) -> Value {
    let mut claims = claims.clone();
    let now = Timestamp::now().seconds();
    for (name, time) in [("iat", now), ("nbf", now), ("auth_time", now), ("exp", now + 600)] {
        if let Some(claim) = claims.get_mut(name) {
            *claim = time.into();
        }
    }
    claims
}

async fn verify(verifier: &Verifier, keys: &Keys, claims: &Value) -> Result<Caller, AuthError> {
    ask(verifier, &sign(Algorithm::RS256, "rsa", &keys.rsa, &now(claims))).await
}

#[tokio::test]
async fn a_setup_of_the_page_makes_of_its_tokens_what_the_page_says() {
    let keys = Keys::new();
    let providers = providers();
    let names: Vec<_> = providers.iter().map(|provider| provider.name).collect();
    assert_eq!(names, ["Amazon Cognito", "Auth0", "Keycloak", "Entra ID", "Okta"]);
    for Provider { name, settings, tokens } in &providers {
        assert!(settings["AUTH_JWKS_URL"].starts_with("https://") && !tokens.is_empty(), "{name}");
        let verifier = verifier(settings, &keys);
        for (claims, expected) in tokens {
            let caller = verify(&verifier, &keys, claims).await.unwrap_or_else(|error| {
                panic!("{name}: {error:?}");
            });
            assert_eq!(&describe(&caller), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn nobody_else_gets_in_by_a_setup_of_the_page() {
    let keys = Keys::new();
    let providers = providers();
    for (at, Provider { name, settings, tokens }) in providers.iter().enumerate() {
        let verifier = verifier(settings, &keys);
        let mut wrong = Vec::new();
        for (claims, _) in tokens {
            for claim in ["iss", "exp", "sub", "aud", "client_id"] {
                let mut claims = claims.clone();
                if claims.as_object_mut().unwrap().remove(claim).is_some() {
                    wrong.push((format!("without {claim}"), claims));
                }
            }
            for (claim, value) in [
                ("iss", json!("https://evil.example")),
                ("iss", json!(format!("{}/", claims["iss"].as_str().unwrap()))),
                ("aud", json!("other")),
                ("aud", json!([])),
                ("aud", json!({"flows": true})),
                ("nbf", json!("soon")),
                ("exp", json!("late")),
            ] {
                let mut claims = claims.clone();
                claims[claim] = value;
                wrong.push((format!("other {claim}"), claims));
            }
        }
        let others = providers.iter().enumerate().filter(|(other, _)| *other != at);
        let others = others.flat_map(|(_, other)| other.tokens.iter().map(|token| (other.name, &token.0)));
        wrong.extend(others.map(|(name, claims)| (format!("of {name}"), claims.clone())));
        for (what, claims) in wrong {
            // What is no time stays what it is.
            let mut signed = now(&claims);
            for claim in ["nbf", "exp"] {
                if claims.get(claim).is_some_and(Value::is_string) {
                    signed[claim] = claims[claim].clone();
                }
            }
            let token = sign(Algorithm::RS256, "rsa", &keys.rsa, &signed);
            let refusal = ask(&verifier, &token).await.err();
            assert!(matches!(refusal, Some(AuthError::InvalidToken(_))), "{name}, {what}: {refusal:?}");
        }
    }
}

/// A token as little as it may be, with these claims.
fn claims(more: Value) -> Value {
    let exp = Timestamp::now().seconds() + 600;
    let mut claims = json!({"iss": "https://id.example", "aud": "flows", "sub": "anna", "exp": exp});
    let Value::Object(more) = more else { panic!("{more}") };
    claims.as_object_mut().unwrap().extend(more);
    claims
}

fn settings(more: &[(&str, &str)]) -> Settings {
    let all = [("AUTH_ISSUER", "https://id.example"), ("AUTH_AUDIENCE", "flows")].into_iter();
    all.chain(more.iter().copied()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Settings, claims, and the permissions that come of them.
type Case<'a> = (&'a [(&'a str, &'a str)], Value, &'a [&'a str]);

#[tokio::test]
async fn permissions_are_read_where_providers_write_them() {
    let keys = Keys::new();
    let by_default: &[(&str, &str)] = &[];
    let realm = &[("AUTH_PERMISSION_CLAIMS", "realm_access.roles")];
    let groups = &[("AUTH_PERMISSION_CLAIMS", "cognito:groups,https://acme.example/roles")];
    let client = &[("AUTH_PERMISSION_CLAIMS", "resource_access.acme.flows.roles")];
    let prefix = &[("AUTH_PERMISSION_PREFIX", "flows/")];
    let map = &[
        ("AUTH_PERMISSION_CLAIMS", "groups"),
        (
            "AUTH_GROUP_PERMISSIONS",
            r#"{"Flow Editors": ["flows.read", "flows.write"], "/ops": ["flows.control"]}"#,
        ),
    ];
    let both = &[
        ("AUTH_PERMISSION_CLAIMS", "groups,scope"),
        ("AUTH_PERMISSION_PREFIX", "api://flows/"),
        ("AUTH_GROUP_PERMISSIONS", r#"{"ops": ["flows.control"]}"#),
    ];
    let cases: &[Case<'_>] = &[
        (by_default, json!({}), &[]),
        (by_default, json!({"permissions": ["flows.read", 5, null]}), &["flows.read"]),
        (by_default, json!({"permissions": "flows.read flows.write"}), &["flows.read", "flows.write"]),
        (by_default, json!({"scope": "openid\tflows.read  flows.bulk"}), &["flows.read", "flows.bulk"]),
        (by_default, json!({"scope": ["flows.read"]}), &["flows.read"]),
        (by_default, json!({"scp": "flows.read"}), &["flows.read"]),
        (by_default, json!({"scp": ["openid", "flows.read"]}), &["flows.read"]),
        (by_default, json!({"scopes": ["flows.read"]}), &["flows.read"]),
        (by_default, json!({"roles": ["flows.read"]}), &["flows.read"]),
        // The first that names any counts, alone.
        (by_default, json!({"permissions": [], "scope": "flows.read"}), &["flows.read"]),
        (by_default, json!({"permissions": null, "scope": " ", "scp": "flows.read"}), &["flows.read"]),
        (by_default, json!({"permissions": ["flows.read"], "scope": "flows.write all"}), &["flows.read"]),
        (by_default, json!({"permissions": ["other"], "scope": "flows.write all"}), &[]),
        (by_default, json!({"permissions": {"all": true}, "roles": 5}), &[]),
        (by_default, json!({"groups": ["all"], "realm_access": {"roles": ["all"]}}), &[]),
        (by_default, json!({"permissions": ["all"]}), &PERMISSIONS),
        // What `serde_json` has for itself is nothing of a token's.
        (by_default, json!({"permissions": {"$serde_json::private::RawValue": "[\"all\"]"}}), &[]),
        (
            by_default,
            json!({"any": {"$serde_json::private::RawValue": "{"}, "scp": "flows.read"}),
            &["flows.read"],
        ),
        (realm, json!({"realm_access": {"roles": ["flows.read"]}, "scope": "all"}), &["flows.read"]),
        (
            realm,
            json!({"realm_access.roles": ["flows.bulk"], "realm_access": {"roles": ["all"]}}),
            &["flows.bulk"],
        ),
        (realm, json!({"realm_access": ["roles"]}), &[]),
        (groups, json!({"cognito:groups": ["flows.read"]}), &["flows.read"]),
        (groups, json!({"https://acme.example/roles": ["flows.read"]}), &["flows.read"]),
        (groups, json!({"https://acme": {"example/roles": ["flows.read"]}}), &["flows.read"]),
        (client, json!({"resource_access": {"acme.flows": {"roles": ["flows.read"]}}}), &["flows.read"]),
        (
            client,
            json!({"resource_access": {"acme": {}, "acme.flows": {"roles": "flows.read"}}}),
            &["flows.read"],
        ),
        (prefix, json!({"scope": "flows/flows.read flows.write all flows/other"}), &["flows.read"]),
        (prefix, json!({"scope": "FLOWS/flows.read flows/flows/flows.read flows/"}), &[]),
        (map, json!({"groups": ["Flow Editors", "all", "flows.bulk"]}), &["flows.read", "flows.write"]),
        (map, json!({"groups": ["/ops"]}), &["flows.control"]),
        (both, json!({"groups": ["ops", "api://flows/flows.read"]}), &["flows.read", "flows.control"]),
        (both, json!({"scope": "api://flows/flows.write flows.bulk all"}), &["flows.write"]),
    ];
    for (settings_of, more, expected) in cases {
        let verifier = verifier(&settings(settings_of), &keys);
        let caller = verify(&verifier, &keys, &claims(more.clone())).await.unwrap();
        assert_eq!(describe(&caller).permissions, *expected, "{more}");
    }
}

#[tokio::test]
async fn the_tenant_is_one_name_wherever_it_is() {
    let keys = Keys::new();
    let of = |claim: &str| verifier(&settings(&[("AUTH_TENANT_CLAIM", claim)]), &keys);
    let (own, nested, named) = (of("tenant"), of("org.tenant"), of("https://acme.example/tenant"));
    for (verifier, more, tenant) in [
        (&own, json!({"tenant": "acme"}), Some("acme")),
        (&own, json!({"tenant": ["acme"]}), Some("acme")),
        (&own, json!({"tenant": {"acme": {"id": "42", "groups": []}}}), Some("acme")),
        (&own, json!({"tenant": []}), None),
        (&own, json!({"tenant": {}}), None),
        (&own, json!({"tenant": null}), None),
        (&own, json!({}), None),
        (&nested, json!({"org": {"tenant": "acme"}}), Some("acme")),
        (&nested, json!({"org.tenant": "acme", "org": {"tenant": "other"}}), Some("acme")),
        (&nested, json!({"org": {"tenant": ["acme"]}}), Some("acme")),
        (&nested, json!({"org": "tenant"}), None),
        (&named, json!({"https://acme.example/tenant": "acme"}), Some("acme")),
    ] {
        let caller = verify(verifier, &keys, &claims(more.clone())).await.unwrap();
        assert_eq!(caller.tenant.as_deref(), tenant, "{more}");
    }
    for (verifier, more, check) in [
        (&own, json!({"tenant": ["acme", "other"]}), "tenant.several"),
        (&own, json!({"tenant": ["acme", "acme"]}), "tenant.several"),
        (&own, json!({"tenant": {"acme": {}, "other": {}}}), "tenant.several"),
        (&nested, json!({"org": {"tenant": ["acme", "other"]}}), "tenant.several"),
        (&own, json!({"tenant": ""}), "tenant"),
        (&own, json!({"tenant": [""]}), "tenant"),
        (&own, json!({"tenant": [["acme"]]}), "tenant"),
        (&own, json!({"tenant": ["x".repeat(257)]}), "tenant"),
        (&own, json!({"tenant": 5}), "tenant"),
        (&own, json!({"tenant": true}), "tenant"),
    ] {
        let refusal = verify(verifier, &keys, &claims(more.clone())).await.err().unwrap();
        assert_eq!(refusal.check(), check, "{more}");
    }
}

#[tokio::test]
async fn a_client_stands_in_for_an_audience_only_where_it_is_set_and_there_is_none() {
    let keys = Keys::new();
    let verifier = |more: &[(&str, &str)]| verifier(&settings(more), &keys);
    let (none, client_id) = (verifier(&[]), verifier(&[("AUTH_CLIENT_CLAIM", "client_id")]));
    let azp = verifier(&[("AUTH_CLIENT_CLAIM", "azp")]);
    for (verifier, aud, more, good) in [
        (&none, json!(null), json!({"client_id": "flows"}), false),
        (&client_id, json!(null), json!({"client_id": "flows"}), true),
        (&client_id, json!(null), json!({"client_id": "other"}), false),
        (&client_id, json!(null), json!({"client_id": ["flows"]}), false),
        (&client_id, json!(null), json!({"azp": "flows"}), false),
        (&client_id, json!(null), json!({}), false),
        (&client_id, json!("other"), json!({"client_id": "flows"}), false),
        (&client_id, json!([]), json!({"client_id": "flows"}), false),
        (&client_id, json!("flows"), json!({"client_id": "other"}), true),
        (&azp, json!(null), json!({"azp": "flows"}), true),
    ] {
        let mut claims = claims(more.clone());
        claims["aud"] = aud.clone();
        for is_there in if aud.is_null() { &[true, false][..] } else { &[true] } {
            if !is_there {
                claims.as_object_mut().unwrap().remove("aud");
            }
            let caller = verify(verifier, &keys, &claims).await;
            assert_eq!(caller.is_ok(), good, "{aud} {more}");
        }
    }
}
