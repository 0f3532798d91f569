//! Secrets that are held for a decision: let go of whatever becomes of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::ALL;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::conflicts::{store_secret, using};
use crate::stack::{Fault, Stack};

const DELETE: (&str, &str) = ("delete-secret", "DELETE /secrets/{id}");
const PATCH: (&str, &str) = ("update-secret", "PATCH /secrets/{id}");
/// A call to each gate of a secret.
const GATES: usize = 8;

async fn store_flow(stack: &Stack, token: &str, secret: &str) -> String {
    let (status, flow) = stack.request("create-flow", "POST /flows", "", token, using(secret)).await;
    assert_eq!(status, 201, "{flow}");
    flow["data"]["id"].as_str().unwrap().to_owned()
}

async fn start(stack: &Stack, token: &str, flow: &str) -> u16 {
    stack.request("start-flow", "POST /flows/{id}/start", flow, token, Value::Null).await.0
}

/// Until when each gate of a secret is held that is.
async fn held(stack: &Stack, secret: &str) -> Vec<u64> {
    let gates = stack.partition(&format!("SECRET#{secret}")).await.into_values();
    gates.filter_map(|item| item.get("heldUntil")?.as_n().ok()?.parse().ok()).collect()
}

/// Changes or deletes a secret, and starts a flow with it after it was seen that none runs and before the secret is
/// held. The calls after that meet these faults.
async fn overtaken(
    stack: &Stack,
    (function, route): (&str, &str),
    seeing: usize,
    (secret, token, body): (&str, &str, Value),
    (flow, starter): (&str, &str),
    then: Vec<Fault>,
) -> (u16, Value) {
    let gate = Arc::new(Notify::new());
    let holding = std::iter::repeat_n(Fault::Wait(gate.clone()), GATES);
    stack.dynamodb.fail(std::iter::repeat_n(Fault::Pass, seeing).chain(holding));
    let decide = stack.request(function, route, secret, token, body);
    let overtake = async {
        let holding = async {
            while stack.dynamodb.waiting() < GATES {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), holding).await.expect("it does not hold the gates");
        assert_eq!(start(stack, starter, flow).await, 200);
        stack.dynamodb.fail(then);
        gate.notify_waiters();
    };
    tokio::join!(decide, overtake).0
}

#[tokio::test]
async fn a_conflict_while_a_hold_is_released_is_not_seen() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    let (flow, other) = (store_flow(&stack, &anna, &secret).await, store_flow(&stack, &anna, &secret).await);
    // Flows, whether they run, those that do; then the gates.
    let then = vec![Fault::Pass, Fault::Pass, Fault::Pass, Fault::error("TransactionConflictException")];
    let what = (secret.as_str(), anna.as_str(), Value::Null);
    let (status, told) = overtaken(&stack, DELETE, 3, what, (&flow, &anna), then).await;
    assert_eq!((status, &told["errors"][0]["reason"]), (409, &json!("secret.in_use")), "{told}");
    assert_eq!(told["errors"][0]["flowId"], json!(flow));
    assert_eq!(held(&stack, &secret).await, [0; 0]);
    assert_eq!(start(&stack, &anna, &other).await, 200);
}

#[tokio::test]
async fn a_secret_in_use_is_not_held_to_find_that_out() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    let flow = store_flow(&stack, &anna, &secret).await;
    assert_eq!(start(&stack, &anna, &flow).await, 200);
    stack.calls.take();
    let (status, _) = stack.request(DELETE.0, DELETE.1, &secret, &anna, Value::Null).await;
    let calls = stack.calls.take();
    assert_eq!(status, 409);
    assert!(!calls.iter().any(|call| call == "UpdateItem" || call == "TransactWriteItems"), "{calls:?}");
}

#[tokio::test]
async fn a_deletion_whose_time_is_up_lets_go() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    let flow = store_flow(&stack, &anna, &secret).await;
    // The secret, the flows, whether they run, the gates; then no answer.
    let never = Fault::Wait(Arc::default());
    stack.dynamodb.fail(std::iter::repeat_n(Fault::Pass, 3 + GATES).chain([never]));
    assert_eq!(stack.delete_in_a_hurry(&anna, &secret).await, 503);
    assert_eq!(held(&stack, &secret).await, [0; 0]);
    assert_eq!(start(&stack, &anna, &flow).await, 200);
}

#[tokio::test]
async fn a_deletion_that_panics_lets_go() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    stack.dynamodb.fail(std::iter::repeat_n(Fault::Pass, 2 + GATES).chain([Fault::Panic]));
    let (status, _) = stack.request(DELETE.0, DELETE.1, &secret, &anna, Value::Null).await;
    assert_eq!(status, 500);
    assert_eq!(held(&stack, &secret).await, [0; 0]);
    store_flow(&stack, &anna, &secret).await;
}

#[tokio::test]
async fn a_hold_that_cannot_be_let_go_of_changes_no_answer_and_ends_with_its_request() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    let (flow, other) = (store_flow(&stack, &anna, &secret).await, store_flow(&stack, &anna, &secret).await);
    let pass = std::iter::repeat_n(Fault::Pass, 3);
    let then = pass.chain(std::iter::repeat_n(Fault::error("AccessDeniedException"), GATES)).collect();
    let what = (secret.as_str(), anna.as_str(), Value::Null);
    let begin = Timestamp::now();
    let (status, _) = overtaken(&stack, DELETE, 3, what, (&flow, &anna), then).await;
    assert_eq!((status, start(&stack, &anna, &other).await), (409, 503));
    // A function of ten seconds is answered by half a second before, and the clocks of two may differ by one.
    let held = held(&stack, &secret).await;
    let latest = Timestamp::now().plus(Duration::from_millis(10_500)).millis();
    assert_eq!(held.len(), GATES);
    assert!(held.iter().all(|until| (begin.millis()..=latest).contains(until)), "{held:?}");
}

/// Stores a secret of anna's and others'.
async fn share(stack: &Stack, token: &str, owners: &Value) -> String {
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}, "owners": owners});
    let (status, secret) = stack.request("create-secret", "POST /secrets", "", token, secret).await;
    assert_eq!(status, 201, "{secret}");
    secret["data"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_is_not_taken_from_who_runs_a_flow_with_it() {
    let stack = Stack::start().await;
    let (anna, bert) = (stack.token("anna", "acme", ALL), stack.token("bert", "acme", ALL));
    let user = |id: &str| json!({"id": id, "type": "USER"});
    let tenant = json!({"id": "acme", "type": "TENANT"});
    for (before, after, is_refused) in [
        (json!([user("bert")]), json!([user("anna")]), true),
        (json!([tenant]), json!([user("anna")]), true),
        (json!([tenant]), json!([user("anna"), user("carl")]), true),
        // Who started it still has it.
        (json!([tenant, user("bert")]), json!([user("anna"), tenant]), false),
        (json!([tenant, user("bert")]), json!([user("anna"), user("bert")]), false),
        (json!([tenant, user("carl")]), json!([user("anna"), tenant]), false),
        (json!([user("bert")]), json!([user("anna"), user("bert"), user("carl")]), false),
    ] {
        let secret = share(&stack, &anna, &before).await;
        let flow = store_flow(&stack, &bert, &secret).await;
        let patch = async |query: &str| {
            let route = format!("{}{query}", PATCH.1);
            stack.request(PATCH.0, &route, &secret, &anna, json!({"owners": after, "name": "m"})).await
        };
        assert_eq!(start(&stack, &bert, &flow).await, 200);
        for query in ["?validateOnly=true", ""] {
            let (status, told) = patch(query).await;
            if is_refused {
                let named = (&told["errors"][0]["reason"], &told["errors"][0]["flowId"]);
                assert_eq!(
                    (status, named),
                    (409, (&json!("secret.in_use"), &json!(flow))),
                    "{after}: {told}"
                );
            } else {
                assert_eq!(status, 200, "{after}: {told}");
            }
        }
        let (_, kept) = stack.request("get-secret", "GET /secrets/{id}", &secret, &anna, Value::Null).await;
        assert_eq!(kept["data"]["name"], if is_refused { "n" } else { "m" });
        assert_eq!(held(&stack, &secret).await, [0; 0], "{after}");
        // Once it has ended there is nothing in the way.
        stack.request("stop-flow", "POST /flows/{id}/stop", &flow, &bert, Value::Null).await;
        stack.deliver("on-flow-status", "flow.stopped", json!({"id": flow})).await.unwrap();
        assert_eq!(patch("").await.0, 200, "{after}");
        assert_eq!(held(&stack, &secret).await, [0; 0], "{after}");
        let may_start =
            after.as_array().unwrap().iter().any(|owner| *owner == tenant || *owner == user("bert"));
        assert_eq!(start(&stack, &bert, &flow).await, if may_start { 200 } else { 422 }, "{after}");
    }
}

#[tokio::test]
async fn a_run_that_starts_while_its_secret_is_taken_away_keeps_it() {
    let stack = Stack::start().await;
    let (anna, bert) = (stack.token("anna", "acme", ALL), stack.token("bert", "acme", ALL));
    let secret = share(&stack, &anna, &json!([{"id": "bert", "type": "USER"}])).await;
    let flow = store_flow(&stack, &bert, &secret).await;
    let alone = json!({"owners": [{"id": "anna", "type": "USER"}], "value": {"key": "l"}});
    // Secret, flows, whether they run; a note of the new value; then the gates.
    let what = (secret.as_str(), anna.as_str(), alone);
    let (status, told) = overtaken(&stack, PATCH, 4, what, (&flow, &bert), Vec::new()).await;
    assert_eq!((status, &told["errors"][0]["flowId"]), (409, &json!(flow)), "{told}");
    assert_eq!(held(&stack, &secret).await, [0; 0]);
    let reader = stack.token("bert", "acme", "secrets.secret.readRaw");
    let (status, read) =
        stack.request("get-secret", "GET /secrets/{id}", &secret, &reader, Value::Null).await;
    assert_eq!((status, &read["data"]["value"]["key"]), (200, &json!("k")));
}

#[tokio::test]
async fn of_deletions_at_once_one_deletes_and_the_others_find_nothing() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    stack.dynamodb.conflicts.begin(crate::conflicts::TRANSACTION);
    for _ in 0..5 {
        let secret = store_secret(&stack, &anna).await;
        let deletions = (0..3).map(|_| stack.request(DELETE.0, DELETE.1, &secret, &anna, Value::Null));
        let mut answers: Vec<u16> =
            futures_util::future::join_all(deletions).await.into_iter().map(|(status, _)| status).collect();
        answers.sort_unstable();
        assert_eq!(answers, [204, 404, 404]);
    }
}

#[tokio::test]
async fn a_batch_that_comes_in_parts_is_asked_for_until_it_is_whole() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for _ in 0..3 {
        stack.request("create-flow", "POST /flows", "", &anna, tests::complete_flow("x")).await;
    }
    stack.dynamodb.take_sent();
    let list = async || stack.request("list-flows", "GET /flows", "", &anna, Value::Null).await;
    list().await;
    let sent = stack.dynamodb.take_sent();
    let asked = sent.iter().find_map(|body| body.get("RequestItems")).unwrap();
    let nothing = Fault::Answer(200, json!({"Responses": {}, "UnprocessedKeys": asked}));
    let paces = stack.without_network().is_some();
    let begin = Instant::now();
    stack.dynamodb.fail([Fault::Pass, Fault::Pass].into_iter().chain(std::iter::repeat_n(nothing, 10)));
    let (status, listed) = list().await;
    assert_eq!((status, listed["data"].as_array().map(Vec::len)), (200, Some(3)), "{listed}");
    // A table that has no room is not asked for the same again at once.
    assert!(!paces || begin.elapsed() > Duration::from_millis(500), "{:?}", begin.elapsed());
}
