//! The events under tests/events/, as docs/local.md has people use them.

use std::collections::BTreeSet;
use std::fs;

use local::functions::NAMES;
use serde_json::{Value, json};

use tests::ALL;

use crate::stack::{Stack, read};

/// Stands in the files for a flow; whoever uses them puts another one there.
const FLOW: &str = "6b02a25c9d8035f17bf761b6";

/// The same for a secret.
const SECRET: &str = "6b02a25c9d8035f17bf761b7";

/// The event of a function, with a token, a flow and a secret that are good here.
fn event(function: &str, token: &str, flow: &str, secret: &str) -> Value {
    let path = local::checkout().join(format!("tests/events/{function}.json"));
    let text = fs::read_to_string(path).unwrap();
    let text = text.replace("Bearer TOKEN", &format!("Bearer {token}"));
    serde_json::from_str(&text.replace(FLOW, flow).replace(SECRET, secret)).unwrap()
}

#[test]
fn every_function_has_one_event() {
    let files = fs::read_dir(local::checkout().join("tests/events")).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, NAMES.iter().map(|name| format!("{name}.json")).collect());
}

#[tokio::test]
async fn every_event_of_a_request_is_answered() {
    let stack = Stack::start().await;
    let token = stack.token("anna", "acme", ALL);
    let (mut flow, mut secret) = (FLOW.to_owned(), SECRET.to_owned());
    // One after the other, in the life of one flow and one secret.
    for (function, status, pointer, expected) in [
        ("check-health", 200, "/status", json!("pass")),
        ("answer-unknown-route", 404, "/type", json!("/problems/route-not-found")),
        ("replace-flow", 404, "/type", json!("/problems/flow-not-found")),
        ("restore-flow", 404, "/type", json!("/problems/flow-not-found")),
        ("list-versions", 404, "/type", json!("/problems/flow-not-found")),
        ("get-version", 404, "/type", json!("/problems/flow-not-found")),
        ("restore-version", 404, "/type", json!("/problems/flow-not-found")),
        ("compare-versions", 404, "/type", json!("/problems/flow-not-found")),
        ("validate-flow", 200, "/data/valid", json!(true)),
        ("create-flow", 201, "/data/name", json!("Orders to invoices")),
        ("get-flow", 200, "/data/tenant", json!("acme")),
        ("list-flows", 200, "/meta/total", json!(1)),
        ("update-flow", 200, "/data/description", json!("Every order becomes an invoice.")),
        ("update-flows", 200, "/data/0/name", json!("Orders to invoices, nightly")),
        ("start-flow", 200, "/data/status", json!("starting")),
        ("on-flow-status", 0, "", Value::Null),
        ("get-flow", 200, "/data/status", json!("active")),
        ("stop-flow", 200, "/data/status", json!("stopping")),
        ("create-flow", 201, "/data/status", json!("inactive")),
        ("start-flows", 200, "/0/data/status", json!("starting")),
        ("on-flow-status", 0, "", Value::Null),
        ("stop-flows", 200, "/0/data/status", json!("stopping")),
        ("create-flow", 201, "/data/status", json!("inactive")),
        ("create-secret", 201, "/data/value/passphrase", json!("***")),
        ("list-secrets", 200, "/meta/total", json!(1)),
        ("get-secret", 200, "/data/value/username", json!("orders")),
        ("update-secret", 200, "/data/domain", json!("db.example.com")),
        ("list-secret-usages", 200, "/data", json!([])),
        ("delete-secret", 204, "", Value::Null),
        ("sweep-secrets", 0, "", Value::Null),
        ("reconcile-flows", 0, "", Value::Null),
        ("on-identity-deleted", 0, "", Value::Null),
        ("get-flow", 200, "/data/owners", json!([{"id": "acme", "type": "tenant"}])),
        ("delete-flow", 200, "/msg", json!("Flow was successfully deleted")),
    ] {
        let answer = stack.functions.invoke(function, event(function, &token, &flow, &secret)).await.unwrap();
        if status == 0 {
            assert_eq!(answer, Value::Null, "{function}");
            continue;
        }
        let (answered, body) = read(&answer);
        assert_eq!(answered, status, "{function}: {body}");
        assert_eq!(body.pointer(pointer), Some(&expected), "{function}: {body}");
        if function == "create-flow" {
            flow = body["data"]["id"].as_str().unwrap().to_owned();
        }
        if function == "create-secret" {
            secret = body["data"]["id"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn the_event_of_a_flow_that_is_gone_is_heeded() {
    let stack = Stack::start().await;
    let answer = stack.functions.invoke("purge-flows", event("purge-flows", "", FLOW, SECRET)).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
}

#[tokio::test]
async fn the_event_of_the_stream_is_announced() {
    let stack = Stack::start().await;
    let answer =
        stack.functions.invoke("publish-changes", event("publish-changes", "", FLOW, SECRET)).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let events = stack.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["detail-type"], "flowrepo.flow.created");
    assert_eq!(events[0]["detail"]["data"]["flowId"], FLOW);
}
