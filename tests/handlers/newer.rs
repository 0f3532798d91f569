//! What a newer version has written stays, whatever this one does: both run at once in a canary, and the older
//! one alone after a rollback.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::stack::{Item, LIMIT, Stack};

/// An attribute that this version knows nothing of.
const NOVEL: &str = "novel";

fn text(item: &Item, name: &str) -> String {
    item[name].as_s().unwrap().clone()
}

/// The heads and listing rows of flows, and those of secrets, by their keys.
async fn lasting(stack: &Stack) -> BTreeMap<(String, String), Item> {
    let items = stack.items().await.into_iter();
    let keyed = items.map(|item| ((text(&item, "pk"), text(&item, "sk")), item));
    let lasts = |(pk, sk): &(String, String)| match pk.split_once('#') {
        Some(("FLOW" | "SECRET", _)) => sk == "HEAD",
        Some((kind, _)) => ["OWNER", "ALL", "DELETED", "DELETED-ALL", "SECRETS"].contains(&kind),
        None => false,
    };
    keyed.filter(|(key, _)| lasts(key)).collect()
}

/// Writes the attribute as a newer version would, into every item that lasts.
async fn upgrade(stack: &Stack) {
    for (pk, sk) in lasting(stack).await.into_keys() {
        let call = stack.client.update_item().table_name(&stack.table);
        let call = call.key("pk", AttributeValue::S(pk)).key("sk", AttributeValue::S(sk));
        let call = call.update_expression("SET #n = :n").expression_attribute_names("#n", NOVEL);
        call.expression_attribute_values(":n", AttributeValue::L(Vec::new())).send().await.unwrap();
    }
}

/// Each of these must still have it; gives how many there are.
async fn check(stack: &Stack, after: &str) -> usize {
    let items = lasting(stack).await;
    for (key, item) in &items {
        assert!(item.contains_key(NOVEL), "after {after}: {key:?} {:?}", item.keys());
    }
    items.len()
}

#[tokio::test]
async fn what_a_newer_version_has_written_survives_every_command_on_flows() {
    let stack = Stack::start().await;
    let mut flow = complete_flow("one");
    flow["owners"] = json!([{"id": "bert", "type": "user"}]);
    let anna = stack.token("anna", "acme", ALL);
    let (status, created) = stack.request("create-flow", "POST /flows", "", &anna, flow).await;
    assert_eq!(status, 201, "{created}");
    let id = created["data"]["id"].as_str().unwrap();
    upgrade(&stack).await;
    assert_eq!(check(&stack, "nothing").await, 5, "a head and four rows");

    let request = async |function: &str, route: &str, body: Value| {
        let (status, answer) = stack.request(function, route, id, &anna, body).await;
        assert_eq!(status, 200, "{route}: {answer}");
        assert_eq!(check(&stack, route).await, 5, "{route}");
    };
    let report = async |kind: &str, run: Option<&str>| {
        let before = stack.sequence(id).await;
        stack.deliver("on-flow-status", kind, json!({"id": id, "runId": run})).await.unwrap();
        assert_eq!(stack.sequence(id).await, before + 1, "{kind}");
        check(&stack, kind).await;
    };
    let start = async || request("start-flow", "POST /flows/{id}/start", Value::Null).await;
    request("update-flow", "PATCH /flows/{id}", json!({"name": "two", "type": "t"})).await;
    // Also where an attribute goes.
    request("update-flow", "PATCH /flows/{id}", json!({"name": null, "type": null})).await;
    request("update-flows", "PATCH /flows/bulk", json!([{"id": id, "name": "three"}])).await;
    request("replace-flow", "PUT /flows/{id}", complete_flow("four")).await;
    request("restore-version", "POST /flows/{id}/versions/1/restore", Value::Null).await;
    start().await;
    report("flow.started", None).await;
    request("stop-flow", "POST /flows/{id}/stop", Value::Null).await;
    report("flow.stopped", None).await;
    request("start-flows", "POST /flows/multiple/start", json!([id])).await;
    report("flow.failed", None).await;
    for _ in 0..4 {
        stack.invoke_later("reconcile-flows", LIMIT).await;
        check(&stack, "reconciling").await;
    }
    report("flow.started", Some("5ca5c44c187c040010a9bb8b")).await;
    start().await;
    request("stop-flows", "POST /flows/multiple/stop", json!([id])).await;
    report("flow.stopped", None).await;
    request("delete-flow", "DELETE /flows/{id}", Value::Null).await;
    request("restore-flow", "POST /flows/{id}/restore", Value::Null).await;
    stack.deliver("on-identity-deleted", "iam.user.deleted", json!({"id": "bert"})).await.unwrap();
    assert_eq!(check(&stack, "the deletion of an owner").await, 4);
    request_shows(&stack, id, &anna).await;
}

/// And this version reads what it does not know.
async fn request_shows(stack: &Stack, id: &str, token: &str) {
    let (status, flow) = stack.request("get-flow", "GET /flows/{id}", id, token, Value::Null).await;
    assert_eq!(
        (status, &flow["data"]["name"], &flow["data"]["status"]),
        (200, &json!("one"), &json!("inactive"))
    );
    let (_, list) = stack.request("list-flows", "GET /flows?search=one", "", token, Value::Null).await;
    assert_eq!(list["meta"]["total"], 1);
}

#[tokio::test]
async fn what_a_newer_version_has_written_survives_every_command_on_secrets() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"},
        "owners": [{"id": "acme", "type": "TENANT"}, {"id": "bert", "type": "USER"}]});
    let (status, secret) = stack.request("create-secret", "POST /secrets", "", &anna, secret).await;
    assert_eq!(status, 201, "{secret}");
    let id = secret["data"]["id"].as_str().unwrap();
    let mut flow = complete_flow("one");
    flow["graph"]["nodes"][0]["credentials_id"] = json!(id);
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, flow).await;
    let flow = flow["data"]["id"].as_str().unwrap();
    upgrade(&stack).await;
    let change = async |body: Value| {
        let shown = body.to_string();
        let (status, answer) = stack.request("update-secret", "PATCH /secrets/{id}", id, &anna, body).await;
        assert_eq!(status, 200, "{answer}");
        check(&stack, &shown).await;
    };
    change(json!({"name": "m", "domain": "example.com"})).await;
    change(json!({"value": {"key": "l"}})).await;
    change(json!({"domain": null})).await;
    stack.request("start-flow", "POST /flows/{id}/start", flow, &anna, Value::Null).await;
    check(&stack, "a start with the secret").await;
    let refused = stack.request("delete-secret", "DELETE /secrets/{id}", id, &anna, Value::Null).await;
    assert_eq!(refused.0, 409);
    check(&stack, "a deletion that is refused").await;
    change(json!({"owners": [{"id": "anna", "type": "USER"}, {"id": "acme", "type": "TENANT"}]})).await;
    stack.deliver("on-identity-deleted", "iam.user.deleted", json!({"id": "anna"})).await.unwrap();
    check(&stack, "the deletion of an owner").await;
}
