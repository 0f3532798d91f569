//! Every kind of item at its largest, through every state: what was saved can be started, stopped, given up,
//! deleted and brought back.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::{ALL, complete_flow};

use crate::deletion::removal;
use crate::stack::{Item, LIMIT, Stack};

/// 400 KB: DynamoDB takes no larger item.
const MAX_ITEM: usize = 409_600;
/// Of each letter of a long text, in UTF-8.
const WIDE: &str = "😀";

/// As AWS documents the size of an item, computed apart from the code that weighs them.
fn weight(item: &Item) -> usize {
    fn of(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::B(bytes) => bytes.clone().into_inner().len(),
            // "Approximately (one byte per two significant digits) + (1 byte)".
            AttributeValue::N(digits) => digits.trim_end_matches('0').len() / 2 + 2,
            AttributeValue::L(values) => values.iter().fold(3, |sum, value| sum + 1 + of(value)),
            AttributeValue::M(members) => {
                members.iter().fold(3, |sum, (name, value)| sum + 1 + name.len() + of(value))
            }
            other => panic!("no item has a {other:?}"),
        }
    }
    item.iter().fold(0, |sum, (name, value)| sum + name.len() + of(value))
}

fn is_of(item: &Item, kind: &str) -> bool {
    item["pk"].as_s().unwrap().starts_with(kind)
}

/// Weighs every item there is, and gives the largest of a kind.
async fn weigh(stack: &Stack, kind: &str, after: &str) -> usize {
    let items = stack.items().await;
    for item in &items {
        assert!(
            weight(item) <= MAX_ITEM,
            "after {after}: {} of {:?} {:?}",
            weight(item),
            item["pk"],
            item["sk"]
        );
    }
    items.iter().filter(|item| is_of(item, kind)).map(weight).max().unwrap_or_default()
}

/// A text that no compression makes smaller than three quarters.
fn noise(length: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let letters = (0..length).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[usize::try_from(state >> 58).unwrap()])
    });
    letters.collect()
}

/// The longest id there may be of anybody.
fn long_id(number: usize) -> String {
    format!("{number:03}{}", WIDE.repeat(253))
}

/// A flow with everything at its longest, and so much that does not compress.
fn largest_flow(noise: &str) -> Value {
    let mut flow = complete_flow(&WIDE.repeat(256));
    flow["description"] = json!(WIDE.repeat(4096));
    flow["type"] = json!(WIDE.repeat(256));
    let owners: Vec<_> = (0..17).map(|n| json!({"id": long_id(n), "type": "user"})).collect();
    flow["owners"] = json!(owners);
    flow["graph"]["nodes"][0]["fields"] = json!({ "noise": noise });
    flow
}

#[tokio::test]
async fn what_was_saved_can_go_through_every_state() {
    let stack = Stack::start().await;
    let (sub, tenant) = (long_id(100), long_id(101));
    let token = stack.token(&sub, &tenant, ALL);
    let root = stack.token(&long_id(102), &long_id(103), "all");
    let (noise, key) = (noise(600_000), "k".repeat(255));
    let fits = async |length: usize| {
        let route = "POST /flows?validateOnly=true";
        let flow = largest_flow(&noise[..length]);
        match stack.request("create-flow", route, "", &token, flow).await {
            (200, _) => true,
            (413, problem) => {
                assert_eq!(problem["errors"][0]["reason"], "body.too_large");
                false
            }
            other => panic!("{other:?}"),
        }
    };
    // The largest that is saved, to 256 letters.
    let (mut largest, mut too_large) = (400_000, 600_000);
    assert!(fits(largest).await && !fits(too_large).await);
    while too_large - largest > 256 {
        let middle = usize::midpoint(largest, too_large);
        if fits(middle).await { largest = middle } else { too_large = middle }
    }
    let create = async |length: usize| {
        let header = ("idempotency-key", key.as_str());
        let flow = largest_flow(&noise[..length]);
        stack.request_with("create-flow", "POST /flows", "", &token, header, flow).await
    };
    assert_eq!(create(too_large).await.0, 413);
    let (status, created, _) = create(largest).await;
    assert_eq!(status, 201, "{:?}", created["errors"]);
    let id = created["data"]["id"].as_str().unwrap();
    assert!(weigh(&stack, "FLOW#", "a save").await > MAX_ITEM - 10 * 1024, "little is wasted");
    assert!(weigh(&stack, "IDEMPOTENCY#", "a save").await > 300 * 1024, "the answer is kept too");

    let request = async |function: &str, route: &str, token: &str, body: Value| {
        let (status, answer) = stack.request(function, route, id, token, body).await;
        assert_eq!(status, 200, "{route}: {:?}", answer["errors"]);
        weigh(&stack, "FLOW#", route).await;
    };
    let report = async |kind: &str, run: Option<&str>| {
        let before = stack.sequence(id).await;
        let detail = json!({"id": id, "runId": run, "reason": WIDE.repeat(10_000)});
        stack.deliver("on-flow-status", kind, detail).await.unwrap();
        assert_eq!(stack.sequence(id).await, before + 1, "{kind}");
        weigh(&stack, "FLOW#", kind).await;
    };
    let reconcile = async || {
        for _ in 0..4 {
            stack.invoke_later("reconcile-flows", LIMIT).await;
        }
        weigh(&stack, "FLOW#", "giving up").await;
    };
    let reason = async || {
        let head = stack.partition(&format!("FLOW#{id}")).await.remove("HEAD").unwrap();
        head["statusReason"].as_s().unwrap().clone()
    };
    let start = ("start-flow", "POST /flows/{id}/start");
    request(start.0, start.1, &token, Value::Null).await;
    report("flow.failed", None).await;
    assert_eq!(reason().await, WIDE.repeat(256), "a KiB of it");
    reconcile().await;
    assert!(reason().await.len() > 1000 && reason().await.contains("did not confirm the stop"));
    request(start.0, start.1, &token, Value::Null).await;
    reconcile().await;
    report("flow.started", Some("5ca5c44c187c040010a9bb8b")).await;
    request(start.0, start.1, &root, Value::Null).await;
    report("flow.started", None).await;
    report("flow.failed", None).await;
    report("flow.stopped", None).await;
    // Every row and the head are written anew, with a version and its document.
    let mut less = largest_flow(&noise[..largest - 1024]);
    for owner in [json!({"id": sub, "type": "user"}), json!({"id": tenant, "type": "tenant"})] {
        less["owners"].as_array_mut().unwrap().push(owner);
    }
    request("update-flow", "PATCH /flows/{id}", &token, less).await;
    request("restore-version", "POST /flows/{id}/versions/1/restore", &token, Value::Null).await;
    request(start.0, start.1, &token, Value::Null).await;
    request("stop-flow", "POST /flows/{id}/stop", &token, Value::Null).await;
    report("flow.stopped", None).await;
    request("delete-flow", "DELETE /flows/{id}", &token, Value::Null).await;
    report("flow.failed", Some("5ca5c44c187c040010a9bb8c")).await;
    request("restore-flow", "POST /flows/{id}/restore", &token, Value::Null).await;
    request(start.0, start.1, &token, Value::Null).await;
    report("flow.started", None).await;
    let gone =
        (0..17).map(|n| ("user", long_id(n))).chain([("user", sub.clone()), ("tenant", tenant.clone())]);
    for (kind, owner) in gone {
        let kind = format!("iam.{kind}.deleted");
        stack.deliver("on-identity-deleted", &kind, json!({"id": owner})).await.unwrap();
        weigh(&stack, "FLOW#", &kind).await;
    }
    let (_, orphan) = stack.request("get-flow", "GET /flows/{id}", id, &root, Value::Null).await;
    assert_eq!((&orphan["data"]["owners"], &orphan["data"]["status"]), (&json!([]), &json!("stopping")));
    report("flow.stopped", None).await;
    request("delete-flow", "DELETE /flows/{id}?purge=true", &root, Value::Null).await;
    stack.functions.invoke("purge-flows", removal(id, Timestamp::now())).await.unwrap();
    assert!(weigh(&stack, "FLOW#", "erasing").await < 3000, "nothing is left but a tombstone");
}

#[tokio::test]
async fn the_largest_secret_fits_whatever_becomes_of_it() {
    let stack = Stack::start().await;
    let token = stack.token(&long_id(100), &long_id(101), ALL);
    let reader = stack.token(&long_id(100), &long_id(101), "secrets.secret.readRaw");
    let long = WIDE.repeat(256);
    let owners = |from: usize| -> Value {
        let tenant = json!({"id": long_id(101), "type": "TENANT"});
        (from..from + 18).map(|n| json!({"id": long_id(n), "type": "USER"})).chain([tenant]).collect()
    };
    let secret =
        json!({"name": long, "domain": long, "type": "API_KEY", "value": {"key": "k"}, "owners": owners(0)});
    let (status, secret) = stack.request("create-secret", "POST /secrets", "", &token, secret).await;
    assert_eq!(status, 201, "{secret}");
    let id = secret["data"]["id"].as_str().unwrap();
    assert!(weigh(&stack, "SECRET", "a creation").await > 20 * 1024);
    let mut others = owners(18);
    others.as_array_mut().unwrap().push(json!({"id": long_id(100), "type": "USER"}));
    for body in [json!({"owners": others}), json!({"value": {"key": "l"}})] {
        let (status, answer) = stack.request("update-secret", "PATCH /secrets/{id}", id, &token, body).await;
        assert_eq!(status, 200, "{answer}");
        weigh(&stack, "SECRET", "a change").await;
    }
    let read = stack.request("get-secret", "GET /secrets/{id}", id, &reader, Value::Null).await;
    assert_eq!(read.0, 200);
    let gone = json!({"id": long_id(100)});
    stack.deliver("on-identity-deleted", "iam.user.deleted", gone).await.unwrap();
    weigh(&stack, "SECRET", "the deletion of an owner").await;
    let deleted = stack.request("delete-secret", "DELETE /secrets/{id}", id, &token, Value::Null).await;
    assert_eq!(deleted.0, 204);
    weigh(&stack, "SECRET", "a deletion").await;
}
