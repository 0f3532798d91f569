//! Runs that the orchestrator never confirms.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::log::Log;
use crate::stack::{Fault, LIMIT, Stack};

async fn started(stack: &Stack, token: &str) -> String {
    let (_, flow) = stack.request("create-flow", "POST /flows", "", token, complete_flow("x")).await;
    let id = flow["data"]["id"].as_str().unwrap().to_owned();
    stack.request("start-flow", "POST /flows/{id}/start", &id, token, Value::Null).await;
    id
}

async fn get(stack: &Stack, id: &str, token: &str) -> Value {
    stack.request("get-flow", "GET /flows/{id}", id, token, Value::Null).await.1["data"].take()
}

#[tokio::test]
async fn a_start_or_stop_that_nobody_confirms_ends_inactive_with_a_reason() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for (order, status) in [("start", "starting"), ("stop", "stopping")] {
        let id = started(&stack, &anna).await;
        if order == "stop" {
            stack.request("stop-flow", "POST /flows/{id}/stop", &id, &anna, Value::Null).await;
        }
        let since = get(&stack, &id, &anna).await["statusSince"].clone();
        stack.invoke_later("reconcile-flows", LIMIT / 2).await;
        for _ in 0..3 {
            stack.invoke_later("reconcile-flows", LIMIT).await;
            let flow = get(&stack, &id, &anna).await;
            assert_eq!((&flow["status"], &flow["statusSince"]), (&json!(status), &since), "{flow}");
        }
        let log = Log::start();
        stack.invoke_later("reconcile-flows", LIMIT).await;
        let measured: Vec<_> = log.take().into_iter().filter(|line| line["message"] == "metric").collect();
        assert_eq!(measured.len(), 1, "{measured:?}");
        assert_eq!((&measured[0]["metric"], &measured[0]["value"]), (&json!("RunsGivenUp"), &json!(1)));
        let flow = get(&stack, &id, &anna).await;
        assert_eq!(flow["status"], "inactive");
        let reason = flow["statusReason"].as_str().unwrap();
        assert!(
            reason.contains(&format!("did not confirm the {order} since {}", since.as_str().unwrap())),
            "{reason}"
        );
        assert!(flow["statusSince"].as_str() > since.as_str(), "{flow}");
        // The list says so too, and the flow can be started again.
        let (_, list) =
            stack.request("list-flows", "GET /flows?filter[status]=inactive", "", &anna, Value::Null).await;
        assert!(list["data"].as_array().unwrap().iter().any(|listed| listed["id"] == id));
        let (status, _) =
            stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await;
        assert_eq!(status, 200);
        let again = get(&stack, &id, &anna).await;
        assert_eq!((&again["status"], again.get("statusReason")), (&json!("starting"), None));
        stack.deliver("on-flow-status", "flow.started", json!({"id": id})).await.unwrap();
        stack.invoke_later("reconcile-flows", Duration::from_hours(1)).await;
        assert_eq!(get(&stack, &id, &anna).await["status"], "active", "confirmed");
    }
}

#[tokio::test]
async fn why_a_run_had_failed_is_said_also_when_its_stop_is_never_confirmed() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = started(&stack, &anna).await;
    stack
        .deliver("on-flow-status", "flow.failed", json!({"id": id, "reason": "out of memory"}))
        .await
        .unwrap();
    let before = get(&stack, &id, &anna).await["statusReason"].as_str().unwrap().to_owned();
    for _ in 0..4 {
        stack.invoke_later("reconcile-flows", LIMIT).await;
    }
    let flow = get(&stack, &id, &anna).await;
    let reason = flow["statusReason"].as_str().unwrap();
    assert_eq!(flow["status"], "inactive");
    assert!(reason.contains("did not confirm the stop") && reason.ends_with(&before), "{reason}");
}

#[tokio::test]
async fn many_that_wait_are_all_looked_after_and_one_that_fails_stops_no_other() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(started(&stack, &anna).await);
    }
    // The first change fails for good.
    stack.dynamodb.fail([
        Fault::Pass,
        Fault::Pass,
        Fault::Pass,
        Fault::Pass,
        Fault::error("AccessDeniedException"),
    ]);
    let event = json!({"version": "0", "id": "e", "source": "aws.events", "detail-type": "Scheduled Event", "account": "1",
        "time": shared::flow::Timestamp::now().plus(LIMIT).to_string(), "region": "r", "resources": [], "detail": {}});
    assert!(stack.functions.invoke("reconcile-flows", event).await.is_err(), "it is told");
    stack.invoke_later("reconcile-flows", LIMIT).await;
    let scan = stack
        .client
        .scan()
        .table_name(&stack.table)
        .filter_expression("attribute_exists(repeats)")
        .send()
        .await
        .unwrap();
    assert_eq!(scan.count(), 12);
}
