//! What a patch says of a flow that runs, and what is wrong with one.

use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::stack::{Stack, read};

const MERGE: &str = "application/merge-patch+json";
const OPERATIONS: &str = "application/json-patch+json";

async fn patch(stack: &Stack, token: &str, id: &str, media: &str, body: Value) -> (u16, Value) {
    let headers = [("content-type", media)];
    read(&stack.send_with("update-flow", "PATCH /flows/{id}", id, token, &headers, &body).await)
}

async fn flow(stack: &Stack) -> (String, String) {
    let anna = stack.token("anna", "acme", ALL);
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("one")).await;
    (flow["data"]["id"].as_str().unwrap().to_owned(), anna)
}

#[tokio::test]
async fn a_patch_that_is_in_effect_is_so_whatever_the_flow_does() {
    let stack = Stack::start().await;
    let (id, anna) = flow(&stack).await;
    let run = async |kind: &str| {
        stack.deliver("on-flow-status", kind, json!({"id": id})).await.unwrap();
    };
    for status in ["inactive", "starting", "active", "stopping"] {
        match status {
            "starting" | "stopping" => {
                let order = if status == "starting" { "start" } else { "stop" };
                let route = format!("POST /flows/{{id}}/{order}");
                stack.request(&format!("{order}-flow"), &route, &id, &anna, Value::Null).await;
            }
            "active" => run("flow.started").await,
            _ => {}
        }
        for (media, body) in [
            (MERGE, json!({"name": "one"})),
            (MERGE, json!({"name": "one", "status": status, "description": null})),
            (OPERATIONS, json!([{"op": "test", "path": "/name", "value": "one"}])),
            (OPERATIONS, json!([{"op": "test", "path": "/status", "value": status}])),
            (OPERATIONS, json!([{"op": "replace", "path": "/name", "value": "one"}])),
            (OPERATIONS, json!([])),
            ("application/json", json!({"name": "one"})),
        ] {
            let (code, told) = patch(&stack, &anna, &id, media, body.clone()).await;
            assert_eq!((code, &told["data"]["status"]), (200, &json!(status)), "{status} {body}: {told}");
        }
        if status == "inactive" {
            continue;
        }
        for (media, body) in [
            (MERGE, json!({"name": "two"})),
            (OPERATIONS, json!([{"op": "replace", "path": "/name", "value": "two"}])),
            (OPERATIONS, json!([{"op": "test", "path": "/name", "value": "two"}])),
        ] {
            let (code, told) = patch(&stack, &anna, &id, media, body.clone()).await;
            assert_eq!(code, 409, "{status} {body}: {told}");
        }
    }
    run("flow.stopped").await;
    let (code, told) = patch(&stack, &anna, &id, MERGE, json!({"status": "active"})).await;
    assert_eq!((code, &told["errors"][0]["pointer"]), (400, &json!("/status")), "{told}");
}

#[tokio::test]
async fn the_operation_that_fails_is_named_by_its_own_number() {
    let stack = Stack::start().await;
    let (id, anna) = flow(&stack).await;
    let right = json!({"op": "test", "path": "/name", "value": "one"});
    let change = json!({"op": "replace", "path": "/name", "value": "two"});
    for (number, operations) in [
        (2, json!([right, change, {"op": "test", "path": "/name", "value": "three"}])),
        (1, json!([right, {"op": "remove", "path": "/nowhere"}, change])),
        (3, json!([right, right, change, {"op": "move", "from": "/nowhere", "path": "/name"}])),
        (0, json!([{"op": "add", "path": "/graph/nodes/9", "value": {}}])),
        // What is no flow any more is what the last operation on the whole has made.
        (1, json!([right, {"op": "replace", "path": "", "value": 7}])),
        (
            2,
            json!([right, change, {"op": "copy", "from": "/name", "path": ""}, {"op": "test", "path": "", "value": "two"}]),
        ),
    ] {
        let (code, told) = patch(&stack, &anna, &id, OPERATIONS, operations.clone()).await;
        let entry = &told["errors"][0];
        assert_eq!(
            (code, &entry["pointer"], &entry["reason"]),
            (409, &json!(format!("/{number}")), &json!("patch.not_applicable")),
            "{operations}: {told}"
        );
        let message = entry["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("operation '/{number}'")), "{message}");
    }
}

#[tokio::test]
async fn what_an_operation_lacks_is_named() {
    let stack = Stack::start().await;
    let (id, anna) = flow(&stack).await;
    for (operation, pointer, word) in [
        (json!({"path": "/name"}), "/1/op", "op"),
        (
            json!({"op": "put", "path": "/name", "value": 1}),
            "/1/op",
            "add, remove, replace, move, copy or test",
        ),
        (json!({"op": 1, "path": "/name", "value": 1}), "/1/op", "op"),
        (json!({"op": "remove"}), "/1/path", "path"),
        (json!({"op": "remove", "path": "name"}), "/1/path", "JSON pointer"),
        (json!({"op": "remove", "path": "/~2"}), "/1/path", "JSON pointer"),
        (json!({"op": "add", "path": "/name"}), "/1/value", "value"),
        (json!({"op": "test", "path": "/name"}), "/1/value", "value"),
        (json!({"op": "replace", "path": "/name"}), "/1/value", "value"),
        (json!({"op": "copy", "path": "/name"}), "/1/from", "from"),
        (json!({"op": "move", "path": "/name", "from": 1}), "/1/from", "from"),
        (json!("secret-words"), "/1", "object"),
    ] {
        let good = json!({"op": "test", "path": "/name", "value": "one"});
        let body = json!([good, operation]);
        let (code, told) = patch(&stack, &anna, &id, OPERATIONS, body).await;
        let entry = &told["errors"][0];
        assert_eq!((code, &entry["pointer"]), (400, &json!(pointer)), "{operation}: {told}");
        assert!(entry["message"].as_str().unwrap().contains(word), "{operation}: {told}");
        assert_eq!(
            (&entry["reason"], &told["type"]),
            (&json!("body.invalid"), &json!("/problems/invalid-body"))
        );
        assert!(!told.to_string().contains("secret-words"), "{told}");
    }
    let both = json!([{"op": "add"}, {"op": "move", "path": "x"}]);
    let (_, told) = patch(&stack, &anna, &id, OPERATIONS, both).await;
    let pointers: Vec<_> = told["errors"].as_array().unwrap().iter().map(|entry| &entry["pointer"]).collect();
    assert_eq!(pointers, ["/0/path", "/0/value", "/1/path", "/1/from"], "{told}");
    let null = json!([{"op": "add", "path": "/description", "value": null}]);
    assert_eq!(patch(&stack, &anna, &id, OPERATIONS, null).await.0, 200, "null is a value");
    let (code, told) = patch(&stack, &anna, &id, OPERATIONS, json!({"op": "add"})).await;
    assert_eq!(
        (code, &told["errors"][0]["message"]),
        (400, &json!("Expecting an array of operations (RFC 6902)"))
    );
}
