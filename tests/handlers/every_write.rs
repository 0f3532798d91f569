//! A conflict with any one write of any function, in the form that the write has: nobody sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::{ALL, complete_flow};

use crate::conflicts::{store_secret, using};
use crate::deletion::removal;
use crate::stack::{LIMIT, Stack, event, scheduled};
use crate::template::ACTIONS;

/// The functions that may write to the table.
fn writing() -> impl Iterator<Item = &'static str> {
    const WRITES: [&str; 3] = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"];
    let functions = ACTIONS.into_iter();
    functions.filter(|(_, actions)| WRITES.iter().any(|write| actions.contains(write))).map(|(name, _)| name)
}

/// A stack and what its functions are given.
struct Scene {
    stack: Stack,
    anna: String,
}

impl Scene {
    /// Does what has to succeed; gives `data`.
    async fn done(&self, function: &str, route: &str, id: &str, body: Value) -> Value {
        let (status, mut told) = self.stack.request(function, route, id, &self.anna, body).await;
        assert!(matches!(status, 200 | 201), "{route}: {status} {told}");
        told["data"].take()
    }

    async fn flow(&self, body: Value) -> String {
        self.done("create-flow", "POST /flows", "", body).await["id"].as_str().unwrap().to_owned()
    }

    /// A flow that has this status.
    async fn running(&self, status: &str) -> String {
        let id = self.flow(using(&self.secret().await)).await;
        self.done("start-flow", "POST /flows/{id}/start", &id, Value::Null).await;
        if status == "active" {
            self.stack.deliver("on-flow-status", "flow.started", json!({"id": id})).await.unwrap();
        }
        id
    }

    async fn secret(&self) -> String {
        store_secret(&self.stack, &self.anna).await
    }

    /// A secret of anna's and her tenant's.
    async fn shared_secret(&self) -> String {
        let id = self.secret().await;
        let owners = json!([{"id": "anna", "type": "USER"}, {"id": "acme", "type": "TENANT"}]);
        self.done("update-secret", "PATCH /secrets/{id}", &id, json!({"owners": owners})).await;
        id
    }

    fn request(&self, route: &str, id: &str, body: &Value) -> Value {
        let mut event = event(route, id, &self.anna, body);
        if route.starts_with("POST") {
            event["headers"]["idempotency-key"] = "k".into();
        }
        event
    }

    /// Prepares what a function is to do, and gives its event. There are several, by number, and none after
    /// the last.
    #[allow(clippy::too_many_lines, reason = "it is a table")]
    async fn event(&self, function: &str, number: usize) -> Option<Value> {
        let none = Value::Null;
        let event = match (function, number) {
            ("create-flow", 0) => self.request("POST /flows", "", &using(&self.secret().await)),
            ("create-flow", 1) => {
                self.request("POST /flows", "", &json!([complete_flow("x"), complete_flow("y")]))
            }
            ("create-secret", 0) => {
                let value = json!({"username": "u", "passphrase": "p"});
                self.request("POST /secrets", "", &json!({"name": "n", "type": "SIMPLE", "value": value}))
            }
            ("delete-flow", 0) => {
                self.request("DELETE /flows/{id}", &self.flow(using(&self.secret().await)).await, &none)
            }
            ("delete-flow", 1) => {
                let root = self.stack.token("root", "", "all");
                event("DELETE /flows/{id}?purge=true", &self.flow(complete_flow("x")).await, &root, &none)
            }
            ("delete-secret", 0) => self.request("DELETE /secrets/{id}", &self.secret().await, &none),
            ("get-secret", 0) => {
                let reader = self.stack.token("anna", "acme", "secrets.secret.readRaw");
                event("GET /secrets/{id}", &self.secret().await, &reader, &none)
            }
            ("on-flow-status", 0) => bus("flow.started", json!({"id": self.running("starting").await})),
            ("on-flow-status", 1) => bus("flow.failed", json!({"id": self.running("active").await})),
            ("on-flow-status", 2) => bus("flow.stopped", json!({"id": self.running("active").await})),
            ("on-flow-status", 3) => {
                // A run that the flow does not have.
                let orphan =
                    json!({"id": self.flow(complete_flow("x")).await, "runId": "5ca5c44c187c040010a9bb8b"});
                bus("flow.started", orphan)
            }
            ("on-identity-deleted", 0) => {
                self.running("active").await;
                self.shared_secret().await;
                bus("iam.user.deleted", json!({"id": "anna"}))
            }
            ("on-identity-deleted", 1) => {
                // For the last time.
                self.stack
                    .deliver("on-identity-deleted", "iam.user.deleted", json!({"id": "bert"}))
                    .await
                    .unwrap();
                scheduled(Duration::from_mins(2))
            }
            ("purge-flows", 0) => {
                let id = self.flow(complete_flow("x")).await;
                self.done("update-flow", "PATCH /flows/{id}", &id, json!({"name": "y"})).await;
                let root = self.stack.token("root", "", "all");
                let route = "DELETE /flows/{id}?purge=true";
                self.stack.request("delete-flow", route, &id, &root, Value::Null).await;
                removal(&id, Timestamp::now())
            }
            ("reconcile-flows", 0) => {
                self.running("starting").await;
                scheduled(LIMIT)
            }
            ("replace-flow", 0) => {
                let id = self.flow(complete_flow("x")).await;
                let mut event = self.request("PUT /flows/{id}", &id, &using(&self.secret().await));
                event["headers"]["if-match"] = "*".into();
                event
            }
            ("replace-flow", 1) => {
                let mut event =
                    self.request("PUT /flows/{id}", "5ca5c44c187c040010a9bb8b", &complete_flow("x"));
                event["headers"]["if-none-match"] = "*".into();
                event
            }
            ("restore-flow", 0) => {
                let id = self.flow(complete_flow("x")).await;
                self.stack.request("delete-flow", "DELETE /flows/{id}", &id, &self.anna, Value::Null).await;
                self.request("POST /flows/{id}/restore", &id, &none)
            }
            ("restore-version", 0) => {
                let id = self.flow(using(&self.secret().await)).await;
                self.done("replace-flow", "PUT /flows/{id}", &id, complete_flow("y")).await;
                self.request("POST /flows/{id}/versions/1/restore", &id, &none)
            }
            ("start-flow", 0) => {
                let id = self.flow(using(&self.secret().await)).await;
                self.request("POST /flows/{id}/start", &id, &none)
            }
            ("start-flows", 0) => {
                let ids = [self.flow(using(&self.secret().await)).await, self.flow(complete_flow("x")).await];
                self.request("POST /flows/multiple/start", "", &json!(ids))
            }
            ("stop-flow", 0) => self.request("POST /flows/{id}/stop", &self.running("active").await, &none),
            ("stop-flows", 0) => {
                let ids = [self.running("active").await, self.running("starting").await];
                self.request("POST /flows/multiple/stop", "", &json!(ids))
            }
            ("sweep-secrets", 0) => {
                let (id, anna) = (self.secret().await, &self.anna);
                let body = json!({"value": {"key": "l"}});
                // After the note and the new value.
                self.stack
                    .request_and_crash(4, "update-secret", "PATCH /secrets/{id}", &id, anna, body)
                    .await;
                scheduled(Duration::from_hours(1))
            }
            ("update-flow", 0) => {
                let id = self.flow(complete_flow("x")).await;
                self.request("PATCH /flows/{id}", &id, &using(&self.secret().await))
            }
            ("update-flows", 0) => {
                let ids = [self.flow(complete_flow("x")).await, self.flow(complete_flow("y")).await];
                let changes = ids.map(|id| json!({"id": id, "description": "d"}));
                self.request("PATCH /flows/bulk", "", &json!(changes))
            }
            ("update-secret", 0) => {
                self.request("PATCH /secrets/{id}", &self.secret().await, &json!({"value": {"key": "l"}}))
            }
            ("update-secret", 1) => {
                let alone = json!({"name": "m", "owners": [{"id": "anna", "type": "USER"}]});
                self.request("PATCH /secrets/{id}", &self.shared_secret().await, &alone)
            }
            (_, 0) => panic!("{function} may write: what it does belongs here"),
            _ => return None,
        };
        Some(event)
    }

    /// What a function answers, and what the table has afterwards, without what differs from time to time.
    async fn outcome(&self, function: &str, event: Value) -> (String, Vec<String>) {
        let mut answer = self.stack.functions.invoke(function, event).await.unwrap();
        if let Some(body) = answer.get("body").and_then(Value::as_str) {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            answer = json!({"status": answer["statusCode"], "body": body});
        }
        let mut items = Vec::new();
        let mut pages =
            self.stack.client.scan().table_name(&self.stack.table).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            items.push(plain_item(&item.unwrap()));
        }
        items.sort_unstable();
        (plain_json(&answer).to_string(), items)
    }
}

fn bus(kind: &str, detail: Value) -> Value {
    let mut event = scheduled(Duration::ZERO);
    event["detail-type"] = kind.into();
    event["source"] = tests::source_of(kind).into();
    event["detail"] = detail;
    event
}

/// A text with a mark for each id, time, hash and shard.
fn plain(text: &str) -> String {
    if text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T' {
        return "<time>".into();
    }
    for prefix in ["ALL#", "BODY#", "DELETED-ALL#", "IDEMPOTENCY#", "READ#"] {
        if text.starts_with(prefix) {
            return prefix.into();
        }
    }
    let (mut plain, mut run) = (String::new(), String::new());
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_hexdigit() {
            run.push(letter);
            continue;
        }
        plain.push_str(if run.len() == 24 { "<id>" } else { &run });
        plain.push(letter);
        run.clear();
    }
    plain.pop();
    plain
}

fn plain_json(value: &Value) -> Value {
    match value {
        Value::String(text) => plain(text).into(),
        Value::Array(values) => values.iter().map(plain_json).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), plain_json(value))).collect()
        }
        other => other.clone(),
    }
}

fn plain_item(item: &std::collections::HashMap<String, AttributeValue>) -> String {
    let sorted: BTreeMap<_, _> = item.iter().collect();
    let attributes = sorted.into_iter().map(|(name, value)| match name.as_str() {
        "fingerprint" | "meaning" | "hash" | "tag" => format!("{name}: …"),
        _ => format!("{name}: {}", plain_attribute(value)),
    });
    attributes.collect::<Vec<_>>().join(", ")
}

fn plain_attribute(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => plain(text),
        AttributeValue::N(number) if number.len() < 10 => number.clone(),
        AttributeValue::N(_) => "<time>".into(),
        AttributeValue::B(_) => "<bytes>".into(),
        AttributeValue::L(values) => values.iter().map(plain_attribute).collect::<Vec<_>>().join(" "),
        AttributeValue::M(members) => plain_item(members),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_conflict_with_any_write_of_any_function_is_not_seen() {
    let begin = async || {
        let stack = Stack::start().await;
        let anna = stack.token("anna", "acme", ALL);
        Scene { stack, anna }
    };
    for function in writing() {
        for number in 0.. {
            let scene = begin().await;
            let Some(event) = scene.event(function, number).await else { break };
            scene.stack.dynamodb.conflicts.refuse(None);
            let expected = scene.outcome(function, event).await;
            let (writes, _) = scene.stack.dynamodb.conflicts.end();
            assert!(writes > 0, "{function}, {number} writes nothing: {}", expected.0);
            for unlucky in 1..=writes {
                let scene = begin().await;
                let event = scene.event(function, number).await.unwrap();
                scene.stack.dynamodb.conflicts.refuse(Some(unlucky));
                let outcome = scene.outcome(function, event).await;
                let refused = scene.stack.dynamodb.conflicts.end();
                assert_eq!(refused, (writes + 1, 1), "{function}, {number}, write {unlucky}");
                assert_eq!(outcome, expected, "{function}, {number}, write {unlucky}");
            }
        }
    }
}
