//! Calls that meet at an item. No engine here ever answers so: 460 transactions at once on one item of DynamoDB
//! Local were not once told that they conflict, nor are they by the embedded one. So the rule is played at the wire.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::flow::{Flow, FlowId};
use shared::identity::Caller;
use shared::store::{self, Change};
use tests::{ALL, complete_flow};
use tokio::time::Instant;

use crate::stack::{Fault, Stack, event, read};

/// For how long a transaction has its items. DynamoDB does not say. It takes two rounds, one in which the items are
/// prepared and one in which they are written, and a whole call takes some 10 to 20 ms where it is measured; the
/// items are taken for a part of that.
pub(crate) const TRANSACTION: Duration = Duration::from_millis(10);
/// What a function has of its ten seconds.
const DEADLINE: Duration = Duration::from_millis(9500);

/// The rules of "Transaction conflict handling in DynamoDB" (transaction-apis.html of the developer guide):
/// a transaction that wants an item of another one that is under way is cancelled, with `TransactionConflict` as the
/// reason of each such item, whether the one or the other writes the item or has only a condition on it; a write of
/// one item that a transaction has is refused with `TransactionConflictException`. Reads are neither refused nor
/// waited for; there are no transactions that read here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conflicts(Arc<Mutex<Rules>>);

#[derive(Debug, Default)]
struct Rules {
    /// For how long a transaction has its items, if for any time.
    lasting: Option<Duration>,
    /// The items that transactions have.
    taken: HashSet<String>,
    /// The writes that were made, and which of them meets another whatever it writes.
    writes: usize,
    unlucky: Option<usize>,
    refused: usize,
}

/// What a call has of the table until it is answered.
pub(crate) struct Place {
    items: Vec<String>,
    until: Option<Instant>,
    conflicts: Conflicts,
}

impl Conflicts {
    /// From now on transactions have their items for so long.
    pub(crate) fn begin(&self, lasting: Duration) {
        *self.0.lock().unwrap() = Rules { lasting: Some(lasting), ..Rules::default() };
    }

    /// From now on writes are counted, and this one of them, from 1, meets another one, once.
    pub(crate) fn refuse(&self, unlucky: Option<usize>) {
        *self.0.lock().unwrap() = Rules { unlucky, ..Rules::default() };
    }

    /// The writes that were made since then, and how many were refused.
    pub(crate) fn end(&self) -> (usize, usize) {
        let rules = std::mem::take(&mut *self.0.lock().unwrap());
        (rules.writes, rules.refused)
    }

    /// Lets a call through, or gives the answer that it gets instead.
    pub(crate) fn enter(&self, operation: &str, body: &Value) -> Result<Place, Value> {
        let items = written(operation, body);
        let mut rules = self.0.lock().unwrap();
        let is_transaction = operation == "TransactWriteItems";
        if !items.is_empty() {
            rules.writes += 1;
        }
        let is_unlucky = rules.unlucky == Some(rules.writes) && !items.is_empty();
        if is_unlucky {
            rules.unlucky = None;
        }
        let meets: Vec<bool> = items.iter().map(|item| is_unlucky || rules.taken.contains(item)).collect();
        if meets.contains(&true) {
            rules.refused += 1;
            return Err(conflict(is_transaction, &meets));
        }
        let until = rules.lasting.filter(|_| is_transaction).map(|lasting| Instant::now() + lasting);
        let items = if until.is_some() { items } else { Vec::new() };
        rules.taken.extend(items.iter().cloned());
        Ok(Place { items, until, conflicts: self.clone() })
    }
}

impl Place {
    /// Gives it back, not before its time.
    pub(crate) async fn leave(self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rules = self.conflicts.0.lock().unwrap();
        for item in &self.items {
            rules.taken.remove(item);
        }
    }
}

/// The items that a call writes, or has conditions on: in a transaction in the order of its places.
fn written(operation: &str, body: &Value) -> Vec<String> {
    let key = |write: &Value| {
        let key = write.get("Key").or_else(|| write.get("Item")).unwrap();
        format!("{} {}", key["pk"]["S"], key["sk"]["S"])
    };
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => vec![key(body)],
        "TransactWriteItems" => {
            let writes = body["TransactItems"].as_array().unwrap().iter();
            writes.map(|write| key(write.as_object().unwrap().values().next().unwrap())).collect()
        }
        "BatchWriteItem" => panic!("what does it conflict with?"),
        _ => Vec::new(),
    }
}

fn conflict(is_transaction: bool, meets: &[bool]) -> Value {
    let kind = |kind: &str| format!("com.amazonaws.dynamodb.v20120810#{kind}");
    let message = "Transaction is ongoing for the item";
    if !is_transaction {
        return json!({"__type": kind("TransactionConflictException"), "message": message});
    }
    let reasons = meets.iter().map(|meets| match meets {
        true => json!({"Code": "TransactionConflict", "Message": message}),
        false => json!({"Code": "None"}),
    });
    json!({
        "__type": kind("TransactionCanceledException"),
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
        "CancellationReasons": reasons.collect::<Vec<_>>(),
    })
}

pub(crate) async fn store_secret(stack: &Stack, token: &str) -> String {
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let (status, secret) = stack.request("create-secret", "POST /secrets", "", token, secret).await;
    assert_eq!(status, 201, "{secret}");
    secret["data"]["id"].as_str().unwrap().to_owned()
}

/// A flow whose second node uses this secret.
pub(crate) fn using(secret: &str) -> Value {
    let mut flow = complete_flow("uses it");
    flow["graph"]["nodes"][1]["credentials_id"] = secret.into();
    flow
}

/// Stores flows that use one secret; gives their ids. All but the first are copies of its head: the embedded engine
/// is slow with what else a thousand flows are.
async fn store_flows(stack: &Stack, token: &str, secret: &str, count: usize) -> Vec<String> {
    stack.dynamodb.take_sent();
    let (status, flow) = stack.request("create-flow", "POST /flows", "", token, using(secret)).await;
    assert_eq!(status, 201, "{flow}");
    let sent = stack.dynamodb.take_sent();
    let stored = sent.iter().find_map(|sent| sent.get("TransactItems")).unwrap();
    let mut head = stored[0]["Put"]["Item"].clone();
    let mut ids = vec![flow["data"]["id"].as_str().unwrap().to_owned()];
    for _ in 1..count {
        let id = FlowId::generate().to_string();
        head["pk"]["S"] = format!("FLOW#{id}").into();
        head["id"]["S"] = id.clone().into();
        stack.put(&head);
        ids.push(id);
    }
    ids
}

async fn start(stack: &Stack, token: &str, id: &str) -> u16 {
    stack.request("start-flow", "POST /flows/{id}/start", id, token, Value::Null).await.0
}

#[tokio::test]
async fn a_thousand_flows_of_one_secret_start_at_once() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    if stack.without_network().is_none() {
        return;
    }
    let ids = store_flows(&stack, &anna, &secret, 1000).await;

    stack.dynamodb.conflicts.begin(TRANSACTION);
    let begin = Instant::now();
    let answers = join_all(ids.iter().map(|id| start(&stack, &anna, id))).await;
    let (took, (writes, refused)) = (begin.elapsed(), stack.dynamodb.conflicts.end());
    println!("1,000 starts at once took {took:?}: {writes} attempts, of which {refused} were in others' way");
    let failed = answers.iter().filter(|status| **status != 200).count();
    assert_eq!(failed, 0, "of 1,000 starts, in {took:?}");
    assert!(took < DEADLINE && refused > 0, "{took:?}, {refused} conflicts");
}

#[tokio::test]
async fn a_thousand_flows_of_one_secret_start_with_one_request() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    if stack.without_network().is_none() {
        return;
    }
    let ids = store_flows(&stack, &anna, &secret, 1000).await;

    stack.dynamodb.conflicts.begin(TRANSACTION);
    let begin = Instant::now();
    let (status, started) =
        stack.request("start-flows", "POST /flows/multiple/start", "", &anna, json!(ids)).await;
    let (took, (writes, refused)) = (begin.elapsed(), stack.dynamodb.conflicts.end());
    println!(
        "1,000 starts in one request took {took:?}: {writes} attempts, of which {refused} were in others' way"
    );
    let failed =
        started.as_array().unwrap().iter().filter(|flow| flow["data"]["status"] != "starting").count();
    assert_eq!((status, failed), (200, 0), "in {took:?}");
    assert!(took < DEADLINE && refused > 0, "{took:?}, {refused} conflicts");
}

#[tokio::test]
async fn a_deletion_makes_no_start_stand_in_line() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    if stack.without_network().is_none() {
        return;
    }
    let ids = store_flows(&stack, &anna, &secret, 200).await;
    let (first, rest) = ids.split_at(100);
    let delete = || stack.request("delete-secret", "DELETE /secrets/{id}", &secret, &anna, Value::Null);
    stack.dynamodb.conflicts.begin(TRANSACTION);
    let gone = json!({"ARN": "a", "Name": "n", "DeletionDate": 1});
    stack.vault.fail(std::iter::repeat_n(Fault::Answer(200, gone), 10));

    // While none runs that the deletion sees: whoever does not start is told to come again, or that there is no
    // such secret, and nobody waits for the decision.
    let begin = Instant::now();
    let (starts, (deleted, _)) =
        tokio::join!(join_all(first.iter().map(|id| start(&stack, &anna, id))), delete());
    let took = begin.elapsed();
    let count = |status: u16| starts.iter().filter(|answer| **answer == status).count();
    println!("{} of 100 started beside a deletion that was answered with {deleted}, in {took:?}", count(200));
    assert_eq!(count(200) + count(503) + count(422), 100, "{starts:?}");
    assert!((deleted == 409) == (count(200) > 0), "{deleted}, {starts:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    if deleted == 204 {
        return;
    }

    // While one runs: no deletion is in the way of any start.
    let begin = Instant::now();
    let (starts, deletions) = tokio::join!(
        join_all(rest.iter().map(|id| start(&stack, &anna, id))),
        join_all((0..10).map(|_| delete()))
    );
    let took = begin.elapsed();
    assert!(starts.iter().all(|status| *status == 200), "{starts:?}");
    assert!(deletions.iter().all(|(status, _)| *status == 409), "{deletions:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_start_that_read_before_a_deletion_and_writes_after_it_is_refused() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let secret = store_secret(&stack, &anna).await;
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, using(&secret)).await;
    let id: FlowId = flow["data"]["id"].as_str().unwrap().parse().unwrap();
    let store = &stack.functions.store;
    let seen: Flow = store.get(id).await.unwrap().unwrap();
    let (status, _) =
        stack.request("delete-secret", "DELETE /secrets/{id}", &secret, &anna, Value::Null).await;
    assert_eq!(status, 204);
    let caller = Caller::new("anna", Some("acme"), []);
    let started = store
        .change_seen(
            Some(seen),
            |flow| Ok(Change::from(flow.and_then(|flow| flow.start(&caller).unwrap()))),
            |_| Ok(None),
        )
        .await;
    assert!(matches!(started, Err(store::Error::UnknownSecrets(_))), "{started:?}");
    assert_eq!(stack.partition(&format!("SECRET#{secret}")).await.keys().collect::<Vec<_>>(), ["HEAD"]);
}

#[tokio::test]
async fn starts_and_deletions_that_conflict_are_one_or_the_other() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    stack.dynamodb.conflicts.begin(TRANSACTION);
    for _ in 0..10 {
        let secret = store_secret(&stack, &anna).await;
        let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, using(&secret)).await;
        let flow = flow["data"]["id"].as_str().unwrap();
        let (started, deleted) = tokio::join!(
            start(&stack, &anna, flow),
            stack
                .functions
                .invoke("delete-secret", event("DELETE /secrets/{id}", &secret, &anna, &Value::Null)),
        );
        let (deleted, told) = read(&deleted.unwrap());
        // While it is decided the start is put off.
        assert!(matches!((started, deleted), (200, 409) | (422 | 503, 204)), "{started}, {deleted}: {told}");
    }
}
