//! Secrets on bad days: crashes between any two calls, two changes at once, and values that are to be
//! found nowhere but in Secrets Manager.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use local::aws::SECRETS_PREFIX;
use serde_json::{Value, json};
use shared::flow::{ObjectId, Timestamp};
use shared::secrets::Recovery;
use tests::{ALL, complete_flow};
use tokio::sync::Notify;

use crate::log::Log;
use crate::stack::{Fault, Stack};

const READER: &str = "secrets.secret.readRaw";

fn simple(passphrase: &str) -> Value {
    json!({"name": "database", "type": "SIMPLE", "value": {"username": "anna", "passphrase": passphrase}})
}

async fn create(stack: &Stack, token: &str, passphrase: &str) -> String {
    let (status, body) = stack.request("create-secret", "POST /secrets", "", token, simple(passphrase)).await;
    assert_eq!(status, 201, "{body}");
    body["data"]["id"].as_str().unwrap().to_owned()
}

async fn patch(stack: &Stack, token: &str, id: &str, passphrase: &str) -> u16 {
    let body = json!({"value": {"username": "anna", "passphrase": passphrase}});
    stack.request("update-secret", "PATCH /secrets/{id}", id, token, body).await.0
}

/// The passphrase of a secret; none when there is no such secret.
async fn passphrase(stack: &Stack, id: &str) -> Option<String> {
    let reader = stack.token("anna", "acme", READER);
    let (status, body) = stack.request("get-secret", "GET /secrets/{id}", id, &reader, Value::Null).await;
    match status {
        404 => None,
        _ => Some(
            body["data"]["value"]["passphrase"]
                .as_str()
                .unwrap_or_else(|| panic!("{status} {body}"))
                .to_owned(),
        ),
    }
}

async fn items(stack: &Stack) -> Vec<BTreeMap<String, AttributeValue>> {
    let mut pages = stack.client.scan().table_name(&stack.table).into_paginator().items().send();
    let mut items = Vec::new();
    while let Some(item) = pages.next().await {
        items.push(item.unwrap().into_iter().collect());
    }
    items
}

/// After a sweep the table and Secrets Manager say the same, and nothing is half done.
async fn check_settled(stack: &Stack, what: &str) {
    let notes = stack.partition("UNSETTLED").await;
    assert!(notes.keys().all(|note| *note > soon()), "{what}: {notes:?}");
    let text = |item: &BTreeMap<String, AttributeValue>, name: &str| -> String {
        item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default()
    };
    let items = items(stack).await;
    let mut live = BTreeMap::new();
    for item in &items {
        if text(item, "pk").starts_with("SECRET#")
            && text(item, "sk") == "HEAD"
            && !item.contains_key("deletedAt")
        {
            live.insert(text(item, "id"), text(item, "version"));
        }
    }
    let mut listed: Vec<_> = items
        .iter()
        .filter(|item| text(item, "pk").starts_with("SECRETS#"))
        .map(|item| text(item, "sk"))
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, live.keys().cloned().collect::<Vec<_>>(), "{what}");
    let mut values = stack.secrets_manager.all();
    values.retain(|_, value| !value.is_deleted);
    for (id, version) in &live {
        let value =
            values.remove(&format!("{SECRETS_PREFIX}{id}")).unwrap_or_else(|| panic!("{what}: lost {id}"));
        let current = &value.versions[&format!("{id}-{version}")];
        assert!(current.labels.contains("AWSCURRENT"), "{what}: {value:?}");
        let pending = value.versions.iter().filter(|(_, version)| version.labels.contains("AWSPENDING"));
        assert!(pending.clone().all(|(_, version)| version == current), "{what}: {value:?}");
    }
    assert!(values.is_empty(), "{what}: nobody's: {:?}", values.keys());
}

/// How long a value can be restored.
const WINDOW: Duration = Duration::from_hours(7 * 24);

/// The id of a note that was due until a day from now.
fn soon() -> String {
    ObjectId::at(Timestamp::now().plus(Duration::from_hours(24))).to_string()
}

async fn owner_is_deleted(stack: &Stack, id: &str) {
    stack.deliver("on-identity-deleted", "iam.user.deleted", json!({"id": id})).await.unwrap();
}

#[tokio::test]
async fn a_creation_that_the_sweep_took_for_given_up_is_none() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let told = Arc::new(Notify::new());
    // Who is gone, the note, and all the rest.
    stack.dynamodb.fail([Fault::Pass, Fault::Pass, Fault::Wait(told.clone())]);
    let create = stack.request("create-secret", "POST /secrets", "", &anna, simple("p"));
    let sweep = async {
        while stack.dynamodb.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        stack.sweep().await;
        told.notify_one();
    };
    let ((status, answer), ()) = tokio::join!(create, sweep);
    assert_eq!(status, 503, "{answer}");
    assert!(stack.items().await.is_empty(), "no secret without a value, and no note");
    assert!(stack.secrets_manager.all().values().all(|value| value.is_deleted), "no value without a secret");
    let (status, _) = stack.request("create-secret", "POST /secrets", "", &anna, simple("p")).await;
    assert_eq!(status, 201);
}

#[tokio::test]
async fn a_crash_after_any_call_of_a_creation_leaves_nothing_or_a_secret() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let mut calls = 1;
    loop {
        let crashed =
            stack.request_and_crash(calls, "create-secret", "POST /secrets", "", &anna, simple("p")).await;
        stack.sweep().await;
        check_settled(&stack, &format!("create, {calls} calls")).await;
        if !crashed {
            break;
        }
        calls += 1;
    }
    // Whether an owner is gone, note, value, all the rest; the crash after the last one loses only the answer.
    assert_eq!(calls, 5);
    let (_, list) = stack.request("list-secrets", "GET /secrets", "", &anna, Value::Null).await;
    assert_eq!(list["meta"]["total"], 2, "{list}");
}

#[tokio::test]
async fn a_crash_after_any_call_of_an_update_leaves_the_old_value_or_the_new_one() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for sweeps in [true, false] {
        let id = create(&stack, &anna, "old").await;
        let (mut calls, mut old) = (1, "old".to_owned());
        loop {
            let new = format!("new {calls}");
            let body = json!({"value": {"username": "anna", "passphrase": new}});
            let crashed = stack
                .request_and_crash(calls, "update-secret", "PATCH /secrets/{id}", &id, &anna, body)
                .await;
            if sweeps {
                stack.sweep().await;
                check_settled(&stack, &format!("update, {calls} calls")).await;
            }
            let now = passphrase(&stack, &id).await.unwrap();
            assert!(now == old || now == new, "after {calls} calls: {now}");
            // A client tries again; without a sweep that has to cope with what was left.
            assert_eq!(patch(&stack, &anna, &id, &format!("again {calls}")).await, 200);
            old = format!("again {calls}");
            assert_eq!(passphrase(&stack, &id).await.as_ref(), Some(&old));
            if !crashed {
                break;
            }
            calls += 1;
        }
        // Secret, value, note, new value, all the rest, label, forget the note; then the answer.
        assert_eq!(calls, 8);
        stack.sweep().await;
        check_settled(&stack, "updates").await;
        let values = stack.secrets_manager.all();
        let versions = &values[&format!("{SECRETS_PREFIX}{id}")].versions;
        let previous = versions.values().find(|version| version.labels.contains("AWSPREVIOUS")).unwrap();
        assert_eq!(previous.value, r#"{"passphrase":"new 8","username":"anna"}"#);
    }
}

#[tokio::test]
async fn a_crash_after_any_call_of_a_deletion_leaves_the_secret_or_nothing() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let mut calls = 1;
    loop {
        let id = create(&stack, &anna, "p").await;
        let crashed = stack
            .request_and_crash(calls, "delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null)
            .await;
        stack.sweep().await;
        check_settled(&stack, &format!("delete, {calls} calls")).await;
        if passphrase(&stack, &id).await.is_some() {
            let (status, _) =
                stack.request("delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null).await;
            assert_eq!(status, 204);
            check_settled(&stack, "deleted at last").await;
        }
        if !crashed {
            break;
        }
        calls += 1;
    }
    // Secret, flows, its eight gates, flows, tombstone, value, forget the note; then the answer.
    assert_eq!(calls, 15);
}

#[tokio::test]
async fn a_crash_after_any_call_for_a_deleted_user_leaves_nothing_of_its_secrets() {
    let stack = Stack::start().await;
    for calls in 1.. {
        // Nobody is deleted twice.
        let name = format!("anna {calls}");
        create(&stack, &stack.token(&name, "acme", ALL), "p").await;
        let event = json!({"version": "0", "id": "e", "source": "iam", "detail-type": "iam.user.deleted", "account": "1",
            "time": "2026-11-22T00:00:00Z", "region": "r", "resources": [], "detail": {"id": name}});
        let crashed = stack.invoke_and_crash(calls, "on-identity-deleted", event.clone()).await;
        stack.functions.invoke("on-identity-deleted", event).await.unwrap();
        stack.sweep().await;
        check_settled(&stack, &format!("deleted user, {calls} calls")).await;
        let values = stack.secrets_manager.all();
        assert!(values.values().all(|value| value.is_deleted), "not destroyed before its time: {values:?}");
        stack.invoke_later("sweep-secrets", WINDOW + Duration::from_hours(1)).await;
        assert!(stack.secrets_manager.all().is_empty(), "destroyed, not only deleted");
        assert!(stack.partition("UNSETTLED").await.is_empty(), "and nothing is left to do");
        if !crashed {
            break;
        }
    }
}

#[tokio::test]
async fn a_last_owners_secrets_can_be_restored_within_the_window_and_are_destroyed_after_it() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let [restored, forgotten, put_back] = [
        create(&stack, &anna, "a").await,
        create(&stack, &anna, "b").await,
        create(&stack, &anna, "c").await,
    ];
    let copy: Vec<_> = items(&stack)
        .await
        .into_iter()
        .filter(|item| item.get("id").and_then(|id| id.as_s().ok()) == Some(&put_back))
        .collect();
    owner_is_deleted(&stack, "anna").await;
    assert_eq!(passphrase(&stack, &restored).await, None);
    assert!(stack.secrets_manager.all().values().all(|value| value.is_deleted));
    // An operator finds them: what is destroyed when, as docs/operations.md says.
    let due = Timestamp::now().plus(WINDOW);
    let notes = stack.partition("UNSETTLED").await;
    let found: BTreeSet<_> = notes.values().map(|note| note["secret"].as_s().unwrap().clone()).collect();
    assert_eq!(found, [restored.clone(), forgotten.clone(), put_back.clone()].into());
    for note in notes.keys() {
        let time = note.parse::<ObjectId>().unwrap().timestamp();
        assert!(time <= due && due.since(time) < Duration::from_mins(10), "{time}");
    }
    // The value alone comes back for a while only; with the rest it is a secret as any other.
    for id in [&restored, &put_back] {
        stack.secrets_manager.restore(&format!("{SECRETS_PREFIX}{id}"));
    }
    for item in copy {
        stack
            .client
            .put_item()
            .table_name(&stack.table)
            .set_item(Some(item.into_iter().collect()))
            .send()
            .await
            .unwrap();
    }
    stack.invoke_later("sweep-secrets", Duration::from_hours(7 * 24 - 1)).await;
    assert_eq!(stack.secrets_manager.all().len(), 3, "not before their time");
    stack.invoke_later("sweep-secrets", WINDOW + Duration::from_hours(1)).await;
    let left: Vec<_> = stack.secrets_manager.all().into_keys().collect();
    assert_eq!(left, [format!("{SECRETS_PREFIX}{put_back}")]);
    assert_eq!(passphrase(&stack, &put_back).await.as_deref(), Some("c"));
    check_settled(&stack, "put back").await;
}

#[tokio::test]
async fn without_a_window_a_last_owners_secrets_are_destroyed_at_once() {
    let stack = Stack::start_with(Recovery::None).await;
    create(&stack, &stack.token("anna", "acme", ALL), "p").await;
    owner_is_deleted(&stack, "anna").await;
    assert!(stack.secrets_manager.all().is_empty());
    assert!(stack.partition("UNSETTLED").await.is_empty());
}

#[tokio::test]
async fn a_deletion_that_is_refused_for_any_other_reason_is_no_deletion() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let managed = || {
        let message = "You can't perform this operation: the secret is managed by another service.";
        Fault::Answer(400, json!({"__type": "InvalidRequestException", "message": message}))
    };
    let id = create(&stack, &anna, "p").await;
    stack.vault.fail([managed()]);
    let (status, _) = stack.request("delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null).await;
    assert_eq!(status, 204, "gone for clients");
    // The sweep looks whether it is, and fails until it is.
    stack.vault.fail([managed()]);
    let event = json!({"version": "0", "id": "e", "source": "aws.events", "detail-type": "Scheduled Event", "account": "1",
        "time": Timestamp::now().plus(Duration::from_hours(1)).to_string(), "region": "r", "resources": [], "detail": {}});
    assert!(stack.functions.invoke("sweep-secrets", event).await.is_err());
    assert!(!stack.secrets_manager.all()[&format!("{SECRETS_PREFIX}{id}")].is_deleted);
    assert_eq!(stack.partition("UNSETTLED").await.len(), 1, "its note is left");
    stack.sweep().await;
    check_settled(&stack, "refused").await;
    // What is deleted already is believed.
    let id = create(&stack, &anna, "p").await;
    stack.vault.fail([Fault::LostAnswer]);
    stack.request("delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null).await;
    stack.sweep().await;
    check_settled(&stack, "deleted twice").await;
}

#[tokio::test]
async fn a_value_that_cannot_be_changed_is_not_taken_for_changed_by_others() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, "p").await;
    let refused = json!({"__type": "InvalidRequestException", "message": "managed by another service"});
    stack
        .vault
        .fail((0..20).map(|n| if n % 2 == 0 { Fault::Pass } else { Fault::Answer(400, refused.clone()) }));
    assert_eq!(patch(&stack, &anna, &id, "q").await, 500);
    stack.vault.fail([]);
    stack.sweep().await;
    check_settled(&stack, "not changed").await;
    assert_eq!(passphrase(&stack, &id).await.as_deref(), Some("p"));
}

#[tokio::test]
async fn a_value_that_cannot_be_stored_with_the_rest_is_taken_back() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    stack.dynamodb.fail([Fault::Pass, Fault::Pass, Fault::error("AccessDeniedException")]);
    let (status, _) = stack.request("create-secret", "POST /secrets", "", &anna, simple("p")).await;
    assert_eq!((status, stack.secrets_manager.all().len()), (500, 0));
    check_settled(&stack, "taken back").await;
}

#[tokio::test]
async fn lost_answers_and_failures_that_pass_are_not_seen() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for fault in [Fault::LostAnswer, Fault::throttled(), Fault::error("InternalServiceError")] {
        stack.vault.fail([fault.clone()]);
        let id = create(&stack, &anna, "p").await;
        stack.vault.fail([Fault::Pass, fault.clone(), fault.clone()]);
        assert_eq!(patch(&stack, &anna, &id, "q").await, 200, "{fault:?}");
        assert_eq!(passphrase(&stack, &id).await.as_deref(), Some("q"), "{fault:?}");
        stack.vault.fail([fault.clone()]);
        let (status, _) =
            stack.request("delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null).await;
        assert_eq!(status, 204, "{fault:?}");
    }
    stack.sweep().await;
    check_settled(&stack, "lost answers").await;
}

#[tokio::test]
async fn changes_at_once_all_count_and_the_last_one_stays() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, "0").await;
    let names: Vec<String> = (0..8).map(|n| format!("name {n}")).collect();
    let work = names.iter().enumerate().map(|(n, name)| {
        let body = if n % 2 == 0 {
            json!({"name": name})
        } else {
            json!({"value": {"username": "anna", "passphrase": name}})
        };
        stack.request("update-secret", "PATCH /secrets/{id}", &id, &anna, body)
    });
    let answers = futures_util::future::join_all(work).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let reader = stack.token("anna", "acme", READER);
    let (_, secret) = stack.request("get-secret", "GET /secrets/{id}", &id, &reader, Value::Null).await;
    assert!(names.contains(&secret["data"]["name"].as_str().unwrap().to_owned()), "{secret}");
    assert!(names.contains(&secret["data"]["value"]["passphrase"].as_str().unwrap().to_owned()), "{secret}");
    stack.sweep().await;
    check_settled(&stack, "changes at once").await;
}

#[tokio::test]
async fn a_change_that_a_deletion_overtakes_is_404() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for round in 0..10 {
        let id = create(&stack, &anna, "p").await;
        let delete = stack.request("delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null);
        let passphrase = format!("q {round}");
        let (changed, (deleted, _)) = tokio::join!(patch(&stack, &anna, &id, &passphrase), delete);
        assert!(matches!((changed, deleted), (200 | 404, 204)), "{changed} {deleted}");
    }
    // Told in between that the value is gone, it looks again whether the secret is.
    let id = create(&stack, &anna, "p").await;
    let gone = json!({"__type": "InvalidRequestException", "message": "marked for deletion"});
    stack.vault.fail([Fault::Pass, Fault::Answer(400, gone)]);
    assert_eq!(patch(&stack, &anna, &id, "q").await, 200);
    stack.sweep().await;
    check_settled(&stack, "overtaken by deletions").await;
}

/// A flow whose second node uses this secret.
fn using(secret: &str) -> Value {
    let mut flow = complete_flow("uses it");
    flow["graph"]["nodes"][1]["credentials_id"] = secret.into();
    flow
}

#[tokio::test]
async fn a_flow_starts_or_its_secret_is_deleted_and_never_both() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    for round in 0..20 {
        let id = create(&stack, &anna, "p").await;
        let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, using(&id)).await;
        let flow = flow["data"]["id"].as_str().unwrap();
        let start = stack.request("start-flow", "POST /flows/{id}/start", flow, &anna, Value::Null);
        let delete = stack.request("delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null);
        let ((started, body), (deleted, _)) = if round % 2 == 0 {
            tokio::join!(start, delete)
        } else {
            let (deleted, started) = tokio::join!(delete, start);
            (started, deleted)
        };
        match (started, deleted) {
            (200, 409) => assert!(passphrase(&stack, &id).await.is_some()),
            // While it is decided the start is put off.
            (422 | 503, 204) => assert_eq!(passphrase(&stack, &id).await, None),
            (503, 409) => panic!("the deletion was refused for a flow that did not start: {body}"),
            other => panic!("{other:?}: {body}"),
        }
    }
}

#[tokio::test]
async fn a_deletion_that_crashed_holds_no_flow_for_long() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, "p").await;
    // Secret, flows, its eight gates.
    stack.request_and_crash(10, "delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null).await;
    let (status, _) = stack.request("create-flow", "POST /flows", "", &anna, using(&id)).await;
    assert_eq!(status, 503, "held");
    // As if the time of the deletion were up, and a second more.
    for gate in 0..8 {
        let call = stack.client.update_item().table_name(&stack.table);
        call.key("pk", AttributeValue::S(format!("SECRET#{id}")))
            .key("sk", AttributeValue::S(format!("GATE#{gate}")))
            .update_expression("SET heldUntil = :past")
            .expression_attribute_values(":past", AttributeValue::N("1".into()))
            .send()
            .await
            .unwrap();
    }
    let (status, body) = stack.request("create-flow", "POST /flows", "", &anna, using(&id)).await;
    assert_eq!(status, 201, "{body}");
}

#[tokio::test]
async fn nobody_gets_a_value_that_is_not_recorded() {
    let stack = Stack::start().await;
    let (anna, reader) = (stack.token("anna", "acme", ALL), stack.token("anna", "acme", READER));
    let id = create(&stack, &anna, "canary").await;
    stack.dynamodb.fail([Fault::Pass, Fault::error("AccessDeniedException")]);
    let (status, body) = stack.request("get-secret", "GET /secrets/{id}", &id, &reader, Value::Null).await;
    assert_eq!(status, 500);
    assert!(!body.to_string().contains("canary"), "{body}");
    stack.request("get-secret", "GET /secrets/{id}", &id, &anna, Value::Null).await;
    let is_read = |item: &BTreeMap<String, AttributeValue>| item["sk"].as_s().unwrap().starts_with("READ#");
    assert_eq!(items(&stack).await.into_iter().filter(is_read).count(), 0, "masked is not read");
    stack.request("get-secret", "GET /secrets/{id}", &id, &reader, Value::Null).await;
    let reads: Vec<_> = items(&stack).await.into_iter().filter(is_read).collect();
    assert_eq!(reads.len(), 1);
    assert_eq!(reads[0]["actor"].as_m().unwrap()["user"].as_s().unwrap(), "anna");
}

/// Values through every route and every failure: they are in Secrets Manager and in the answers to
/// those who may have them, and nowhere else.
#[tokio::test]
async fn a_value_is_nowhere_but_in_secrets_manager() {
    const CANARY: &str = "c4n4ry";
    let stack = Stack::start().await;
    let log = Log::start();
    let (anna, reader, eve) =
        (stack.token("anna", "acme", ALL), stack.token("anna", "acme", READER), stack.token("eve", "", ALL));
    let mut shown = Vec::new();
    let values = [
        ("SIMPLE", json!({"username": "anna", "passphrase": "c4n4ry-passphrase"})),
        ("MIXED", json!({"payload": {"a": ["c4n4ry-tree", {"b": "c4n4ry-leaf"}]}})),
        ("API_KEY", json!({"key": "c4n4ry-key-0123456789", "headerName": "x-key"})),
        (
            "OA1_THREE_LEGGED",
            json!({"authClientId": "5ca5c44c187c040010a9bb8b", "accessToken": "c4n4ry-1", "accessTokenSecret": "c4n4ry-2"}),
        ),
        (
            "OA2_AUTHORIZATION_CODE",
            json!({"authClientId": "5ca5c44c187c040010a9bb8b", "accessToken": "c4n4ry-3", "refreshToken": "c4n4ry-4", "expires": "1"}),
        ),
        (
            "SESSION_AUTH",
            json!({"authClientId": "5ca5c44c187c040010a9bb8b", "accessToken": "c4n4ry-5", "inputFields": {"pin": "c4n4ry-6"}}),
        ),
    ];
    for (kind, value) in &values {
        let body = json!({"name": "n", "type": kind, "value": value});
        // What is refused, in every way that repeats what was sent elsewhere.
        for wrong in [
            json!({"name": {"x": 1}, "type": kind, "value": value}),
            json!({"name": "n", "type": "c4n4ry", "value": value}),
            json!({"name": "n", "type": kind, "value": "c4n4ry"}),
            json!({"name": "n", "type": kind, "value": {"username": {"x": "c4n4ry"}, "key": ["c4n4ry"], "authClientId": "c4n4ry"}}),
            json!({"name": "n", "type": kind, "owners": [{"id": "globex", "type": "TENANT"}], "value": value}),
        ] {
            let (status, body) = stack.request("create-secret", "POST /secrets", "", &anna, wrong).await;
            assert_eq!(status, 400, "{body}");
            shown.push(body);
        }
        let too_large = json!({"name": "n", "type": "MIXED", "value": {"payload": "c4n4ry".repeat(11_000)}});
        shown.push(stack.request("create-secret", "POST /secrets", "", &anna, too_large).await.1);
        shown.push(stack.request("create-secret", "POST /secrets", "", &reader, body.clone()).await.1);
        for fault in ["AccessDeniedException", "DecryptionFailure", "InvalidParameterException"] {
            stack.vault.fail([Fault::error(fault)]);
            shown.push(stack.request("create-secret", "POST /secrets", "", &anna, body.clone()).await.1);
        }
        stack.dynamodb.fail([Fault::Pass, Fault::Pass, Fault::error("ValidationException")]);
        shown.push(stack.request("create-secret", "POST /secrets", "", &anna, body.clone()).await.1);
        let (status, created) = stack.request("create-secret", "POST /secrets", "", &anna, body).await;
        assert_eq!(status, 201, "{created}");
        let id = created["data"]["id"].as_str().unwrap().to_owned();
        shown.push(created);
        for (function, route, token, body) in [
            ("list-secrets", "GET /secrets", &anna, Value::Null),
            ("get-secret", "GET /secrets/{id}", &anna, Value::Null),
            ("get-secret", "GET /secrets/{id}", &eve, Value::Null),
            ("update-secret", "PATCH /secrets/{id}", &anna, json!({"name": "other"})),
            ("update-secret", "PATCH /secrets/{id}", &anna, json!({"value": value, "domain": "d"})),
            ("update-secret", "PATCH /secrets/{id}", &anna, json!({"type": "SIMPLE", "value": value})),
            ("update-secret", "PATCH /secrets/{id}", &eve, json!({"value": value})),
            ("list-secret-usages", "GET /secrets/{id}/usages", &anna, Value::Null),
        ] {
            shown.push(stack.request(function, route, &id, token, body).await.1);
            stack.vault.fail([Fault::error("AccessDeniedException")]);
            shown.push(
                stack.request(function, route, &id, token, json!({"value": {"passphrase": CANARY}})).await.1,
            );
            stack.vault.fail([]);
        }
        for (mark, fault) in [("c4n4ry-b", Fault::Pass), ("c4n4ry-c", Fault::error("AccessDeniedException"))]
        {
            let changed = value.to_string().replace(CANARY, mark);
            let changed = json!({"value": serde_json::from_str::<Value>(&changed).unwrap()});
            stack.vault.fail([Fault::Pass, fault]);
            shown.push(
                stack.request("update-secret", "PATCH /secrets/{id}", &id, &anna, changed.clone()).await.1,
            );
        }
        // The one way to it.
        let (status, raw) = stack.request("get-secret", "GET /secrets/{id}", &id, &reader, Value::Null).await;
        assert_eq!(status, 200);
        assert!(raw.to_string().contains(CANARY), "{raw}");
        shown.push(stack.request("create-flow", "POST /flows", "", &anna, using(&id)).await.1);
        shown.push(stack.request("delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null).await.1);
    }
    stack.sweep().await;

    let shown: String = shown.iter().map(ToString::to_string).collect();
    assert!(!shown.contains(CANARY), "{shown}");
    let table = format!("{:?}", items(&stack).await);
    assert!(table.contains("SECRET#") && !table.contains(CANARY), "{table}");
    let sent: String = stack.dynamodb.take_sent().iter().map(ToString::to_string).collect();
    assert!(sent.contains("SECRET#") && !sent.contains(CANARY), "{sent}");
    let log: String = log.take().iter().map(ToString::to_string).collect();
    assert!(log.contains("AccessDenied") && !log.contains(CANARY), "{log}");
    let values: String = stack.vault.take_sent().iter().map(ToString::to_string).collect();
    assert!(values.contains(CANARY));
}
