//! Flows that are deleted, brought back, and gone for good.

use std::slice::from_ref;

use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::{ALL, complete_flow};

use crate::false_conditions::definition;
use crate::stack::{KEEP_DELETED, Stack};

async fn create(stack: &Stack, token: &str, body: Value) -> String {
    let (status, flow) = stack.request("create-flow", "POST /flows", "", token, body).await;
    assert_eq!(status, 201, "{flow}");
    flow["data"]["id"].as_str().unwrap().to_owned()
}

async fn get(stack: &Stack, token: &str, id: &str) -> (u16, Value) {
    stack.request("get-flow", "GET /flows/{id}", id, token, Value::Null).await
}

async fn delete(stack: &Stack, token: &str, id: &str, query: &str) -> (u16, Value) {
    stack.request("delete-flow", &format!("DELETE /flows/{{id}}{query}"), id, token, Value::Null).await
}

async fn restore(stack: &Stack, token: &str, id: &str) -> (u16, Value) {
    stack.request("restore-flow", "POST /flows/{id}/restore", id, token, Value::Null).await
}

async fn ids(stack: &Stack, token: &str, query: &str) -> Vec<String> {
    let (status, list) =
        stack.request("list-flows", &format!("GET /flows{query}"), "", token, Value::Null).await;
    assert_eq!(status, 200, "{list}");
    list["data"].as_array().unwrap().iter().map(|flow| flow["id"].as_str().unwrap().into()).collect()
}

/// The record of the stream of a flow whose head went at this time.
pub(crate) fn removal(id: &str, at: Timestamp) -> Value {
    let seconds = at.seconds();
    json!({"Records": [{
        "eventID": "1", "eventName": "REMOVE", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "r",
        "dynamodb": {
            "ApproximateCreationDateTime": seconds, "SequenceNumber": "1", "SizeBytes": 1,
            "StreamViewType": "NEW_AND_OLD_IMAGES", "Keys": {"pk": {"S": format!("FLOW#{id}")}, "sk": {"S": "HEAD"}},
        },
    }]})
}

#[tokio::test]
async fn a_deleted_flow_is_hidden_and_can_be_brought_back_as_it_was() {
    let stack = Stack::start().await;
    let (anna, eve) = (stack.token("anna", "acme", ALL), stack.token("eve", "globex", ALL));
    let root = stack.token("root", "", "all");
    let id = create(&stack, &anna, complete_flow("one")).await;
    let other = create(&stack, &anna, complete_flow("two")).await;
    stack.request("update-flow", "PATCH /flows/{id}", &id, &anna, json!({"description": "d"})).await;
    let (_, before, headers) =
        stack.request_if("get-flow", "GET /flows/{id}", &id, &anna, "", Value::Null).await;
    assert_eq!(delete(&stack, &anna, &id, "").await.0, 200);

    assert_eq!(get(&stack, &anna, &id).await.0, 404);
    assert_eq!(delete(&stack, &anna, &id, "").await.0, 404);
    assert_eq!(ids(&stack, &anna, "").await, from_ref(&other));
    assert_eq!(ids(&stack, &root, "").await, [other]);
    for (token, query) in [
        (&anna, "?filter[deleted]=true"),
        (&root, "?filter[deleted]=true"),
        (&root, "?filter[deleted]=true&filter[user]=anna"),
        (&anna, "?filter[deleted]=true&search=ONE&sort=-name&filter[status]=inactive"),
        (&anna, "?filter[deleted]=true&page[after]="),
    ] {
        assert_eq!(ids(&stack, token, query).await, from_ref(&id), "{query}");
    }
    assert!(ids(&stack, &eve, "?filter[deleted]=true").await.is_empty());
    let route = "GET /flows?filter[deleted]=true";
    let (_, list) = stack.request("list-flows", route, "", &anna, Value::Null).await;
    let (deleted_at, expires_at) = (&list["data"][0]["deletedAt"], &list["data"][0]["expiresAt"]);
    assert!(deleted_at.as_str().unwrap() > before["data"]["updatedAt"].as_str().unwrap());
    assert!(expires_at.as_str().unwrap() > Timestamp::now().plus(KEEP_DELETED / 2).to_string().as_str());
    assert_eq!(
        stack.request("list-flows", "GET /flows?filter[deleted]=x", "", &anna, Value::Null).await.1["errors"]
            [0]["message"],
        "Invalid filter[deleted] parameter"
    );

    let of_it = |headers: &Value| definition(headers["etag"].as_str().unwrap()).to_owned();
    assert_eq!(restore(&stack, &eve, &id).await.0, 404);
    let (status, restored) = restore(&stack, &anna, &id).await;
    assert_eq!((status, &restored["data"]), (200, &before["data"]));
    let (_, now, now_headers) =
        stack.request_if("get-flow", "GET /flows/{id}", &id, &anna, "", Value::Null).await;
    assert_eq!((&now, of_it(&now_headers)), (&before, of_it(&headers)));
    assert_eq!(restore(&stack, &anna, &id).await.0, 200, "what is there is left alone");
    assert!(ids(&stack, &anna, "?filter[deleted]=true").await.is_empty());
    assert_eq!(ids(&stack, &anna, "").await.len(), 2);
    let route = "GET /flows/{id}/versions";
    let (_, versions) = stack.request("list-versions", route, &id, &anna, Value::Null).await;
    assert_eq!(versions["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_deleted_flow_used_is_free_and_is_looked_at_again_when_it_starts() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let (_, secret) = stack.request("create-secret", "POST /secrets", "", &anna, secret).await;
    let secret = secret["data"]["id"].as_str().unwrap();
    let mut flow = complete_flow("one");
    flow["graph"]["nodes"][0]["credentials_id"] = json!(secret);
    let id = create(&stack, &anna, flow).await;
    let usages = async || {
        let route = "GET /secrets/{id}/usages";
        let (_, list) = stack.request("list-secret-usages", route, secret, &anna, Value::Null).await;
        list["data"].as_array().unwrap().len()
    };
    assert_eq!(usages().await, 1);
    delete(&stack, &anna, &id, "").await;
    assert_eq!(usages().await, 0);
    restore(&stack, &anna, &id).await;
    assert_eq!(usages().await, 1);
    delete(&stack, &anna, &id, "").await;
    let route = "DELETE /secrets/{id}";
    assert_eq!(stack.request("delete-secret", route, secret, &anna, Value::Null).await.0, 204);
    assert_eq!(restore(&stack, &anna, &id).await.0, 200, "nothing is lost for want of a secret");
    let (status, problem) =
        stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await;
    assert_eq!((status, problem["type"].as_str()), (422, Some("/problems/incomplete-flow")));
}

#[tokio::test]
async fn what_has_expired_cannot_be_seen_or_brought_back() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, complete_flow("one")).await;
    delete(&stack, &anna, &id, "").await;
    // The table takes its time to remove it.
    stack.expire(&format!("FLOW#{id}"), "HEAD").await;
    assert_eq!(restore(&stack, &anna, &id).await.0, 404);
    assert!(ids(&stack, &anna, "?filter[deleted]=true").await.is_empty());
    for owner in ["user#anna", "tenant#acme"] {
        let rows = stack.partition(&format!("DELETED#{owner}")).await;
        assert!(rows[&id].contains_key("expiresAt"), "the row goes too");
        stack.expire(&format!("DELETED#{owner}"), &id).await;
    }
    let route = "GET /flows?filter[deleted]=true";
    let (_, list) = stack.request("list-flows", route, "", &anna, Value::Null).await;
    assert_eq!(list["meta"]["total"], 0);
}

#[tokio::test]
async fn an_administrator_erases_a_flow_before_or_after_its_deletion() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "acme", ALL), stack.token("root", "", "all"));
    for deleted_before in [false, true] {
        let id = create(&stack, &anna, complete_flow("one")).await;
        stack.request("update-flow", "PATCH /flows/{id}", &id, &anna, json!({"name": "two"})).await;
        if deleted_before {
            delete(&stack, &anna, &id, "").await;
        }
        assert_eq!(delete(&stack, &anna, &id, "?purge=true").await.0, 403);
        assert_eq!(delete(&stack, &root, &id, "?purge=yes").await.0, 400);
        assert_eq!(delete(&stack, &root, &id, "?purge=true").await.0, 200);
        assert_eq!(restore(&stack, &anna, &id).await.0, 404);
        assert!(ids(&stack, &root, "?filter[deleted]=true").await.is_empty());
        assert!(ids(&stack, &root, "").await.is_empty());
        // The stream tells the function that erases the rest.
        stack.functions.invoke("purge-flows", removal(&id, Timestamp::now())).await.unwrap();
        let left: Vec<_> = stack.partition(&format!("FLOW#{id}")).await.into_keys().collect();
        assert_eq!(left, ["HEAD"]);
        assert_eq!(delete(&stack, &root, &id, "?purge=true").await.0, 404);
    }
}

#[tokio::test]
async fn the_versions_of_a_flow_that_is_there_are_never_erased() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let id = create(&stack, &anna, complete_flow("one")).await;
    stack.request("update-flow", "PATCH /flows/{id}", &id, &anna, json!({"name": "two"})).await;
    let before: Vec<_> = stack.partition(&format!("FLOW#{id}")).await.into_keys().collect();
    assert_eq!(before.len(), 3);
    for _ in 0..2 {
        stack.functions.invoke("purge-flows", removal(&id, Timestamp::now())).await.unwrap();
        let after: Vec<_> = stack.partition(&format!("FLOW#{id}")).await.into_keys().collect();
        assert_eq!(after, before);
        delete(&stack, &anna, &id, "").await;
    }
}

#[tokio::test]
async fn what_is_written_again_while_it_is_erased_stays() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "acme", ALL), stack.token("root", "", "all"));
    let id = create(&stack, &anna, complete_flow("one")).await;
    stack.request("update-flow", "PATCH /flows/{id}", &id, &anna, json!({"name": "two"})).await;
    delete(&stack, &root, &id, "?purge=true").await;
    stack.dynamodb.take_sent();
    stack.functions.invoke("purge-flows", removal(&id, Timestamp::now())).await.unwrap();
    let sent = stack.dynamodb.take_sent();
    let erased: Vec<_> = sent.iter().filter(|call| call["Key"].is_object()).collect();
    assert_eq!(erased.len(), 2, "a version and its document: {sent:?}");
    for call in erased {
        assert_eq!(call["ConditionExpression"], "replacedAt <= :until", "{call}");
    }
}

#[tokio::test]
async fn whoever_is_deleted_leaves_deleted_flows_too() {
    let stack = Stack::start().await;
    let (anna, bert) = (stack.token("anna", "acme", ALL), stack.token("bert", "", ALL));
    let mut flow = complete_flow("one");
    flow["owners"] = json!([{"id": "bert", "type": "user"}]);
    let id = create(&stack, &anna, flow).await;
    delete(&stack, &anna, &id, "").await;
    assert_eq!(ids(&stack, &bert, "?filter[deleted]=true").await, from_ref(&id));
    // The row of one that has expired may outlast its head.
    let expired = create(&stack, &bert, complete_flow("two")).await;
    delete(&stack, &bert, &expired, "").await;
    stack.expire(&format!("FLOW#{expired}"), "HEAD").await;
    stack.deliver("on-identity-deleted", "iam.user.deleted", json!({"id": "bert"})).await.unwrap();
    assert!(ids(&stack, &bert, "?filter[deleted]=true").await.is_empty());
    assert_eq!(restore(&stack, &bert, &id).await.0, 404);
    let (_, restored) = restore(&stack, &anna, &id).await;
    assert!(!restored["data"]["owners"].to_string().contains("bert"), "{restored}");
    assert_eq!(get(&stack, &bert, &id).await.0, 404);
}
