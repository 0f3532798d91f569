//! Which partitions of the table a function may touch, held to those that its calls do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::{ALL, complete_flow};

use crate::deletion::removal;
use crate::stack::Stack;
use crate::template::partitions;

/// The partitions that a call touches, by the action that it needs for each.
fn touched(operation: &str, call: &Value) -> Vec<(String, String)> {
    let key = |key: &Value| key["pk"]["S"].as_str().unwrap().to_owned();
    let one = |action: &str, partition: String| vec![(format!("dynamodb:{action}"), partition)];
    match operation {
        "GetItem" | "UpdateItem" | "DeleteItem" => one(operation, key(&call["Key"])),
        "PutItem" => one(operation, key(&call["Item"])),
        "Query" => one(operation, call["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap().into()),
        "BatchGetItem" => {
            let tables = call["RequestItems"].as_object().unwrap().values();
            let keys = tables.flat_map(|table| table["Keys"].as_array().unwrap());
            keys.flat_map(|item| one(operation, key(item))).collect()
        }
        // Each part of a transaction needs what the same call alone does.
        "TransactWriteItems" => {
            let parts = call["TransactItems"].as_array().unwrap().iter();
            let parts = parts.flat_map(|part| part.as_object().unwrap());
            parts
                .flat_map(|(kind, part)| match kind.as_str() {
                    "Put" => one("PutItem", key(&part["Item"])),
                    "ConditionCheck" => one("ConditionCheckItem", key(&part["Key"])),
                    kind => one(&format!("{kind}Item"), key(&part["Key"])),
                })
                .collect()
        }
        other => panic!("nobody calls {other}"),
    }
}

fn is_like(pattern: &str, partition: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == partition, |start| partition.starts_with(start))
}

#[tokio::test]
async fn functions_touch_all_partitions_that_they_may_and_no_others() {
    let stack = Stack::start().await;
    let token = stack.token("anna", "acme", ALL);
    let reader = stack.token("anna", "acme", "secrets.secret.readRaw");
    let mut seen: BTreeMap<&str, BTreeSet<(String, String)>> = BTreeMap::new();
    let mut note = |function: &'static str| {
        let (calls, sent) = (stack.calls.take(), stack.dynamodb.take_sent());
        let calls: Vec<_> = calls.iter().filter(|call| !VAULT.contains(&call.as_str())).collect();
        assert_eq!(calls.len(), sent.len(), "{function}: {calls:?}");
        let touched = calls.iter().zip(&sent).flat_map(|(call, body)| touched(call, body));
        seen.entry(function).or_default().extend(touched);
    };
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let create = ("create-secret", "POST /secrets");
    note("create-secret");
    let (_, told, _) =
        stack.request_with(create.0, create.1, "", &token, ("idempotency-key", "k"), secret).await;
    let id = told["data"]["id"].as_str().unwrap();
    note("create-secret");
    let mut flow = complete_flow("x");
    flow["graph"]["nodes"][0]["credentials_id"] = json!(id);
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &token, flow).await;
    let flow = flow["data"]["id"].as_str().unwrap();
    stack.request("start-flow", "POST /flows/{id}/start", flow, &token, Value::Null).await;
    note("other");
    for (function, route, token, body) in [
        ("list-secrets", "GET /secrets", &token, Value::Null),
        ("get-secret", "GET /secrets/{id}", &reader, Value::Null),
        ("update-secret", "PATCH /secrets/{id}", &token, json!({"value": {"key": "l"}})),
        (
            "update-secret",
            "PATCH /secrets/{id}",
            &token,
            json!({"owners": [{"id": "anna", "type": "USER"}, {"id": "bert", "type": "USER"}]}),
        ),
        ("update-secret", "PATCH /secrets/{id}", &token, json!({"owners": [{"id": "anna", "type": "USER"}]})),
        ("delete-secret", "DELETE /secrets/{id}", &token, Value::Null),
        ("check-health", "GET /healthcheck", &token, Value::Null),
    ] {
        let (status, told) = stack.request(function, route, id, token, body).await;
        assert!(status < 300 || status == 409, "{route}: {status} {told}");
        note(function);
    }
    stack.request("stop-flow", "POST /flows/{id}/stop", flow, &token, Value::Null).await;
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": flow})).await.unwrap();
    note("other");
    stack.request("delete-secret", "DELETE /secrets/{id}", id, &token, Value::Null).await;
    note("delete-secret");
    stack.request("delete-flow", "DELETE /flows/{id}", flow, &token, Value::Null).await;
    note("other");
    stack.functions.invoke("purge-flows", removal(flow, Timestamp::now())).await.unwrap();
    note("purge-flows");
    // What is half done is settled.
    let broken = json!({"name": "m", "type": "API_KEY", "value": {"key": "k"}});
    stack.request_and_crash(3, create.0, create.1, "", &token, broken).await;
    note("create-secret");
    stack.sweep().await;
    note("sweep-secrets");
    // Functions greet the table while they start.
    for function in ["create-secret", "delete-secret", "get-secret", "list-secrets", "update-secret"] {
        seen.entry(function).or_default().insert(("dynamodb:GetItem".into(), "PING".into()));
    }
    seen.remove("other");
    for (function, touched) in seen {
        let allowed = partitions(function);
        for (action, partition) in &touched {
            let patterns = &allowed[action];
            assert!(
                patterns.iter().any(|pattern| is_like(pattern, partition)),
                "{function}: {action} {partition}"
            );
        }
        // What a statement allows it may do with one action alone: somebody needs it for one of them.
        let patterns: BTreeSet<_> = allowed.values().flatten().collect();
        for pattern in patterns {
            let needed = touched.iter().any(|(_, partition)| is_like(pattern, partition));
            assert!(needed, "{function} never touches {pattern}");
        }
    }
}

/// Calls to Secrets Manager.
const VAULT: [&str; 6] = [
    "CreateSecret",
    "DeleteSecret",
    "DescribeSecret",
    "GetSecretValue",
    "PutSecretValue",
    "UpdateSecretVersionStage",
];
