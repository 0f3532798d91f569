//! What each route costs in calls to the table, held to docs/calls.md.

use std::time::Duration;

use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::{ALL, complete_flow};

use crate::deletion::removal;
use crate::stack::{LIMIT, Stack};

const TABLE: &str = include_str!("../../docs/calls.md");

/// The documented calls: the two first columns of the table in docs/calls.md.
fn documented() -> Vec<(String, String)> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| What"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        (cells.next().unwrap(), cells.next().unwrap())
    })
    .collect()
}

/// Calls in order, repeated ones counted: `GetItem, 2 × Query`.
fn summary(calls: &[String]) -> String {
    let parts: Vec<_> = calls
        .chunk_by(|a, b| a == b)
        .map(|same| if same.len() == 1 { same[0].clone() } else { format!("{} × {}", same.len(), same[0]) })
        .collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

/// The calls of the secrets' routes, in the life of one secret.
async fn secrets(stack: &Stack, anna: &str, note: &mut impl FnMut(&str)) {
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let mut ids = Vec::new();
    for _ in 0..2 {
        stack.calls.take();
        let (status, body) = stack.request("create-secret", "POST /secrets", "", anna, secret.clone()).await;
        assert_eq!(status, 201, "{body}");
        ids.push(body["data"]["id"].as_str().unwrap().to_owned());
    }
    let stored = stack.calls.take();
    let mut flow = complete_flow("x");
    for (node, id) in ids.iter().enumerate() {
        flow["graph"]["nodes"][node]["credentials_id"] = json!(id);
    }
    let (status, flow) = stack.request("create-flow", "POST /flows", "", anna, flow).await;
    assert_eq!(status, 201, "{flow}");
    let flow = flow["data"]["id"].as_str().unwrap();
    note("create a flow that uses two secrets");
    let (_, mut shown) = stack.request("get-flow", "GET /flows/{id}", flow, anna, Value::Null).await;
    stack.calls.take();
    let (status, _) =
        stack.request("validate-flow", "POST /flows/validate", "", anna, shown["data"].take()).await;
    assert_eq!(status, 200);
    note("validate one that uses two secrets");
    stack.calls.put(stored);
    note("store a secret");
    let id = ids[0].as_str();
    let reader = stack.token("anna", "acme", "secrets.secret.readRaw");
    let eve = stack.token("eve", "", ALL);
    let get =
        async |token: &str| stack.request("get-secret", "GET /secrets/{id}", id, token, Value::Null).await.0;
    assert_eq!(get(anna).await, 200);
    note("get a secret, masked");
    assert_eq!(get(&reader).await, 200);
    note("get its value");
    assert_eq!(get(&eve).await, 404);
    note("get a secret that is not there, or not the caller's");
    assert_eq!(stack.request("list-secrets", "GET /secrets", "", anna, Value::Null).await.0, 200);
    note("list secrets, user and tenant");
    let change = async |body| stack.request("update-secret", "PATCH /secrets/{id}", id, anna, body).await.0;
    assert_eq!(change(json!({"value": {"key": "l"}})).await, 200);
    note("change the value of a secret");
    assert_eq!(change(json!({"name": "m"})).await, 200);
    note("change all but the value");
    let bert = json!({"id": "bert", "type": "USER"});
    assert_eq!(change(json!({"owners": [{"id": "anna", "type": "USER"}, bert]})).await, 200);
    stack.calls.take();
    assert_eq!(change(json!({"owners": [{"id": "anna", "type": "USER"}]})).await, 200);
    note("take an owner off a secret");
    let usages = stack.request("list-secret-usages", "GET /secrets/{id}/usages", id, anna, Value::Null).await;
    assert_eq!((usages.0, usages.1["data"].as_array().unwrap().len()), (200, 1));
    note("list the flows that use a secret");
    let delete =
        async || stack.request("delete-secret", "DELETE /secrets/{id}", id, anna, Value::Null).await.0;
    assert_eq!(stack.request("start-flow", "POST /flows/{id}/start", flow, anna, Value::Null).await.0, 200);
    stack.calls.take();
    assert_eq!(delete().await, 409);
    note("delete a secret that a running flow uses");
    stack.request("stop-flow", "POST /flows/{id}/stop", flow, anna, Value::Null).await;
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": flow})).await.unwrap();
    stack.calls.take();
    assert_eq!(delete().await, 204);
    note("delete a secret");
    stack.deliver("on-identity-deleted", "iam.user.deleted", json!({"id": "nobody"})).await.unwrap();
    note("take everything from a deleted user that has nothing");
    let later = Duration::from_mins(1);
    stack.invoke_later("on-identity-deleted", later).await;
    note("the same for the last time");
    stack.invoke_later("on-identity-deleted", later).await;
    note("go on with deleted users and tenants, nothing to do");
    stack.sweep().await;
    note("sweep, nothing to do");
    stack.invoke_later("reconcile-flows", LIMIT).await;
    note("reconcile, nothing waits");
}

/// The calls of what keeps flows from being lost, in the life of one flow.
async fn safety_nets(stack: &Stack, anna: &str, root: &str, note: &mut impl FnMut(&str)) {
    let (once, flow) = (("idempotency-key", "k"), complete_flow("x"));
    for (what, replayed) in [("create a flow under a key", Value::Null), ("the same again", json!("true"))] {
        let (status, _, headers) =
            stack.request_with("create-flow", "POST /flows", "", anna, once, flow.clone()).await;
        assert_eq!((status, &headers["idempotency-replayed"]), (201, &replayed));
        note(what);
    }
    let many = json!([complete_flow("y")]);
    let (status, ..) =
        stack.request_with("create-flow", "POST /flows", "", anna, ("idempotency-key", "l"), many).await;
    assert_eq!(status, 201);
    note("create one flow of many under a key");
    let id = "5ca5c44c187c040010a9bb8b";
    let put = async |header: (&str, &str), body: Value| {
        stack.request_with("replace-flow", "PUT /flows/{id}", id, anna, header, body).await
    };
    let (status, _, headers) = put(("if-none-match", "*"), flow).await;
    assert_eq!(status, 201);
    let tag = headers["etag"].as_str().unwrap().trim_start_matches('"');
    let first: u64 = tag.split('-').next().unwrap().parse().unwrap();
    note("create a flow under a chosen id");
    for (what, name) in [("replace a flow", "y"), ("replace it again", "z")] {
        assert_eq!(put(("if-match", "*"), complete_flow(name)).await.0, 200);
        note(what);
    }
    let route = format!("GET /flows/{{id}}/versions/{first}");
    let (_, version, headers) = stack.request_with("get-version", &route, id, anna, once, Value::Null).await;
    assert_eq!(version["data"]["flow"]["name"], "x");
    note("get a former version");
    assert_eq!(put(("if-match", headers["etag"].as_str().unwrap()), complete_flow("w")).await.0, 412);
    note("refuse to change another state, and say what has changed");
    let ask = async |function: &str, route: &str, token: &str| {
        let (status, answer) = stack.request(function, route, id, token, Value::Null).await;
        assert_eq!(status, 200, "{route}: {answer}");
    };
    ask("get-version", &format!("GET /flows/{{id}}/versions/{}", first + 2), anna).await;
    note("get the version that it is");
    ask("list-versions", "GET /flows/{id}/versions", anna).await;
    note("list versions");
    let two = format!("GET /flows/{{id}}/diff?from={first}&to={}", first + 1);
    ask("compare-versions", &two, anna).await;
    note("compare two former versions");
    ask("restore-version", &format!("POST /flows/{{id}}/versions/{first}/restore"), anna).await;
    note("restore a version");
    ask("delete-flow", "DELETE /flows/{id}", anna).await;
    note("delete a flow that has versions");
    ask("list-flows", "GET /flows?filter[deleted]=true", anna).await;
    note("list deleted flows, user and tenant");
    ask("restore-flow", "POST /flows/{id}/restore", anna).await;
    note("restore a flow");
    ask("delete-flow", "DELETE /flows/{id}?purge=true", root).await;
    note("erase a flow");
    stack.functions.invoke("purge-flows", removal(id, Timestamp::now())).await.unwrap();
    note("erase its three versions");
    let validate = async |route: &str, body: Value| {
        let (status, answer) = stack.request("validate-flow", route, "", anna, body).await;
        assert_eq!(status, 200, "{answer}");
    };
    validate("POST /flows/validate", complete_flow("x")).await;
    note("validate a flow");
}

#[tokio::test]
async fn every_route_makes_the_documented_calls() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "acme", ALL), stack.token("root", "", "all"));
    let mut measured: Vec<(String, String)> = Vec::new();
    let mut note = |what: &str| measured.push((what.to_owned(), summary(&stack.calls.take())));

    for _ in 0..10 {
        let flows = Value::Array(vec![complete_flow("one of a thousand"); 100]);
        let (status, _) = stack.request("create-flow", "POST /flows", "", &anna, flows).await;
        assert_eq!(status, 201);
    }
    stack.calls.take();

    let (status, created) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    assert_eq!(status, 201);
    let id = created["data"]["id"].as_str().unwrap().to_owned();
    note("create a flow");
    stack
        .request("create-flow", "POST /flows", "", &anna, json!([complete_flow("y"), complete_flow("z")]))
        .await;
    note("create two flows at once");
    assert_eq!(stack.request("get-flow", "GET /flows/{id}", &id, &anna, Value::Null).await.0, 200);
    note("get a flow");
    assert_eq!(
        stack.request("get-flow", "GET /flows/{id}", "5ca5c44c187c040010a9bb8b", &anna, Value::Null).await.0,
        404
    );
    note("get a flow that is not there, or not the caller's");

    let (_, page) = stack.request("list-flows", "GET /flows?page[size]=10", "", &anna, Value::Null).await;
    assert_eq!((page["data"].as_array().unwrap().len(), &page["meta"]["total"]), (10, &json!(1003)));
    note("list a page of 10 out of 1,000, user and tenant");
    let next = page["meta"]["next"].as_str().unwrap();
    stack.request("list-flows", &format!("GET /flows?page[after]={next}"), "", &anna, Value::Null).await;
    note("list the next page by cursor, user and tenant");
    stack.request("list-flows", "GET /flows?search=thousand&sort=name", "", &anna, Value::Null).await;
    note("search and sort, user and tenant");
    let alone = stack.token("anna", "", ALL);
    stack.request("list-flows", "GET /flows", "", &alone, Value::Null).await;
    note("list, a user without tenant");
    stack.request("list-flows", "GET /flows?page[after]=", "", &root, Value::Null).await;
    note("list by cursor, administrator");

    assert_eq!(
        stack.request("update-flow", "PATCH /flows/{id}", &id, &anna, json!({"name": "y"})).await.0,
        200
    );
    note("change a flow");
    assert_eq!(
        stack.request("update-flow", "PATCH /flows/{id}", &id, &anna, json!({"name": "y"})).await.0,
        200
    );
    note("change nothing of a flow");
    let body = json!([{"id": id, "name": "z"}, {"id": id, "name": "w"}]);
    assert_eq!(stack.request("update-flows", "PATCH /flows/bulk", "", &anna, body).await.0, 200);
    note("change two flows at once");
    assert_eq!(stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await.0, 200);
    note("start a flow");
    assert_eq!(stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await.0, 200);
    note("start a flow that is starting or active");
    stack.deliver("on-flow-status", "flow.started", json!({"id": id})).await.unwrap();
    note("flow.started, flow.stopped or flow.failed");
    stack.deliver("on-flow-status", "flow.started", json!({"id": id})).await.unwrap();
    note("the same late or twice");
    assert_eq!(stack.request("stop-flow", "POST /flows/{id}/stop", &id, &anna, Value::Null).await.0, 200);
    note("stop a flow");
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();
    stack.calls.take();
    assert_eq!(
        stack.request("start-flows", "POST /flows/multiple/start", "", &anna, json!([id])).await.0,
        200
    );
    note("start one flow of many");
    stack.deliver("on-flow-status", "flow.failed", json!({"id": id})).await.unwrap();
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();
    stack.calls.take();
    assert_eq!(stack.request("delete-flow", "DELETE /flows/{id}", &id, &anna, Value::Null).await.0, 200);
    note("delete a flow");
    safety_nets(&stack, &anna, &root, &mut note).await;
    secrets(&stack, &anna, &mut note).await;
    assert_eq!(stack.request("check-health", "GET /healthcheck", "", "", Value::Null).await.0, 200);
    note("check the health");

    let reader = stack.token("anna", "acme", "flows.read");
    for (status, function, route, id, token, body) in [
        (401, "get-flow", "GET /flows/{id}", id.as_str(), "", Value::Null),
        (401, "get-flow", "GET /flows/{id}", &id, "no token", Value::Null),
        (403, "create-flow", "POST /flows", "", &reader, complete_flow("x")),
        (403, "start-flow", "POST /flows/{id}/start", &id, &reader, Value::Null),
        (400, "get-flow", "GET /flows/{id}", "xx", &anna, Value::Null),
        (400, "create-flow", "POST /flows", "", &anna, json!({"graph": {}})),
        (400, "update-flow", "PATCH /flows/{id}", &id, &anna, json!([])),
        (400, "list-flows", "GET /flows?sort=x", "", &anna, Value::Null),
    ] {
        assert_eq!(stack.request(function, route, id, token, body).await.0, status);
    }
    note("whatever is refused with 400, 401 or 403");
    assert_eq!(measured, documented());
}
