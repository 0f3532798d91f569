//! Bad days: throttling, conflicts, lost answers, and what logs say of them.

use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::log::Log;
use crate::stack::{Fault, Stack};

#[tokio::test]
async fn throttling_and_conflicts_that_pass_are_not_seen() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for fault in [
        Fault::throttled(),
        Fault::conflict(),
        Fault::error("InternalServerError"),
        Fault::error("TransactionInProgressException"),
    ] {
        // The first call only asks whether an owner is gone.
        stack.dynamodb.fail([Fault::Pass, fault.clone(), fault.clone()]);
        let (status, body) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
        assert_eq!(status, 201, "{fault:?}: {body}");
    }
    let (_, list) = stack.request("list-flows", "GET /flows", "", &anna, Value::Null).await;
    assert_eq!(list["meta"]["total"], 4);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_no_second_effect() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    stack.dynamodb.fail([Fault::Pass, Fault::LostAnswer]);
    let (status, created) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    assert_eq!(status, 201, "{created}");
    let id = created["data"]["id"].as_str().unwrap();
    let (_, list) = stack.request("list-flows", "GET /flows", "", &anna, Value::Null).await;
    assert_eq!(list["meta"]["total"], 1);

    stack.dynamodb.fail([Fault::Pass, Fault::LostAnswer]);
    let (status, started) =
        stack.request("start-flow", "POST /flows/{id}/start", id, &anna, Value::Null).await;
    assert_eq!((status, &started["data"]["status"]), (200, &json!("starting")));
}

#[tokio::test]
async fn a_hundred_that_do_not_pass_in_time_are_logged_in_one_line() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let never = Fault::Wait(std::sync::Arc::default());
    stack.dynamodb.fail(std::iter::repeat_n(never, 3000));
    let ids = json!(vec!["5ca5c44c187c040010a9bb8b"; 100]);
    let log = Log::start();
    let (status, results) = stack.start_in_a_hurry(&anna, &ids).await;
    let results = results.as_array().unwrap();
    assert_eq!((status, results.len(), &results[99]["errors"][0]["code"]), (200, 100, &json!(503)));
    let errors: Vec<_> = log.take().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(
        (errors.len(), &errors[0]["message"], &errors[0]["parts"]),
        (1, &json!("failed"), &json!(100))
    );
}

#[tokio::test]
async fn what_does_not_pass_in_time_is_503_and_nothing_is_half_written() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    stack.dynamodb.fail(std::iter::repeat_n(Fault::throttled(), 100));
    let (status, body, headers) = stack.request_in_a_hurry(&anna, &complete_flow("x")).await;
    assert_eq!((status, &body["errors"][0]["message"]), (503, &json!("Please try again later.")));
    assert_eq!(headers["retry-after"], "1");
    stack.dynamodb.fail([]);
    let scan = stack.client.scan().table_name(&stack.table).send().await.unwrap();
    assert_eq!(scan.count(), 0);
}

#[tokio::test]
async fn what_will_never_pass_is_500_and_tells_nothing() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    stack.dynamodb.fail([Fault::error("AccessDeniedException")]);
    let (status, body) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    assert_eq!((status, &body["errors"][0]["message"]), (500, &json!("Internal server error")));
    assert!(!body.to_string().contains("AccessDenied"), "{body}");
}

#[tokio::test]
async fn the_health_check_fails_with_what_it_depends_on() {
    let stack = Stack::start().await;
    stack.messaging.fail(std::iter::repeat_n(Fault::error("AccessDeniedException"), 10));
    let (status, body) = stack.request("check-health", "GET /healthcheck", "", "", Value::Null).await;
    assert_eq!(status, 503);
    assert_eq!(
        body["details"],
        json!({"dynamodb": {"status": "pass"}, "eventbridge": {"status": "fail"}, "secretsmanager": {"status": "pass"}})
    );
}

#[tokio::test]
async fn logs_name_no_token_no_body_and_no_claim() {
    let stack = Stack::start().await;
    let log = Log::start();

    let anna = stack.token("canary-sub", "canary-tenant", ALL);
    let (_, created) =
        stack.request("create-flow", "POST /flows", "", &anna, complete_flow("canary-name")).await;
    let id = created["data"]["id"].as_str().unwrap();
    stack.request("start-flow", "POST /flows/{id}/start", id, &anna, Value::Null).await;
    stack.request("create-flow", "POST /flows", "", &anna, json!({"name": {"canary": "canary-fault"}})).await;
    stack.request("get-flow", "GET /flows/{id}", id, &format!("{anna}x"), Value::Null).await;
    stack.request("list-flows", "GET /flows?search=canary-search&sort=canary", "", &anna, Value::Null).await;
    stack.dynamodb.fail([Fault::error("AccessDeniedException")]);
    stack.request("create-flow", "POST /flows", "", &anna, complete_flow("canary-name")).await;
    stack
        .deliver("on-flow-status", "flow.failed", json!({"id": id, "reason": "canary-reason"}))
        .await
        .unwrap();

    let lines = log.take();
    assert!(lines.len() >= 6 && lines.iter().all(Value::is_object), "{lines:?}");
    let log: String = lines.iter().map(ToString::to_string).collect();
    assert!(log.contains("AccessDeniedException"), "{log}");
    assert!(!log.contains("canary"), "{log}");
    assert!(!anna.split('.').any(|part| log.contains(part)), "{log}");
}

#[tokio::test]
async fn a_panic_is_answered_too() {
    async fn handle((): &(), _: shared::api::Request) -> Result<shared::api::Response, shared::api::Problem> {
        panic!("a defect")
    }
    let event = serde_json::from_str(include_str!("fixtures/http-api-v2.json")).unwrap();
    let mut context = lambda_http::Context::default();
    context.deadline = u64::MAX;
    let answer =
        shared::api::answer(&(), handle, lambda_http::LambdaEvent::new(event, context)).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(answer["statusCode"], 500);
    assert!(!answer.to_string().contains("defect"));
}

#[tokio::test]
async fn when_all_of_many_fail_for_our_reasons_the_request_does() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let two = json!([complete_flow("x"), complete_flow("y")]);
    stack.dynamodb.fail(std::iter::repeat_n(Fault::error("AccessDeniedException"), 2));
    assert_eq!(stack.request("create-flow", "POST /flows", "", &anna, two.clone()).await.0, 500);
    stack.dynamodb.fail([Fault::error("AccessDeniedException")]);
    let (status, body) = stack.request("create-flow", "POST /flows", "", &anna, two).await;
    let failed =
        body["data"].as_array().unwrap().iter().filter(|item| item["errors"][0]["code"] == 500).count();
    assert_eq!((status, failed), (201, 1));
}

#[tokio::test]
async fn one_flow_that_cannot_be_changed_keeps_no_other_from_losing_its_owner() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for _ in 0..3 {
        stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    }
    // The first calls remember that she is gone and ask for flows; then one flow cannot be read, nor when it is
    // found once more.
    let passes = |count| std::iter::repeat_n(Fault::Pass, count);
    let denied = || std::iter::once(Fault::error("AccessDeniedException"));
    stack.dynamodb.fail(passes(2).chain(denied()).chain(passes(7)).chain(denied()));
    let gone = json!({"id": "anna"});
    assert!(stack.deliver("on-identity-deleted", "iam.user.deleted", gone.clone()).await.is_err());
    let alone = stack.token("anna", "", ALL);
    let (_, list) = stack.request("list-flows", "GET /flows", "", &alone, Value::Null).await;
    assert_eq!(list["meta"]["total"], 1);
    assert!(stack.deliver("on-identity-deleted", "iam.user.deleted", gone).await.is_ok());
    let (_, list) = stack.request("list-flows", "GET /flows", "", &alone, Value::Null).await;
    assert_eq!(list["meta"]["total"], 0);
}
