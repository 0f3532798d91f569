//! The largest transactions that there can be, made and counted.

use std::collections::HashMap;

use serde_json::{Value, json};
use shared::flow::{Document, Flow, SecretId};
use shared::limits::{DYNAMODB_ITEMS as MAX_PLACES, DYNAMODB_TRANSACTION_BYTES as MAX_BYTES};
use shared::store::{self, Change, Receipt, ReceiptKey, StoredAnswer};
use tests::ALL;

use crate::conflicts::store_secret;
use crate::stack::Stack;

const PAGE: &str = include_str!("../../docs/data-model.md");
const OWNERS: usize = 20;
const SECRETS: usize = 16;
/// Four bytes in UTF-8, the longest.
const LETTER: &str = "𝄞";

/// How many bytes a value of an item is, by the rules of DynamoDB.
fn value_size(value: &Value) -> usize {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => value.as_str().unwrap().len(),
        "N" => value.as_str().unwrap().len() / 2 + 2,
        // It is base64 on the wire.
        "B" => value.as_str().unwrap().len() / 4 * 3,
        "L" => 3 + value.as_array().unwrap().iter().map(|value| 1 + value_size(value)).sum::<usize>(),
        "M" => 3 + item_size(value) + value.as_object().unwrap().len(),
        "BOOL" | "NULL" => 1,
        other => panic!("{other}"),
    }
}

fn item_size(item: &Value) -> usize {
    item.as_object().unwrap().iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn key(write: &Value) -> String {
    let key = write.get("Key").or_else(|| write.get("Item")).unwrap();
    format!("{} {}", key["pk"]["S"], key["sk"]["S"])
}

/// The writes of a transaction that was sent.
fn writes(sent: &Value) -> impl Iterator<Item = &Value> {
    sent["TransactItems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|write| write.as_object().unwrap().values().next().unwrap())
}

/// The places of the last transaction, and how large it is. DynamoDB counts items; what is removed, changed in part or
/// only looked at counts as large as it was written before.
fn measure(sent: &[Value]) -> (usize, usize) {
    let mut known: HashMap<String, usize> = HashMap::new();
    let transactions: Vec<_> = sent.iter().filter(|sent| sent.get("TransactItems").is_some()).collect();
    let (last, before) = transactions.split_last().unwrap();
    for write in before.iter().flat_map(|sent| writes(sent)) {
        known.insert(key(write), size(write));
    }
    let size = |write| size(write).max(known.get(&key(write)).copied().unwrap_or_default());
    (writes(last).count(), writes(last).map(size).sum())
}

/// What a write has of an item.
fn size(write: &Value) -> usize {
    let given = write.get("Item").map_or(0, item_size);
    let values = write.get("ExpressionAttributeValues").map_or(0, item_size);
    given.max(values)
}

/// A document of anna's and others', with as many owners and secrets as there may be, in rows that are as large
/// as they may be.
fn document(mark: char, secrets: &[String], filling: &str) -> Value {
    let owner = |n: usize| {
        let id = format!("{mark}{n:02}{}", LETTER.repeat(253));
        json!({"id": id, "type": "user"})
    };
    let nodes = secrets.iter().enumerate().map(|(n, secret)| {
        json!({"id": n.to_string(), "componentId": "5ca5c44c187c040010a9bb8b", "function": "f",
            "credentials_id": secret})
    });
    let edges = (1..secrets.len()).map(|n| json!({"source": "0", "target": n.to_string()}));
    json!({
        "name": LETTER.repeat(256), "description": LETTER.repeat(4096), "type": LETTER.repeat(256),
        "graph": {"nodes": nodes.collect::<Vec<_>>(), "edges": edges.collect::<Vec<_>>()},
        "owners": (0..OWNERS).map(owner).collect::<Vec<_>>(),
        "flowSettings": filling,
    })
}

/// Text that cannot be packed, but for what base64 wastes.
fn noise(bytes: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[usize::try_from(state >> 58).unwrap()])
    });
    letters.take(bytes).collect()
}

#[tokio::test]
async fn the_largest_transaction_of_a_flow_fits_and_is_as_documented() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let mut secrets = Vec::new();
    for _ in 0..2 * SECRETS {
        secrets.push(store_secret(&stack, &anna).await);
    }
    let (first, second) = secrets.split_at(SECRETS);
    let (_, small) = stack.request("create-flow", "POST /flows", "", &anna, tests::complete_flow("x")).await;
    let store = &stack.functions.store;
    let small = store.get(small["data"]["id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    let with = |flow: &Flow, document: Value| Flow {
        document: serde_json::from_value::<Document>(document).unwrap().into(),
        revision: flow.revision + 1,
        sequence: flow.sequence + 1,
        ..flow.clone()
    };
    let receipt = |bytes: usize| Receipt {
        key: ReceiptKey { id: "r".into(), fingerprint: "f".into(), meaning: None, seal: [1; 32] },
        answer: StoredAnswer { status: 200, headers: Vec::new(), body: noise(bytes) },
    };
    // As large as it may be.
    let mut fitting = (300..=520).rev().map(|kib| kib * 1024);
    let (before, size) = loop {
        let size = fitting.next().unwrap();
        let next = with(&small, document('a', first, &noise(size)));
        let stored = store
            .change_seen(Some(small.clone()), |_| Ok(Change::Save(Box::new(next.clone()))), |_| Ok(None))
            .await;
        match stored {
            Ok(stored) => break (stored.unwrap(), size),
            Err(store::Error::TooLarge) => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    let next = with(&before, document('b', second, &noise(size)));
    let stored = store
        .change_seen::<store::Error>(
            Some(before),
            |_| Ok(Change::Save(Box::new(next.clone()))),
            |_| Ok(Some(receipt(500 * 1024))),
        )
        .await;
    stored.unwrap();
    let (places, bytes) = measure(&stack.dynamodb.take_sent());
    println!("a flow: {places} places, {bytes} bytes, with a document of {size} bytes");
    assert!(places <= MAX_PLACES && bytes <= MAX_BYTES, "{places} places, {bytes} bytes");
    assert!(
        PAGE.contains(&format!("and a receipt: {places}.")),
        "docs/data-model.md says another number than {places}"
    );
}

#[tokio::test]
async fn the_largest_transaction_of_a_secret_fits_and_is_as_documented() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let owners = |mark: char| {
        let others = (1..OWNERS).map(|n| format!("{mark}{n:02}{}", LETTER.repeat(253)));
        let owners = others.chain(["anna".into()]).map(|id| json!({"id": id, "type": "USER"}));
        json!(owners.collect::<Vec<_>>())
    };
    let name = LETTER.repeat(256);
    let secret = json!({"name": name, "domain": name, "type": "API_KEY", "value": {"key": "k"}, "owners": owners('a')});
    let once = ("idempotency-key", "k");
    let (status, stored, _) =
        stack.request_with("create-secret", "POST /secrets", "", &anna, once, secret).await;
    assert_eq!(status, 201, "{stored}");
    let id: SecretId = stored["data"]["id"].as_str().unwrap().parse().unwrap();
    let id = id.to_string();
    let mut sent = stack.dynamodb.take_sent();
    let created = measure(&sent);
    let body = json!({"owners": owners('b')});
    let (status, told) = stack.request("update-secret", "PATCH /secrets/{id}", &id, &anna, body).await;
    assert_eq!(status, 200, "{told}");
    sent.extend(stack.dynamodb.take_sent());
    let changed = measure(&sent);
    let (status, _) = stack.request("delete-secret", "DELETE /secrets/{id}", &id, &anna, Value::Null).await;
    assert_eq!(status, 204);
    sent.extend(stack.dynamodb.take_sent());
    let deleted = measure(&sent);
    println!("a secret: stored {created:?}, all owners but one replaced {changed:?}, deleted {deleted:?}");
    let largest = [created, changed, deleted];
    assert!(
        largest.iter().all(|(places, bytes)| *places <= MAX_PLACES && *bytes <= MAX_BYTES),
        "{largest:?}"
    );
    let places = largest.iter().map(|(places, _)| places).max().unwrap();
    assert!(
        PAGE.contains(&format!("and 19 removed: {places}.")),
        "docs/data-model.md says another number than {places}"
    );
}
