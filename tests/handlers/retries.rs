//! Requests that come again with the same `Idempotency-Key`.

use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::stack::{Fault, Stack, event, read};

const HEADER: &str = "idempotency-key";

async fn create(stack: &Stack, token: &str, body: Value) -> String {
    let (status, flow) = stack.request("create-flow", "POST /flows", "", token, body).await;
    assert_eq!(status, 201, "{flow}");
    flow["data"]["id"].as_str().unwrap().to_owned()
}

async fn ended(stack: &Stack, token: &str, id: &str) {
    stack.request("stop-flow", "POST /flows/{id}/stop", id, token, Value::Null).await;
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();
}

/// Sends a request that crashes after any of its calls to AWS, and then comes again twice: each of its parts
/// has one effect, and it has one answer. Gives how many calls it makes.
async fn happens_once(
    stack: &Stack,
    (function, route, parts): (&str, &str, u64),
    prepare: impl AsyncFn() -> (String, Value),
    count_effects: impl AsyncFn(&str) -> u64,
) -> usize {
    let anna = stack.token("anna", "acme", ALL);
    for calls in 1.. {
        let (id, body) = prepare().await;
        let before = count_effects(&id).await;
        let key = format!("{route} {calls} {}", body.is_array());
        let mut request = event(route, &id, &anna, &body);
        request["headers"][HEADER] = key.as_str().into();
        let crashed = stack.invoke_and_crash(calls, function, request.clone()).await;
        let [first, second] = [
            stack.functions.invoke(function, request.clone()).await.unwrap(),
            stack.functions.invoke(function, request).await.unwrap(),
        ];
        let told = format!("{route}, {calls} calls: {first}");
        assert!((200..300).contains(&read(&first).0), "{told}");
        assert_eq!(read(&first), read(&second), "{told}");
        assert_eq!(first["headers"]["etag"], second["headers"]["etag"], "{told}");
        assert_eq!(count_effects(&id).await, before + parts, "{told}");
        stack.sweep().await;
        assert_eq!(count_effects(&id).await, before + parts, "{told}");
        if !crashed {
            if body.is_null() {
                assert_eq!(first["headers"]["idempotency-replayed"], "true", "{told}");
            }
            return calls - 1;
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_request_that_crashes_anywhere_and_comes_again_has_one_effect_and_one_answer() {
    let stack = &Stack::start().await;
    let anna = &stack.token("anna", "acme", ALL);
    let total = async |function: &str, route: &str| {
        let (_, list) = stack.request(function, route, "", anna, Value::Null).await;
        list["meta"]["total"].as_u64().unwrap()
    };
    let flows = async |_: &str| total("list-flows", "GET /flows").await;
    let changes = async |id: &str| stack.sequence(id).await;
    let nothing = || (String::new(), complete_flow("x"));

    let calls = happens_once(stack, ("create-flow", "POST /flows", 1), async || nothing(), flows).await;
    assert_eq!(calls, 3, "whether it was answered, whether an owner is gone, all the rest");
    let two = async || (String::new(), json!([complete_flow("x"), complete_flow("y")]));
    happens_once(stack, ("create-flow", "POST /flows", 2), two, flows).await;

    let inactive = async || (create(stack, anna, complete_flow("x")).await, Value::Null);
    let calls = happens_once(stack, ("start-flow", "POST /flows/{id}/start", 1), inactive, changes).await;
    assert_eq!(calls, 3, "whether it was answered, the flow, its start");
    let starting = async || {
        let id = create(stack, anna, complete_flow("x")).await;
        stack.request("start-flow", "POST /flows/{id}/start", &id, anna, Value::Null).await;
        (id, Value::Null)
    };
    happens_once(stack, ("stop-flow", "POST /flows/{id}/stop", 1), starting, changes).await;
    let one = async || {
        let id = create(stack, anna, complete_flow("x")).await;
        (id.clone(), json!([id]))
    };
    happens_once(stack, ("start-flows", "POST /flows/multiple/start", 1), one, changes).await;
    let running = async || {
        let (id, _) = starting().await;
        (id.clone(), json!([id]))
    };
    happens_once(stack, ("stop-flows", "POST /flows/multiple/stop", 1), running, changes).await;

    let two_versions = async || {
        let id = create(stack, anna, complete_flow("x")).await;
        stack.request("update-flow", "PATCH /flows/{id}", &id, anna, json!({"name": "y"})).await;
        (id, Value::Null)
    };
    let route = "POST /flows/{id}/versions/1/restore";
    let calls = happens_once(stack, ("restore-version", route, 1), two_versions, changes).await;
    assert_eq!(calls, 5, "whether it was answered, the flow, the version, its document, the change");
    let deleted = async || {
        let id = create(stack, anna, complete_flow("x")).await;
        stack.request("delete-flow", "DELETE /flows/{id}", &id, anna, Value::Null).await;
        (id, Value::Null)
    };
    happens_once(stack, ("restore-flow", "POST /flows/{id}/restore", 1), deleted, changes).await;

    let secret =
        json!({"name": "n", "type": "SIMPLE", "value": {"username": "canary", "passphrase": "canary"}});
    let secret = async || (String::new(), secret.clone());
    let secrets = async |_: &str| total("list-secrets", "GET /secrets").await;
    let calls = happens_once(stack, ("create-secret", "POST /secrets", 1), secret, secrets).await;
    assert_eq!(
        calls, 5,
        "whether it was answered, whether an owner is gone, a note, the value, all the rest"
    );
    let values = stack.secrets_manager.all().into_values().filter(|value| !value.is_deleted);
    assert_eq!(values.count() as u64, secrets("").await, "no value is left over");
    let items = stack.client.scan().table_name(&stack.table).send().await.unwrap();
    assert!(!format!("{:?}", items.items()).contains("canary"));
}

#[tokio::test]
async fn what_comes_again_late_gets_the_first_answer_and_changes_nothing() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, complete_flow("x")).await;
    let start = async |key: &str| {
        let header = (HEADER, key);
        stack.request_with("start-flow", "POST /flows/{id}/start", &id, &anna, header, Value::Null).await
    };
    let (_, first, headers) = start("k").await;
    assert_eq!(
        (&first["data"]["status"], &headers["idempotency-replayed"]),
        (&json!("starting"), &Value::Null)
    );
    ended(&stack, &anna, &id).await;
    let before = stack.sequence(&id).await;
    let (status, again, headers) = start("k").await;
    assert_eq!((status, again, &headers["idempotency-replayed"]), (200, first, &json!("true")));
    assert_eq!(stack.sequence(&id).await, before, "it does not run again");

    // That there was nothing to do is an answer too.
    let stop = async |key: &str| {
        let header = (HEADER, key);
        stack.request_with("stop-flow", "POST /flows/{id}/stop", &id, &anna, header, Value::Null).await.1
    };
    assert_eq!(stop("s").await["data"]["status"], "inactive");
    start("another").await;
    let before = stack.sequence(&id).await;
    assert_eq!(stop("s").await["data"]["status"], "inactive");
    assert_eq!(stack.sequence(&id).await, before, "it is not stopped");
}

#[tokio::test]
async fn a_key_belongs_to_one_caller_one_route_and_one_body_for_a_day() {
    let stack = Stack::start().await;
    let create = async |token: &str, key: &str, body: Value| {
        stack.request_with("create-flow", "POST /flows", "", token, (HEADER, key), body).await
    };
    let id = |answer: &(u16, Value, Value)| answer.1["data"]["id"].clone();
    let (anna, bert) = (stack.token("anna", "acme", ALL), stack.token("bert", "acme", ALL));
    let first = create(&anna, "k", complete_flow("x")).await;
    assert_eq!(create(&anna, "k", complete_flow("x")).await.1, first.1);
    // A structured field has quotation marks.
    assert_eq!(create(&anna, "\"k\"", complete_flow("x")).await.1, first.1);
    let (status, refused, _) = create(&anna, "k", complete_flow("y")).await;
    assert_eq!((status, refused["type"].as_str()), (422, Some("/problems/idempotency-key-reused")));
    let (status, refused, _) = create(&anna, "k", json!({})).await;
    assert_eq!((status, refused["type"].as_str()), (422, Some("/problems/idempotency-key-reused")));

    let others = create(&bert, "k", complete_flow("x")).await;
    assert_ne!(id(&others), id(&first));
    let of_other_tenant = create(&stack.token("anna", "globex", ALL), "k", complete_flow("x")).await;
    assert_ne!(id(&of_other_tenant), id(&first));
    let on = first.1["data"]["id"].as_str().unwrap();
    let start = stack
        .request_with("start-flow", "POST /flows/{id}/start", on, &anna, (HEADER, "k"), Value::Null)
        .await;
    assert_eq!(start.1["data"]["status"], "starting");
    for key in ["", "\"\"", &"k".repeat(256)] {
        assert_eq!(create(&anna, key, complete_flow("x")).await.0, 400, "{key}");
    }

    let receipts = stack.client.scan().table_name(&stack.table).filter_expression("sk = :receipt");
    let receipt = aws_sdk_dynamodb::types::AttributeValue::S("RECEIPT".into());
    let receipts = receipts.expression_attribute_values(":receipt", receipt).send().await.unwrap();
    assert_eq!(receipts.count(), 4);
    for receipt in receipts.items() {
        stack.expire(receipt["pk"].as_s().unwrap(), "RECEIPT").await;
    }
    let next_day = create(&anna, "k", complete_flow("y")).await;
    assert_eq!(next_day.0, 201);
    assert_ne!(id(&next_day), id(&first));
}

#[tokio::test]
async fn a_refusal_has_no_effect_and_is_decided_anew() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, json!({"graph": {"nodes": [{"id": "a"}]}})).await;
    let start = async || {
        let header = (HEADER, "k");
        stack.request_with("start-flow", "POST /flows/{id}/start", &id, &anna, header, Value::Null).await.0
    };
    assert_eq!(start().await, 422);
    let graph = complete_flow("x")["graph"].take();
    stack.request("update-flow", "PATCH /flows/{id}", &id, &anna, json!({"graph": graph})).await;
    assert_eq!(start().await, 200);
}

#[tokio::test]
async fn of_two_at_once_one_has_the_effect_and_both_have_its_answer() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for round in 0..30 {
        let key = format!("k{round}");
        let create = || {
            stack.request_with("create-flow", "POST /flows", "", &anna, (HEADER, &key), complete_flow("x"))
        };
        let (one, other) = tokio::join!(create(), create());
        assert_eq!((one.0, &one.1), (201, &other.1));
        assert_eq!(one.2["location"], other.2["location"]);
    }
    let (_, list) = stack.request("list-flows", "GET /flows", "", &anna, Value::Null).await;
    assert_eq!(list["meta"]["total"], 30);
}

#[tokio::test]
async fn a_request_that_is_still_under_way_is_told_so() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    // Of the head, a row per owner, a row among all flows, and the receipt, the last is in somebody's way.
    let reasons: Vec<_> =
        ["None", "None", "None", "None", "TransactionConflict"].map(|code| json!({"Code": code})).into();
    let conflict = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled", "CancellationReasons": reasons,
    });
    let conflicts = std::iter::repeat_n(Fault::Answer(400, conflict), 100);
    stack.without_network();
    stack.dynamodb.fail([Fault::Pass, Fault::Pass].into_iter().chain(conflicts));
    let (status, body, headers) =
        stack.request_with("create-flow", "POST /flows", "", &anna, (HEADER, "k"), complete_flow("x")).await;
    assert_eq!((status, body["type"].as_str()), (409, Some("/problems/request-under-way")));
    assert_eq!(headers["retry-after"], "1");
}

#[tokio::test]
async fn of_many_only_what_is_missing_is_done_again() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let body = json!([complete_flow("one"), {"name": "bad"}, complete_flow("three")]);
    let create = async || {
        let header = (HEADER, "k");
        stack.request_with("create-flow", "POST /flows", "", &anna, header, body.clone()).await.1
    };
    // Of the three receipts that are looked for two are read, and the first flow meets its end.
    let invalid = json!({"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": "no"});
    stack.dynamodb.fail([Fault::Pass, Fault::Pass, Fault::Pass, Fault::Answer(400, invalid)]);
    let first = create().await;
    let failed: Vec<_> = [0, 2].into_iter().filter(|item| !first["data"][item]["errors"].is_null()).collect();
    assert_eq!(failed.len(), 1, "{first}");
    let stored = 2 - failed[0];
    let second = create().await;
    assert_eq!(second["data"][stored], first["data"][stored]);
    assert!(second["data"][failed[0]]["id"].is_string(), "{second}");
    assert_eq!(second["data"][1], first["data"][1]);
    assert_eq!(create().await, second);
    let (_, list) = stack.request("list-flows", "GET /flows", "", &anna, Value::Null).await;
    assert_eq!(list["meta"]["total"], 2);
}

#[tokio::test]
async fn a_key_belongs_to_all_that_one_request_says() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let ask = async |function: &str, route: &str, key: &str, body: Value| {
        stack.request_with(function, route, "", &anna, (HEADER, key), body).await
    };
    let create = async |key: &str, body: Value| {
        let (status, body, _) = ask("create-flow", "POST /flows", key, body).await;
        (status, body["type"].as_str().map(str::to_owned))
    };
    let reused = || (422, Some("/problems/idempotency-key-reused".to_owned()));
    let (one, two, none) = (complete_flow("one"), complete_flow("two"), json!({"name": "none"}));

    assert_eq!(create("k", json!([one])).await, (201, None));
    assert_eq!(create("k", json!([one, two])).await, reused());
    assert_eq!(create("k", json!([two, one])).await, reused());
    assert_eq!(create("k", one.clone()).await, reused(), "one flow is not an array of one");
    assert_eq!(create("k", json!([one])).await, (201, None));
    assert_eq!(create("l", one.clone()).await, (201, None));
    assert_eq!(create("l", json!([one])).await, reused());
    assert_eq!(create("m", json!([none])).await.0, 400);
    assert_eq!(create("m", json!([two])).await, reused(), "though the first had no effect");
    let (_, list) = stack.request("list-flows", "GET /flows", "", &anna, Value::Null).await;
    assert_eq!(list["meta"]["total"], 2);

    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|flow| flow["id"].clone()).collect();
    let start = async |ids: Value| ask("start-flows", "POST /flows/multiple/start", "s", ids).await.0;
    assert_eq!(start(json!([ids[0]])).await, 200);
    assert_eq!(start(json!(ids)).await, 422);
    let other = ids[1].as_str().unwrap();
    let (_, other) = stack.request("get-flow", "GET /flows/{id}", other, &anna, Value::Null).await;
    assert_eq!(other["data"]["status"], "inactive");
}

#[tokio::test]
async fn what_is_refused_because_it_has_just_been_done_is_answered_as_it_was() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, complete_flow("x")).await;
    let start = async || {
        let header = (HEADER, "k");
        stack.request_with("start-flow", "POST /flows/{id}/start", &id, &anna, header, Value::Null).await
    };
    let (_, first, _) = start().await;
    stack.request("stop-flow", "POST /flows/{id}/stop", &id, &anna, Value::Null).await;
    // The same request has looked for its answer before there was one.
    stack.dynamodb.fail([Fault::Answer(200, json!({}))]);
    let (status, again, headers) = start().await;
    assert_eq!((status, again, &headers["idempotency-replayed"]), (200, first, &json!("true")));
    assert_eq!(stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await.0, 409);
}

#[tokio::test]
async fn a_request_without_effect_is_told_too_that_the_same_is_still_under_way() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, complete_flow("x")).await;
    let conflict = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled", "CancellationReasons": [{"Code": "TransactionConflict"}],
    });
    let conflicts = std::iter::repeat_n(Fault::Answer(400, conflict), 100);
    stack.without_network();
    stack.dynamodb.fail([Fault::Pass, Fault::Pass].into_iter().chain(conflicts));
    let header = (HEADER, "k");
    let (status, body, _) =
        stack.request_with("stop-flow", "POST /flows/{id}/stop", &id, &anna, header, Value::Null).await;
    assert_eq!((status, body["type"].as_str()), (409, Some("/problems/request-under-way")));
}
