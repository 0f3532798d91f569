//! Flows that are looked at and not stored.

use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::stack::Stack;

/// Calls that change nothing.
const READS: [&str; 4] = ["GetItem", "BatchGetItem", "Query", "GetSecretValue"];

fn reasons(answer: &Value) -> Vec<(&'static str, &'static str, &'static str)> {
    let diagnostics = answer["data"]["diagnostics"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let text = |found: &'_ Value, name: &str| found[name].as_str().unwrap_or_default().to_owned();
    diagnostics
        .iter()
        .map(|found| {
            let [reason, severity, node] = ["reason", "severity", "nodeId"].map(|name| text(found, name));
            (leak(reason), leak(severity), leak(node))
        })
        .collect()
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[tokio::test]
async fn everything_there_is_to_say_about_a_flow_is_said_at_once() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let validate = async |body: Value| {
        stack.calls.take();
        let (status, answer) = stack.request("validate-flow", "POST /flows/validate", "", &anna, body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let good = validate(complete_flow("x")).await;
    assert_eq!(good["data"], json!({"valid": true, "diagnostics": []}));
    assert_eq!(stack.calls.take(), ["BatchGetItem"], "whether an owner is gone");

    let mut body = complete_flow("x");
    body["cron"] = json!("0 12 * * *");
    body["graph"]["nodes"] = json!([
        {"id": "a", "function": "f", "fields": {"password": "hunter2"}},
        {"id": "b", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f", "credentials_id": "5ca5c44c187c040010a9bb8b"},
        {"id": "c", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"},
    ]);
    body["graph"]["edges"] = json!([
        {"source": "a", "target": "b"}, {"source": "b", "target": "c"}, {"source": "c", "target": "b"},
        {"source": "c", "target": "c"},
    ]);
    let answer = validate(body.clone()).await;
    assert_eq!(answer["data"]["valid"], false);
    assert_eq!(
        reasons(&answer),
        [
            ("node.credentials.unknown", "error", "b"),
            ("node.componentId.required", "warning", "a"),
            ("node.fields.credential", "warning", "a"),
            ("edge.self", "warning", ""),
            ("graph.cycle", "warning", "b"),
            ("flow.cron.schedule", "info", ""),
        ],
        "{answer}"
    );
    let schedule = answer["data"]["diagnostics"].as_array().unwrap().last().unwrap();
    assert_eq!((schedule["nextRuns"].as_array().unwrap().len(), &schedule["timeZone"]), (5, &json!("UTC")));
    assert_eq!(stack.calls.take(), ["BatchGetItem", "BatchGetItem"], "owners, and secrets");

    let broken = validate(json!({"graph": {"nodes": [{"id": "a"}, {"id": "a"}, {}]}, "cron": "x"})).await;
    assert_eq!(broken["data"]["valid"], false);
    assert_eq!(
        reasons(&broken),
        [
            ("node.id.duplicate", "error", "a"),
            ("node.id.required", "error", ""),
            ("graph.edges.required", "error", ""),
            ("flow.cron.invalid", "error", ""),
            ("node.function.required", "warning", "a"),
            ("node.componentId.required", "warning", "a"),
            ("node.function.required", "warning", "a"),
            ("node.componentId.required", "warning", "a"),
            ("node.function.required", "warning", ""),
            ("node.componentId.required", "warning", ""),
        ],
    );
    // What does not compress may be too much though the body is not.
    let mut state = 1_u64;
    let noise: String = (0..900_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'0' + u8::try_from(state >> 58).unwrap())
        })
        .collect();
    let mut large = complete_flow("x");
    large["flowSettings"] = json!(noise);
    let told = validate(large.clone()).await;
    assert_eq!(told["data"]["valid"], false);
    assert_eq!(reasons(&told), [("flow.too_large", "error", ""), ("flow.size", "warning", "")]);
    assert_eq!(stack.request("create-flow", "POST /flows", "", &anna, large).await.0, 413);

    let reader = stack.token("anna", "acme", "flows.read");
    let route = "POST /flows/validate";
    assert_eq!(stack.request("validate-flow", route, "", &reader, complete_flow("x")).await.0, 403);
}

#[tokio::test]
async fn every_write_can_be_validated_and_is_not_made() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    let id = flow["data"]["id"].as_str().unwrap();
    stack.request("update-flow", "PATCH /flows/{id}", id, &anna, json!({"name": "y"})).await;
    let (_, gone) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("gone")).await;
    let gone = gone["data"]["id"].as_str().unwrap();
    stack.request("delete-flow", "DELETE /flows/{id}", gone, &anna, Value::Null).await;
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let (_, stored) = stack.request("create-secret", "POST /secrets", "", &anna, secret.clone()).await;
    let secret_id = stored["data"]["id"].as_str().unwrap();
    let bad = json!({"graph": {"nodes": [{"id": "a"}, {"id": "a"}]}});
    let none = Value::Null;

    // What would be done, and what would be refused.
    for (function, route, id, body, status) in [
        ("create-flow", "POST /flows", "", complete_flow("z"), 200),
        ("create-flow", "POST /flows", "", json!([complete_flow("z"), bad]), 200),
        ("create-flow", "POST /flows", "", bad.clone(), 400),
        ("replace-flow", "PUT /flows/{id}", id, complete_flow("z"), 200),
        ("replace-flow", "PUT /flows/{id}", id, bad.clone(), 400),
        ("update-flow", "PATCH /flows/{id}", id, json!({"name": "z"}), 200),
        ("update-flow", "PATCH /flows/{id}", id, bad.clone(), 400),
        ("update-flow", "PATCH /flows/{id}", gone, json!({"name": "z"}), 404),
        ("update-flows", "PATCH /flows/bulk", "", json!([{"id": id, "name": "z"}]), 200),
        ("start-flow", "POST /flows/{id}/start", id, none.clone(), 200),
        ("start-flow", "POST /flows/{id}/start", gone, none.clone(), 404),
        ("stop-flow", "POST /flows/{id}/stop", id, none.clone(), 200),
        ("start-flows", "POST /flows/multiple/start", "", json!([id]), 200),
        ("stop-flows", "POST /flows/multiple/stop", "", json!([id]), 200),
        ("restore-version", "POST /flows/{id}/versions/1/restore", id, none.clone(), 200),
        ("restore-version", "POST /flows/{id}/versions/9/restore", id, none.clone(), 404),
        ("delete-flow", "DELETE /flows/{id}", id, none.clone(), 200),
        ("delete-flow", "DELETE /flows/{id}", gone, none.clone(), 404),
        ("restore-flow", "POST /flows/{id}/restore", gone, none.clone(), 200),
        ("create-secret", "POST /secrets", "", secret, 200),
        ("create-secret", "POST /secrets", "", json!({"name": "n"}), 400),
        ("update-secret", "PATCH /secrets/{id}", secret_id, json!({"name": "m"}), 200),
        ("update-secret", "PATCH /secrets/{id}", secret_id, json!({"type": "?"}), 400),
        ("delete-secret", "DELETE /secrets/{id}", secret_id, none.clone(), 200),
    ] {
        stack.calls.take();
        let route = format!("{route}?validateOnly=true");
        let (given, answer) = stack.request(function, &route, id, &anna, body).await;
        assert_eq!(given, status, "{route}: {answer}");
        if given == 200 && !answer.to_string().contains("errors") {
            assert!(answer.to_string().contains(r#""valid":true"#), "{route}: {answer}");
        }
        let calls = stack.calls.take();
        assert!(calls.iter().all(|call| READS.contains(&call.as_str())), "{route}: {calls:?}");
    }
    let (status, _) =
        stack.request("create-flow", "POST /flows?validateOnly=1", "", &anna, complete_flow("z")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn what_a_validation_says_of_secrets_is_what_the_write_would_say() {
    let stack = Stack::start().await;
    let (anna, eve) = (stack.token("anna", "acme", ALL), stack.token("eve", "globex", ALL));
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let (_, secret) = stack.request("create-secret", "POST /secrets", "", &anna, secret).await;
    let mut flow = complete_flow("x");
    flow["graph"]["nodes"][0]["credentials_id"] = secret["data"]["id"].clone();
    for (token, status) in [(&anna, 201), (&eve, 400)] {
        let route = "POST /flows?validateOnly=true";
        let (validated, answer) = stack.request("create-flow", route, "", token, flow.clone()).await;
        let (written, refusal) = stack.request("create-flow", "POST /flows", "", token, flow.clone()).await;
        assert_eq!((written, validated), (status, if status == 201 { 200 } else { status }));
        if status == 400 {
            assert_eq!(answer["errors"], refusal["errors"]);
        }
    }
}

#[tokio::test]
async fn what_can_still_be_looked_at_is_looked_at() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let node = |id: &str| json!({"id": id, "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"});
    let validate = async |body: Value| {
        let (status, answer) = stack.request("validate-flow", "POST /flows/validate", "", &anna, body).await;
        assert_eq!((status, &answer["data"]["valid"]), (200, &json!(false)), "{answer}");
        reasons(&answer)
    };
    let mut dangling = complete_flow("x");
    dangling["graph"] = json!({
        "nodes": [node("a"), node("b"), node("c")],
        "edges": [
            {"source": "a", "target": "nobody"}, {"source": "b", "target": "b"},
            {"source": "b", "target": "c"}, {"source": "c", "target": "b"},
        ],
    });
    assert_eq!(
        validate(dangling.clone()).await,
        [
            ("edge.target.unknown", "error", ""),
            ("edge.self", "warning", ""),
            // Whether "b" is reached depends on where the first edge is to lead.
            ("graph.cycle", "warning", "b"),
        ]
    );

    // Everything in one body, first what makes it no flow, in its order.
    let body = json!({
        "name": {"en": "x"},
        "cron": "0 6 30 2 *",
        "owners": [{"id": "globex", "type": "tenant"}],
        "graph": {
            "nodes": [
                {"id": "a", "componentId": "zz", "fields": {"password": "hunter2"}}, 7,
                {"id": "b", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f", "credentials_id": "5ca5c44c187c040010a9bb8b"},
            ],
            "edges": [
                {"id": "e", "source": "a", "target": "b"}, null,
                {"id": "e", "source": "a", "target": "b"}, 7,
            ],
        },
    });
    assert_eq!(
        validate(body).await,
        [
            ("cast", "error", ""),
            ("cast", "error", "a"),
            ("cast", "error", ""),
            ("edge.target.required", "error", ""),
            ("edge.source.required", "error", ""),
            ("cast", "error", ""),
            ("edge.source.unknown", "error", ""),
            ("edge.target.unknown", "error", ""),
            ("owner.tenant.foreign", "error", ""),
            ("node.credentials.unknown", "error", "b"),
            ("node.function.required", "warning", "a"),
            ("node.fields.credential", "warning", "a"),
            ("edge.duplicate", "warning", ""),
            ("edge.id.duplicate", "warning", ""),
            ("flow.cron.never", "warning", ""),
        ]
    );
    // A body without a graph has a schedule all the same.
    assert_eq!(
        validate(json!({"cron": "0 6 30 2 *"})).await,
        [("flow.graph.required", "error", ""), ("flow.cron.never", "warning", "")]
    );
    // The table is asked for no more than a flow may have.
    stack.calls.take();
    let nodes: Vec<_> = (10..99)
        .map(|n| json!({"id": n.to_string(), "credentials_id": format!("5ca5c44c187c040010a9bb{n}")}))
        .collect();
    let said =
        validate(json!({"graph": {"nodes": nodes, "edges": [{"source": "10", "target": "11"}]}})).await;
    assert_eq!((said[0].0, stack.calls.take().len()), ("flow.credentials.too_many", 0));
}

#[tokio::test]
async fn owners_who_are_gone_and_unknown_secrets_are_told_together() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    stack.deliver("on-identity-deleted", "iam.user.deleted", json!({"id": "bert"})).await.unwrap();
    let mut body = complete_flow("x");
    body["owners"] = json!([{"id": "bert", "type": "user"}]);
    body["graph"]["nodes"][0]["credentials_id"] = json!("5ca5c44c187c040010a9bb8b");
    let (status, answer) = stack.request("create-flow", "POST /flows", "", &anna, body.clone()).await;
    let reasons_of_write = [0, 1].map(|index| answer["errors"][index]["reason"].as_str().unwrap_or_default());
    assert_eq!((status, reasons_of_write), (400, ["node.credentials.unknown", "owner.deleted"]), "{answer}");
    let (_, answer) = stack.request("validate-flow", "POST /flows/validate", "", &anna, body).await;
    assert_eq!(
        reasons(&answer),
        [("node.credentials.unknown", "error", "step_1"), ("owner.deleted", "error", "")]
    );
}

#[tokio::test]
async fn of_several_starts_it_is_said_once_which_one_is_started() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let node = |id: String| json!({"id": id, "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"});
    let edge = |source: String, target: &str| json!({"source": source, "target": target});
    let write = async |starts: usize, loops: Value| {
        let mut flow = complete_flow("x");
        let nodes =
            std::iter::once(node("end".into())).chain((0..starts).map(|start| node(format!("n{start}"))));
        let edges = (0..starts).map(|start| edge(format!("n{start}"), "end"));
        let edges = edges.chain(loops.as_array().unwrap().iter().cloned());
        flow["graph"] = json!({"nodes": nodes.collect::<Vec<_>>(), "edges": edges.collect::<Vec<_>>()});
        let (status, created) = stack.request("create-flow", "POST /flows", "", &anna, flow).await;
        assert_eq!(status, 201, "{created}");
        let warnings = created["meta"]["warnings"].as_array().unwrap().clone().into_iter();
        let mut warnings = warnings.filter(|warning| warning["reason"] == "graph.several_starts");
        let warning = warnings.next().unwrap();
        assert!(warnings.next().is_none(), "{created}");
        let [pointer, message] =
            ["pointer", "message"].map(|name| warning[name].as_str().unwrap().to_owned());
        (pointer, message)
    };
    let told = |pointer: &str, message: &str| (pointer.to_owned(), message.to_owned());
    assert_eq!(
        write(3, json!([])).await,
        told("/graph/nodes/2", "Only node \"n0\" is started. No edge leads to these either: \"n1\", \"n2\".")
    );
    // Who looks for the node to start sees any edge that leads to it.
    assert_eq!(
        write(2, json!([edge("n0".into(), "n0")])).await,
        told("/graph/nodes/1", "Only node \"n1\" is started. No edge leads to these either: \"n0\".")
    );
    let (pointer, message) = write(1000, json!([])).await;
    assert_eq!(pointer, "/graph/nodes/2");
    assert!(message.ends_with(", \"n10\", 989 more.") && message.len() < 200, "{message}");
}

#[tokio::test]
async fn a_cycle_that_is_meant_is_told_how_to_be_kept() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let mut flow = complete_flow("x");
    let next = json!({"source": "step_2", "target": "step_1", "config": {"condition": "hasNextPage"}});
    flow["graph"]["edges"].as_array_mut().unwrap().push(next);
    let (_, created) = stack.request("create-flow", "POST /flows", "", &anna, flow).await;
    let warnings = created["meta"]["warnings"].as_array().unwrap();
    let cycle = warnings.iter().find(|warning| warning["reason"] == "graph.cycle").unwrap();
    let fix = cycle["fix"].as_str().unwrap();
    for part in ["condition", "`RULE_LEVELS=graph.cycle=off`", "remove the edge that leads back"] {
        assert!(fix.contains(part), "{fix}");
    }
}
