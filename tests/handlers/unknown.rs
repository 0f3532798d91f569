//! Members that no flow has: they are dropped, and the answer says so.

use serde_json::{Map, Value, json};
use tests::{ALL, complete_flow};

use crate::stack::{Stack, read};

const COMPONENT: &str = "5ca5c44c187c040010a9bb8b";

/// A flow with members that are unknown on every level, and what is said of them.
fn misspelt() -> (Value, Vec<(&'static str, Option<&'static str>)>) {
    let flow = json!({
        "name": "F",
        "description:": "x",
        "graph": {
            "node": [],
            "nodes": [
                {"id": "a", "component_id": COMPONENT, "componentId": COMPONENT, "function": "f"},
                {"id": "b", "command": "shop/rest:get@latest", "data": {"interval": "minute"},
                 "componentId": COMPONENT, "function": "f", "fields": {"free": {"to": "say"}}, "nodeSettings": {"x": 1}},
            ],
            "edges": [{"source": "a", "target": "b", "Id": "1", "config": {"conditoin": "x", "mapper": {"y": 1}}}],
        },
        "owners": [{"id": "bert", "type": "user", "roel": "viewer"}],
        "flowSettings": {"anything": true},
        "a/b~c": 1,
    });
    let told = vec![
        ("/a~1b~0c", None),
        ("/description:", Some("Did you mean `description`?")),
        ("/graph/node", Some("Did you mean `nodes`?")),
        ("/graph/nodes/0/component_id", Some("Did you mean `componentId`?")),
        ("/graph/nodes/1/command", None),
        ("/graph/nodes/1/data", None),
        ("/graph/edges/0/Id", Some("Did you mean `id`?")),
        ("/graph/edges/0/config/conditoin", Some("Did you mean `condition`?")),
        ("/owners/0/roel", Some("Did you mean `role`?")),
    ];
    (flow, told)
}

/// What an answer says of unknown members, in the order of their places.
fn told(entries: &Value) -> Vec<(String, Option<String>)> {
    let entries = entries.as_array().cloned().unwrap_or_default().into_iter();
    let unknown = entries.filter(|entry| entry["reason"] == "member.unknown").map(|entry| {
        let fix = entry["fix"].as_str().filter(|fix| fix.starts_with("Did you mean")).map(Into::into);
        (entry["pointer"].as_str().unwrap().to_owned(), fix)
    });
    let mut unknown: Vec<_> = unknown.collect();
    unknown.sort();
    unknown
}

fn expected(prefix: &str, entries: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    let entry = |(pointer, fix): &(&str, Option<&str>)| (format!("{prefix}{pointer}"), fix.map(Into::into));
    let mut expected: Vec<_> = entries.iter().map(entry).collect();
    expected.sort();
    expected
}

async fn send(
    stack: &Stack,
    (function, route, id): (&str, &str, &str),
    token: &str,
    media: &str,
    body: &Value,
) -> (u16, Value) {
    read(&stack.send_with(function, route, id, token, &[("content-type", media)], body).await)
}

/// Every write that takes a document with members that are unknown on every level, and what its pointers begin with.
fn writes(id: &str) -> Vec<(&'static str, &'static str, &'static str, Value, &'static str)> {
    let (flow, _) = misspelt();
    let with_id = {
        let mut item = flow.clone();
        item["id"] = json!(id);
        item
    };
    let members = flow.as_object().unwrap().iter();
    let operations: Vec<_> = members
        .map(|(name, value)| {
            let path = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            json!({"op": "add", "path": path, "value": value})
        })
        .collect();
    let json = "application/json";
    vec![
        ("create-flow", "POST /flows", json, flow.clone(), ""),
        ("create-flow", "POST /flows", json, json!([complete_flow("x"), flow]), "/1"),
        ("replace-flow", "PUT /flows/{id}", json, flow.clone(), ""),
        ("update-flow", "PATCH /flows/{id}", json, flow.clone(), ""),
        ("update-flow", "PATCH /flows/{id}", "application/merge-patch+json", flow.clone(), ""),
        ("update-flow", "PATCH /flows/{id}", "application/json-patch+json", operations.into(), ""),
        ("update-flows", "PATCH /flows/bulk", json, with_id.clone(), ""),
        ("update-flows", "PATCH /flows/bulk", json, json!([{"id": id}, with_id]), "/1"),
    ]
}

#[tokio::test]
async fn every_write_says_which_members_it_drops() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let (_, entries) = misspelt();
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("one")).await;
    let id = flow["data"]["id"].as_str().unwrap();
    for (function, route, media, body, prefix) in writes(id) {
        let wanted = expected(prefix, &entries);
        let validated = format!("{route}?validateOnly=true");
        let (status, said) = send(&stack, (function, &validated, id), &anna, media, &body).await;
        assert_eq!(status, 200, "{validated} {media}: {said}");
        if prefix.is_empty() && function != "update-flows" {
            assert_eq!(told(&said["data"]["diagnostics"]), wanted, "{validated} {media}: {said}");
        } else {
            assert!(said.to_string().contains("/graph/edges/0/config/conditoin"), "{validated}: {said}");
        }
        // What changes nothing else drops as much.
        for status in [if function == "create-flow" { 201 } else { 200 }, 0] {
            let (given, said) = send(&stack, (function, route, id), &anna, media, &body).await;
            assert!(given == status || status == 0 && given < 300, "{route} {media}: {said}");
            assert_eq!(told(&said["meta"]["warnings"]), wanted, "{route} {media}: {said}");
        }
    }
    let (_, stored) = stack.request("get-flow", "GET /flows/{id}", id, &anna, Value::Null).await;
    for dropped in ["description:", "node", "a/b~c"] {
        assert!(stored["data"].get(dropped).is_none(), "{stored}");
    }
}

#[tokio::test]
async fn a_node_with_an_unknown_member_is_named() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let (flow, entries) = misspelt();
    let (_, said) = stack.request("validate-flow", "POST /flows/validate", "", &anna, flow.clone()).await;
    assert_eq!(said["data"]["valid"], true, "{said}");
    assert_eq!(told(&said["data"]["diagnostics"]), expected("", &entries));
    let (_, written) = stack.request("create-flow", "POST /flows", "", &anna, flow).await;
    for entries in [&said["data"]["diagnostics"], &written["meta"]["warnings"]] {
        let entries = entries.as_array().unwrap();
        let command = entries.iter().find(|entry| entry["pointer"] == "/graph/nodes/1/command").unwrap();
        assert_eq!(
            (&command["message"], &command["nodeId"], &command["severity"], command["fix"].is_string()),
            (&json!("Flow nodes have no member \"command\"."), &json!("b"), &json!("warning"), true)
        );
    }
    // The only node of a graph may stand without its list; and what is wrong otherwise hides nothing.
    let bare = json!({"graph": {"nodes": {"id": "a", "commnad": 1, "function": {}}}, "nmae": "x"});
    let (_, said) = stack.request("validate-flow", "POST /flows/validate", "", &anna, bare).await;
    assert_eq!(said["data"]["valid"], false, "{said}");
    let wanted = [("/nmae", Some("Did you mean `name`?")), ("/graph/nodes/commnad", None)];
    assert_eq!(told(&said["data"]["diagnostics"]), expected("", &wanted), "{said}");
    let entries = said["data"]["diagnostics"].as_array().unwrap();
    let unknown = entries.iter().find(|entry| entry["pointer"] == "/graph/nodes/commnad").unwrap();
    assert_eq!(unknown["nodeId"], "a");
}

#[tokio::test]
async fn strict_refuses_what_would_be_dropped() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let (misspelt, entries) = misspelt();
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("one")).await;
    let id = flow["data"]["id"].as_str().unwrap();
    let count = async || stack.items().await.len();
    let before = (count().await, stack.sequence(id).await);
    for (function, route, media, body, prefix) in writes(id) {
        // Of several, others are written.
        let body = if prefix.is_empty() { body } else { json!([body[1]]) };
        let prefix = if prefix.is_empty() { "" } else { "/0" };
        let many = body.is_array() && media == "application/json" || function == "update-flows";
        for query in ["strict=true", "strict=true&validateOnly=true"] {
            let route = format!("{route}?{query}");
            let (status, said) = send(&stack, (function, &route, id), &anna, media, &body).await;
            let errors = if many { &said["data"][0]["errors"] } else { &said["errors"] };
            assert_eq!(told(errors), expected(prefix, &entries), "{route} {media}: {said}");
            let wanted = if function == "update-flows" { 200 } else { 400 };
            assert_eq!(status, wanted, "{route} {media}: {said}");
        }
        for wrong in ["strict=1", "strict=", "strict=true&strict=true", "strict=True"] {
            let route = format!("{route}?{wrong}");
            let (status, said) = send(&stack, (function, &route, id), &anna, media, &body).await;
            assert_eq!(
                (status, &said["errors"][0]["message"]),
                (400, &json!("Invalid strict parameter")),
                "{route}"
            );
        }
    }
    assert_eq!((count().await, stack.sequence(id).await), before, "nothing was written");
    let validate = "POST /flows/validate?strict=true";
    let (status, said) = stack.request("validate-flow", validate, "", &anna, misspelt).await;
    assert_eq!((status, &said["data"]["valid"]), (200, &json!(false)));
    assert_eq!(told(&said["data"]["diagnostics"]), expected("", &entries));
    let severities = said["data"]["diagnostics"].as_array().unwrap().iter();
    assert!(
        severities
            .filter(|found| found["reason"] == "member.unknown")
            .all(|found| found["severity"] == "error")
    );
    let (status, _) =
        stack.request("validate-flow", "POST /flows/validate?strict=0", "", &anna, complete_flow("x")).await;
    assert_eq!(status, 400);
    // What nothing is wrong with is written, and so is everything without the parameter.
    for (route, status) in [("POST /flows?strict=true", 201), ("POST /flows?strict=false", 201)] {
        assert_eq!(stack.request("create-flow", route, "", &anna, complete_flow("x")).await.0, status);
    }
    // An owner beside the unknown member is looked at all the same.
    let mut foreign = complete_flow("x");
    foreign["owners"] = json!([{"id": "globex", "type": "tenant", "x": 1}]);
    let (_, said) = stack.request("create-flow", "POST /flows?strict=true", "", &anna, foreign).await;
    let mut reasons: Vec<_> =
        said["errors"].as_array().unwrap().iter().map(|entry| entry["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["member.unknown", "owner.tenant.foreign"], "{said}");
}

#[tokio::test]
async fn what_is_shown_can_be_sent_back_in_every_state() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let mut whole = complete_flow("one");
    for (name, value) in [("description", "d"), ("cron", "0 6 * * *"), ("fromTemplate", COMPONENT)] {
        whole[name] = json!(value);
    }
    whole["flowSettings"] = json!({"a": 1});
    whole["graph"]["nodes"][0]["name"] = json!("n");
    whole["graph"]["nodes"][0]["description"] = json!("d");
    whole["graph"]["nodes"][0]["fields"] = json!({"a": 1});
    whole["graph"]["nodes"][0]["nodeSettings"] = json!({"a": 1});
    whole["graph"]["edges"][0]["id"] = json!("e");
    whole["graph"]["edges"][0]["config"] = json!({"condition": "c", "mapper": {}});
    whole["owners"] = json!([{"id": "bert", "type": "user", "role": "viewer"}]);
    let (status, flow) = stack.request("create-flow", "POST /flows", "", &anna, whole).await;
    assert_eq!((status, &flow["meta"]), (201, &json!({})), "{flow}");
    let id = flow["data"]["id"].as_str().unwrap();
    let report = async |kind: &str, reason: &str| {
        stack.deliver("on-flow-status", kind, json!({"id": id, "reason": reason})).await.unwrap();
    };
    let order = async |order: &str| {
        let route = format!("POST /flows/{{id}}/{order}");
        stack.request(&format!("{order}-flow"), &route, id, &anna, Value::Null).await;
    };
    let get =
        async || stack.request("get-flow", "GET /flows/{id}", id, &anna, Value::Null).await.1["data"].clone();
    let mut shown = vec![get().await];
    order("start").await;
    shown.push(get().await);
    report("flow.started", "").await;
    shown.push(get().await);
    report("flow.failed", "It broke.").await;
    shown.push(get().await);
    report("flow.stopped", "").await;
    shown.push(get().await);
    let statuses: Vec<_> = shown.iter().map(|flow| flow["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(statuses, ["inactive", "starting", "active", "stopping", "inactive"]);
    assert!(shown[4]["statusReason"].is_string() && shown[1]["runId"].is_string());
    let route = "GET /flows/{id}/versions/1";
    shown.push(stack.request("get-version", route, id, &anna, Value::Null).await.1["data"]["flow"].clone());
    let (_, gone) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("gone")).await;
    let gone = gone["data"]["id"].as_str().unwrap();
    stack.request("delete-flow", "DELETE /flows/{id}", gone, &anna, Value::Null).await;
    let (_, deleted) =
        stack.request("list-flows", "GET /flows?filter[deleted]=true", "", &anna, Value::Null).await;
    assert!(deleted["data"][0]["deletedAt"].is_string(), "{deleted}");
    shown.push(deleted["data"][0].clone());
    // As upstream shows and announces it.
    let mut upstream = shown[0].clone();
    upstream["__v"] = json!(0);
    upstream["_id"] = json!(id);
    upstream["startedBy"] = json!("anna");
    for list in ["/graph/nodes", "/graph/edges", "/owners"] {
        for element in upstream.pointer_mut(list).unwrap().as_array_mut().unwrap() {
            element["_id"] = json!(COMPONENT);
        }
    }
    shown.push(upstream);
    for body in shown {
        for (function, route) in [
            ("replace-flow", "PUT /flows/{id}?strict=true"),
            ("update-flow", "PATCH /flows/{id}?strict=true"),
            ("update-flows", "PATCH /flows/bulk?strict=true"),
            ("create-flow", "POST /flows?strict=true"),
            ("create-flow", "POST /flows"),
        ] {
            let (_, said) = stack.request(function, route, id, &anna, body.clone()).await;
            assert!(!said.to_string().contains("member.unknown"), "{route} {body}: {said}");
        }
    }
}

#[tokio::test]
async fn a_hundred_thousand_unknown_members_are_told_within_bounds() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let mut flow = complete_flow("x");
    let members: Map<String, Value> = (0..100_000).map(|number| (format!("{number:x}"), json!(0))).collect();
    flow.as_object_mut().unwrap().extend(members);
    let long = "é/".repeat(2000);
    let mut deep = complete_flow("y");
    deep["graph"]["nodes"][0][&long] = json!(1);
    for (route, status, most) in [("POST /flows", 201, 100), ("POST /flows?strict=true", 400, 1000)] {
        let began = std::time::Instant::now();
        let (given, said) = stack.request("create-flow", route, "", &anna, flow.clone()).await;
        assert_eq!(given, status);
        let entries = if status == 201 { &said["meta"]["warnings"] } else { &said["errors"] };
        let entries = entries.as_array().unwrap();
        assert_eq!(told(&json!(entries)).len(), most);
        let more: Vec<_> = entries.iter().filter(|entry| entry["reason"] == "more_faults").collect();
        assert_eq!((more.len(), entries.len()), (1, most + 1));
        assert!(said.to_string().len() < 400_000, "{}", said.to_string().len());
        assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
        let (_, said) = stack.request("create-flow", route, "", &anna, deep.clone()).await;
        let entries = if status == 201 { &said["meta"]["warnings"] } else { &said["errors"] };
        assert_eq!(told(entries), [("/graph/nodes/0".to_owned(), None)], "{said}");
        assert!(said.to_string().len() < 4000);
    }
    // More of other rules, and it is said once that there is more.
    let nodes: Vec<_> = (0..150).map(|node| json!({"id": node.to_string()})).collect();
    let edges: Vec<_> = (1..150).map(|node| json!({"source": "0", "target": node.to_string()})).collect();
    flow["graph"] = json!({"nodes": nodes, "edges": edges});
    let (_, said) = stack.request("validate-flow", "POST /flows/validate", "", &anna, flow).await;
    let entries = said["data"]["diagnostics"].as_array().unwrap();
    let more = entries.iter().filter(|entry| entry["reason"] == "more_faults").count();
    assert_eq!((more, &entries.last().unwrap()["reason"]), (1, &json!("more_faults")));
    assert_eq!(told(&said["data"]["diagnostics"]).len(), 100);
}
