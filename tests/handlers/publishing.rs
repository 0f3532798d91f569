//! The table's stream → the bus.

use local::functions::Outcome;
use serde_json::{Value, json};
use shared::flow::{ComponentCheck, Flow, Role, read_fields};
use shared::identity::Caller;
use tests::complete_flow;

use crate::log::Log;
use crate::stack::{Fault, Stack};

/// A stored head in the form of a stream's image.
async fn image(stack: &Stack, name: &str) -> Value {
    let body = serde_json::value::to_raw_value(&complete_flow(name)).unwrap();
    let caller = Caller::new("anna", Some("acme"), []);
    let flow =
        Flow::create(&caller, read_fields(&body).unwrap(), ComponentCheck::AtStart, Role::Owner).unwrap();
    stack.functions.store.insert(&flow, None).await.unwrap();
    let key = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.into());
    let call = stack.client.get_item().table_name(&stack.table);
    let output =
        call.key("pk", key(&format!("FLOW#{}", flow.id))).key("sk", key("HEAD")).send().await.unwrap();
    serde_json::to_value(serde_dynamo::Item::from(output.item.unwrap())).unwrap()
}

fn record(number: &str, new_image: &Value) -> Value {
    json!({
        "eventID": number, "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "r",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_795_342_812.0, "SequenceNumber": number, "SizeBytes": 1,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            "Keys": {"pk": new_image["pk"], "sk": new_image["sk"]}, "NewImage": new_image,
        },
    })
}

async fn publish(stack: &Stack, records: &[Value]) -> Outcome {
    stack.messaging.take_sent();
    stack.functions.invoke("publish-changes", json!({"Records": records})).await
}

/// The ids of the flows whose events were sent, call by call.
fn sent(stack: &Stack) -> Vec<Vec<String>> {
    let entries = |call: Value| -> Vec<String> {
        let entries = call["Entries"].as_array().cloned().unwrap_or_default();
        let detail = |entry: Value| serde_json::from_str::<Value>(entry["Detail"].as_str().unwrap()).unwrap();
        entries
            .into_iter()
            .map(|entry| detail(entry)["data"]["flowId"].as_str().unwrap().to_owned())
            .collect()
    };
    stack.messaging.take_sent().into_iter().map(entries).collect()
}

fn entry(code: Option<&str>) -> Value {
    code.map_or_else(|| json!({"EventId": "e"}), |code| json!({"ErrorCode": code, "ErrorMessage": "m"}))
}

fn answer(codes: &[Option<&str>]) -> Fault {
    let failed = codes.iter().flatten().count();
    let entries: Vec<_> = codes.iter().map(|code| entry(*code)).collect();
    Fault::Answer(200, json!({"FailedEntryCount": failed, "Entries": entries}))
}

fn failures(outcome: Outcome) -> Value {
    outcome.unwrap()["batchItemFailures"].clone()
}

#[tokio::test]
async fn entries_that_failed_are_sent_again_and_no_others() {
    let stack = Stack::start().await;
    let images = [image(&stack, "1").await, image(&stack, "2").await, image(&stack, "3").await];
    let ids: Vec<_> = images.iter().map(|image| image["id"]["S"].as_str().unwrap().to_owned()).collect();
    let records: Vec<_> = images.iter().enumerate().map(|(n, image)| record(&n.to_string(), image)).collect();
    stack.messaging.fail([answer(&[None, Some("InternalFailure"), None])]);
    assert_eq!(failures(publish(&stack, &records).await), json!([]));
    assert_eq!(sent(&stack), [ids.clone(), vec![ids[1].clone()]]);
}

#[tokio::test]
async fn what_the_bus_does_not_take_stays_in_the_stream() {
    let stack = Stack::start().await;
    let records = [record("1", &image(&stack, "1").await), record("2", &image(&stack, "2").await)];
    stack.messaging.fail([
        answer(&[None, Some("ThrottlingException")]),
        answer(&[Some("ThrottlingException")]),
        answer(&[Some("ThrottlingException")]),
    ]);
    assert_eq!(failures(publish(&stack, &records).await), json!([{"itemIdentifier": "2"}]));
    // An answer that says nothing of an entry is no success.
    stack.messaging.fail(std::iter::repeat_n(answer(&[]), 3));
    assert_eq!(failures(publish(&stack, &records).await), json!([{"itemIdentifier": "1"}]));
    assert_eq!(failures(publish(&stack, &records).await), json!([]));
    assert_eq!(stack.events().len(), 2);
}

#[tokio::test]
async fn what_is_published_and_what_is_not_is_measured() {
    let stack = Stack::start().await;
    let records = [record("1", &image(&stack, "1").await), record("2", &image(&stack, "2").await)];
    let log = Log::start();
    let measured = || -> Vec<(String, u64)> {
        let lines = log.take().into_iter().filter(|line| line["message"] == "metric");
        lines.map(|line| (line["metric"].as_str().unwrap().into(), line["value"].as_u64().unwrap())).collect()
    };
    failures(publish(&stack, &records).await);
    let values = measured();
    assert_eq!(values[0], ("EventsPublished".into(), 2));
    assert!(values[1].0 == "PublishDelay" && values[1].1 < 60_000 && values.len() == 2, "{values:?}");

    let again = Some("ThrottlingException");
    stack.messaging.fail([answer(&[None, again]), answer(&[again]), answer(&[again])]);
    failures(publish(&stack, &records).await);
    let values = measured();
    assert_eq!((&values[0], &values[2]), (&("EventsPublished".into(), 1), &("PublishFailures".into(), 1)));

    // What will never be published is set aside instead.
    stack.messaging.fail([answer(&[Some("MalformedDetail")])]);
    failures(publish(&stack, &records[..1]).await);
    assert_eq!(measured(), [("ChangesUnreadable".into(), 1)]);
    failures(publish(&stack, &[]).await);
    assert_eq!(measured(), []);
}

#[tokio::test]
async fn a_poison_record_is_set_aside_whole_and_blocks_nothing() {
    let stack = Stack::start().await;
    let good = image(&stack, "good").await;
    let mut poison = good.clone();
    poison["document"] = json!({"B": "bm90IHpzdGQ="});
    let mut newer = good.clone();
    newer["status"] = json!({"S": "sleeping"});
    let records = [record("1", &poison), record("2", &good), record("3", &newer), json!({"what": "is this"})];
    assert_eq!(failures(publish(&stack, &records).await), json!([]));
    assert_eq!(stack.events().len(), 1);
    assert_eq!(stack.dead_letters(), [records[0].clone(), records[2].clone(), records[3].clone()]);

    // When it cannot even be set aside, it comes again.
    stack.messaging.fail(std::iter::repeat_n(Fault::error("AccessDenied"), 10));
    assert_eq!(failures(publish(&stack, &records[..1]).await), json!([{"itemIdentifier": "1"}]));
}

#[tokio::test]
async fn an_event_that_the_bus_refuses_for_ever_is_set_aside() {
    let stack = Stack::start().await;
    let records = [record("1", &image(&stack, "1").await), record("2", &image(&stack, "2").await)];
    stack.messaging.fail([answer(&[Some("MalformedDetail"), None])]);
    assert_eq!(failures(publish(&stack, &records).await), json!([]));
    assert_eq!(stack.dead_letters(), [records[0].clone()]);
}

#[tokio::test]
async fn a_tombstone_that_expires_is_no_second_deletion() {
    let stack = Stack::start().await;
    let live = image(&stack, "x").await;
    let tombstone = json!({
        "pk": live["pk"], "sk": live["sk"], "id": live["id"], "sequence": {"N": "2"}, "deletedAt": {"N": "1795342812000"},
        "actor": {"M": {"user": {"S": "bert"}}}, "expiresAt": {"N": "1795429212"},
    });
    let change = |old: Option<&Value>, new: Option<&Value>| {
        let mut record = record("1", &live);
        let change = record["dynamodb"].as_object_mut().unwrap();
        change.remove("NewImage");
        change.extend(old.map(|image| ("OldImage".to_owned(), image.clone())));
        change.extend(new.map(|image| ("NewImage".to_owned(), image.clone())));
        record
    };
    let records = [change(Some(&live), Some(&tombstone)), change(Some(&tombstone), None)];
    assert_eq!(failures(publish(&stack, &records).await), json!([]));
    let events = stack.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["detail-type"], "flowrepo.flow.deleted");
    assert_eq!(events[0]["detail"]["data"]["user"], "bert");
}
