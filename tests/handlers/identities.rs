//! Users and tenants that are deleted: who may say so, and that nothing stays in their name.

use std::time::Duration;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::{Context, LambdaEvent};
use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::{ALL, IDENTITY_SERVICE, complete_flow};

use crate::stack::{Fault, Item, Stack};

const FUNCTION: &str = "on-identity-deleted";
const KINDS: [&str; 2] = ["iam.user.deleted", "iam.tenant.deleted"];

async fn create(stack: &Stack, token: &str, flow: Value) -> String {
    let (status, body) = stack.request("create-flow", "POST /flows", "", token, flow).await;
    assert_eq!(status, 201, "{body}");
    body["data"]["id"].as_str().unwrap().to_owned()
}

async fn get(stack: &Stack, token: &str, id: &str) -> Value {
    let (status, mut body) = stack.request("get-flow", "GET /flows/{id}", id, token, Value::Null).await;
    assert_eq!(status, 200, "{body}");
    body["data"].take()
}

async fn store_secret(stack: &Stack, token: &str, owners: Value) -> (u16, Value) {
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}, "owners": owners});
    stack.request("create-secret", "POST /secrets", "", token, secret).await
}

async fn secret_id(stack: &Stack, token: &str) -> String {
    let (status, body) = store_secret(stack, token, json!([])).await;
    assert_eq!(status, 201, "{body}");
    body["data"]["id"].as_str().unwrap().to_owned()
}

/// How many flows the user owns.
async fn total(stack: &Stack, root: &str, user: &str) -> u64 {
    let route = format!("GET /flows?filter[user]={user}");
    let (_, list) = stack.request("list-flows", &route, "", root, Value::Null).await;
    list["meta"]["total"].as_u64().unwrap()
}

/// Who may still own something, and when to go on.
async fn notes(stack: &Stack) -> Vec<(String, u64)> {
    let items = stack.partition("LEAVING").await.into_values();
    let note = |item: Item| {
        let owner = item["owner"].as_m().unwrap()["id"].as_s().unwrap().clone();
        (owner, item["due"].as_n().unwrap().parse().unwrap())
    };
    items.map(note).collect()
}

fn user(id: &str) -> Value {
    json!({"id": id, "type": "user"})
}

/// A refusal of owners who are gone, and how it is said.
fn refusal(body: &Value) -> (&str, &str, &str) {
    let error = &body["errors"][0];
    let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{body}"));
    assert_eq!(body["errors"].as_array().unwrap().len(), 1, "{body}");
    (text("reason"), text("pointer"), text("message"))
}

#[tokio::test]
async fn an_event_of_another_source_changes_nothing_and_is_set_aside() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, complete_flow("x")).await;
    secret_id(&stack, &anna).await;
    stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await;
    let before = get(&stack, &anna, &id).await;
    for source in ["anything.at.all", "component-orchestrator", "flow-repository", "", "IAM", "iam.x"] {
        for kind in KINDS {
            let outcome = stack.deliver_from(source, FUNCTION, kind, json!({"id": "anna"})).await;
            assert!(outcome.is_err(), "{source} {kind}");
        }
    }
    for source in ["anything.at.all", "iam", "flow-repository", ""] {
        for kind in ["flow.started", "flow.stopped", "flow.failed"] {
            let outcome = stack.deliver_from(source, "on-flow-status", kind, json!({"id": id})).await;
            assert!(outcome.is_err(), "{source} {kind}");
        }
    }
    assert_eq!(get(&stack, &anna, &id).await, before);
    assert_eq!(stack.secrets_manager.all().len(), 1);
    assert!(notes(&stack).await.is_empty());
}

#[tokio::test]
async fn a_cloud_event_names_nobody_by_its_envelope() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, complete_flow("x")).await;
    let before = get(&stack, &anna, &id).await;
    let bytes =
        |text: &str| json!({"specversion": "1.0", "id": "acme", "data_base64": STANDARD.encode(text)});
    for event in [
        json!({"specversion": "1.0", "id": "acme"}),
        json!({"specversion": "1.0", "id": "acme", "data": null}),
        json!({"specversion": "1.0", "id": "acme", "data": "anna"}),
        json!({"id": "acme", "data": "anna"}),
        json!({"id": "acme", "payload": "anna"}),
        bytes("anna"),
        bytes("\"anna\""),
    ] {
        for kind in KINDS {
            assert!(stack.deliver(FUNCTION, kind, event.clone()).await.is_err(), "{kind} {event}");
        }
    }
    assert_eq!(get(&stack, &anna, &id).await, before);
    stack.deliver(FUNCTION, KINDS[0], bytes(r#"{"id": "anna"}"#)).await.unwrap();
    assert_eq!(get(&stack, &anna, &id).await["owners"], json!([{"id": "acme", "type": "tenant"}]));
}

#[tokio::test]
async fn nobody_becomes_an_owner_who_is_gone() {
    let stack = Stack::start().await;
    let [anna, bert, root] = ["anna", "bert", "root"]
        .map(|name| stack.token(name, "acme", if name == "root" { "all" } else { ALL }));
    let mut flow = complete_flow("shared");
    flow["owners"] = json!([user("bert")]);
    let id = create(&stack, &anna, flow).await;
    let shown = get(&stack, &anna, &id).await["owners"].clone();
    let secret = secret_id(&stack, &bert).await;
    stack.deliver(FUNCTION, KINDS[0], json!({"id": "anna"})).await.unwrap();
    let owners = get(&stack, &bert, &id).await["owners"].clone();
    assert!(!owners.to_string().contains("anna"), "{owners}");

    // An editor that was open sends back the owners it was shown.
    let mut sent = complete_flow("as it was shown");
    sent["owners"] = shown.clone();
    let mut bulk = sent.clone();
    bulk["id"] = json!(id);
    let named = "The user \"anna\" has been deleted, and cannot be an owner.";
    for (function, route, body) in [
        ("update-flow", "PATCH /flows/{id}", sent.clone()),
        ("update-flow", "PATCH /flows/{id}?validateOnly=true", sent.clone()),
        ("replace-flow", "PUT /flows/{id}", sent.clone()),
        ("create-flow", "POST /flows", sent.clone()),
    ] {
        let (status, body) = stack.request(function, route, &id, &bert, body).await;
        assert_eq!((status, refusal(&body)), (400, ("owner.deleted", "/owners", named)), "{route}");
    }
    for (function, route, body) in [
        ("update-flows", "PATCH /flows/bulk", json!([bulk])),
        ("create-flow", "POST /flows", json!([sent, complete_flow("y")])),
    ] {
        let (_, body) = stack.request(function, route, "", &bert, body).await;
        assert_eq!(body["data"][0]["errors"][0]["reason"], "owner.deleted", "{route}: {body}");
    }
    let (_, body) = stack.request("validate-flow", "POST /flows/validate", "", &bert, sent).await;
    assert_eq!(body["data"]["valid"], false, "{body}");
    assert_eq!(body["data"]["diagnostics"][0]["reason"], "owner.deleted", "{body}");

    // The token of who is gone is good for a while.
    for flow in [complete_flow("mine"), json!([complete_flow("mine")])] {
        let (status, body) = stack.request("create-flow", "POST /flows", "", &anna, flow).await;
        assert_eq!(status, 400, "{body}");
    }
    let (status, body) = store_secret(&stack, &anna, json!([])).await;
    let unnamed = ("owner.deleted", "/owners", "One of the owners has been deleted.");
    assert_eq!((status, refusal(&body)), (400, unnamed));
    let (status, body) = store_secret(&stack, &bert, json!([user("anna")])).await;
    assert_eq!((status, refusal(&body)), (400, unnamed));
    let change = json!({"owners": [user("anna"), user("bert")], "value": {"key": "l"}});
    for query in ["", "?validateOnly=true"] {
        let route = format!("PATCH /secrets/{{id}}{query}");
        let (status, body) = stack.request("update-secret", &route, &secret, &bert, change.clone()).await;
        assert_eq!((status, refusal(&body)), (400, unnamed), "{query}");
    }
    assert_eq!(stack.secrets_manager.all().len(), 1, "no value is left of what was refused");
    assert_eq!(total(&stack, &root, "anna").await, 0);
    // A tenant of the same name is somebody else, as is whoever has the id later.
    let other = stack.token("vera", "anna", ALL);
    create(&stack, &other, complete_flow("z")).await;
    stack.expire("GONE#user#anna", "GONE").await;
    create(&stack, &anna, complete_flow("z")).await;
}

#[tokio::test]
async fn a_tenant_that_is_gone_owns_nothing_any_more() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    stack.deliver(FUNCTION, KINDS[1], json!({"id": "acme"})).await.unwrap();
    let (status, body) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    let named = "The tenant \"acme\" has been deleted, and cannot be an owner.";
    assert_eq!((status, refusal(&body)), (400, ("owner.deleted", "/owners", named)));
}

#[tokio::test]
async fn an_owner_that_was_added_at_the_very_moment_of_its_deletion_is_taken_off_too() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "", ALL), stack.token("root", "", "all"));
    stack.deliver(FUNCTION, KINDS[0], json!({"id": "anna"})).await.unwrap();
    // These requests have seen that nobody was gone, and write only now.
    let nobody = Fault::Answer(200, json!({"Responses": {stack.table.clone(): []}, "UnprocessedKeys": {}}));
    stack.dynamodb.fail([nobody.clone()]);
    create(&stack, &anna, complete_flow("x")).await;
    stack.dynamodb.fail([nobody]);
    secret_id(&stack, &anna).await;
    assert_eq!(total(&stack, &root, "anna").await, 1);
    // Not before the last of them must have ended.
    stack.invoke_later(FUNCTION, Duration::from_secs(30)).await;
    assert_eq!(total(&stack, &root, "anna").await, 1);
    stack.invoke_later(FUNCTION, Duration::from_secs(40)).await;
    assert_eq!(total(&stack, &root, "anna").await, 0);
    assert_eq!(stack.partition("SECRETS#USER#anna").await.len(), 0);
    assert!(notes(&stack).await.is_empty(), "that was the last time");
    stack.calls.take();
    stack.invoke_later(FUNCTION, Duration::from_hours(1)).await;
    assert_eq!(stack.calls.take(), ["Query"]);
}

/// Hands an event to the function with so much time left.
async fn in_a_hurry(stack: &Stack, source: &str, kind: &str, left: Duration) {
    let mut context = Context::default();
    context.deadline = Timestamp::now().plus(left).millis();
    let event: EventBridgeEvent = serde_json::from_value(json!({
        "source": source, "detail-type": kind, "time": Timestamp::now().to_string(), "detail": {"id": "anna"},
    }))
    .unwrap();
    on_identity_deleted::handle(&stack.functions.identity, LambdaEvent::new(event, context)).await.unwrap();
}

#[tokio::test]
async fn a_deletion_that_runs_out_of_time_is_ended_the_next_time() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "acme", ALL), stack.token("root", "", "all"));
    for count in [100, 100, 50] {
        let flows = vec![complete_flow("x"); count];
        assert_eq!(stack.request("create-flow", "POST /flows", "", &anna, json!(flows)).await.0, 201);
    }
    secret_id(&stack, &anna).await;
    // With a minute left it begins with nothing more after what it has begun with.
    let hurry = Duration::from_mins(1);
    in_a_hurry(&stack, IDENTITY_SERVICE, KINDS[0], hurry).await;
    assert_eq!(total(&stack, &root, "anna").await, 150);
    assert_eq!(notes(&stack).await[0].0, "anna");
    in_a_hurry(&stack, "aws.events", "Scheduled Event", hurry).await;
    assert_eq!(total(&stack, &root, "anna").await, 50);
    stack.invoke_later(FUNCTION, Duration::ZERO).await;
    assert_eq!(total(&stack, &root, "anna").await, 0);
    assert!(stack.partition("SECRETS#USER#anna").await.is_empty());
    assert_eq!(notes(&stack).await.len(), 1, "once more after the last request");
    stack.invoke_later(FUNCTION, Duration::from_mins(1)).await;
    assert!(notes(&stack).await.is_empty());
}

#[tokio::test]
async fn a_deletion_that_crashed_is_taken_up_when_its_time_is_over_and_not_before() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "acme", ALL), stack.token("root", "", "all"));
    create(&stack, &anna, complete_flow("x")).await;
    let event = json!({"source": IDENTITY_SERVICE, "detail-type": KINDS[0], "detail": {"id": "anna"}});
    let begun = Timestamp::now();
    assert!(stack.invoke_and_crash(1, FUNCTION, event).await);
    // As long as the template gives it.
    let due = Timestamp::from_millis(notes(&stack).await[0].1);
    let timeout = Duration::from_mins(15);
    assert!(
        due.since(begun) > timeout.checked_sub(Duration::from_secs(1)).unwrap()
            && due <= Timestamp::now().plus(timeout)
    );
    stack.invoke_later(FUNCTION, timeout.checked_sub(Duration::from_mins(1)).unwrap()).await;
    assert_eq!(total(&stack, &root, "anna").await, 1, "somebody is at it");
    stack.invoke_later(FUNCTION, timeout).await;
    assert_eq!(total(&stack, &root, "anna").await, 0);
    assert!(notes(&stack).await.is_empty());
}

#[tokio::test]
async fn deletions_of_the_same_user_at_once_are_harmless() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "acme", ALL), stack.token("root", "", "all"));
    let flows = vec![complete_flow("x"); 20];
    stack.request("create-flow", "POST /flows", "", &anna, json!(flows)).await;
    let deliver = || stack.deliver(FUNCTION, KINDS[0], json!({"id": "anna"}));
    let (first, second, third) = tokio::join!(deliver(), deliver(), deliver());
    assert!([first, second, third].iter().all(Result::is_ok));
    assert_eq!(total(&stack, &root, "anna").await, 0);
    let later = || stack.invoke_later(FUNCTION, Duration::from_mins(1));
    tokio::join!(later(), later(), later());
    assert!(notes(&stack).await.is_empty());
}

#[tokio::test]
async fn a_run_in_the_name_of_a_deleted_user_is_stopped_and_says_why() {
    let stack = Stack::start().await;
    let [anna, bert] = ["anna", "bert"].map(|name| stack.token(name, "acme", ALL));
    let mut ids = Vec::new();
    for token in [&bert, &bert, &anna] {
        let id = create(&stack, &anna, complete_flow("x")).await;
        stack.request("start-flow", "POST /flows/{id}/start", &id, token, Value::Null).await;
        ids.push(id);
    }
    stack.deliver("on-flow-status", "flow.started", json!({"id": ids[0]})).await.unwrap();
    // Whoever else owns it: the tenant's users may start its flows, and are told of by events of their own.
    stack.deliver(FUNCTION, KINDS[1], json!({"id": "bert"})).await.unwrap();
    stack.deliver(FUNCTION, KINDS[0], json!({"id": "bert"})).await.unwrap();
    for id in &ids[..2] {
        let flow = get(&stack, &anna, id).await;
        assert_eq!(flow["status"], "stopping", "{flow}");
        assert_eq!(flow["statusReason"], "The user who started the flow was deleted.");
    }
    assert_eq!(get(&stack, &anna, &ids[2]).await["status"], "starting", "of somebody else");
    // What it stops is over some time, and can be started again.
    let sequence = stack.sequence(&ids[0]).await;
    stack.invoke_later(FUNCTION, Duration::from_mins(1)).await;
    assert_eq!(stack.sequence(&ids[0]).await, sequence, "once");
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": ids[0]})).await.unwrap();
    // Whose token has not ended yet starts no other run: nobody would look for that one.
    let (status, refused) =
        stack.request("start-flow", "POST /flows/{id}/start", &ids[0], &bert, Value::Null).await;
    assert_eq!((status, &refused["errors"][0]["reason"]), (403, &json!("flow.start.deleted")));
    let (_, refused) =
        stack.request("start-flows", "POST /flows/multiple/start", "", &bert, json!([ids[0]])).await;
    assert_eq!(refused[0]["errors"][0]["reason"], "flow.start.deleted");
    let (status, _) =
        stack.request("start-flow", "POST /flows/{id}/start", &ids[0], &anna, Value::Null).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_id_as_long_as_any_is_deleted_like_others() {
    let stack = Stack::start().await;
    // As many characters as a token's may have, of four bytes each.
    let long = "\u{1d11e}".repeat(256);
    let token = stack.token(&long, "acme", ALL);
    let id = create(&stack, &token, complete_flow("x")).await;
    stack.request("start-flow", "POST /flows/{id}/start", &id, &token, Value::Null).await;
    secret_id(&stack, &token).await;
    stack.deliver(FUNCTION, KINDS[0], json!({"id": long})).await.unwrap();
    let anna = stack.token("anna", "acme", ALL);
    let flow = get(&stack, &anna, &id).await;
    assert_eq!((&flow["status"], flow["owners"].as_array().unwrap().len()), (&json!("stopping"), 1));
    let (status, body) = stack.request("create-flow", "POST /flows", "", &token, complete_flow("x")).await;
    assert_eq!((status, refusal(&body).0), (400, "owner.deleted"));
    stack.invoke_later(FUNCTION, Duration::from_mins(1)).await;
    assert!(notes(&stack).await.is_empty());
}
