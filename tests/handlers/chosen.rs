//! Flows under ids that somebody has chosen, and times that somebody's clock has got wrong.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::flow::{ObjectId, Timestamp};
use tests::{ALL, complete_flow};

use crate::stack::Stack;

const ID: &str = "5ca5c44c187c040010a9bb8b";

async fn create(stack: &Stack, id: &str, token: &str, name: &str) -> (u16, Value, Value) {
    let header = ("if-none-match", "*");
    let flow = complete_flow(name);
    stack.request_with("replace-flow", "PUT /flows/{id}", id, token, header, flow).await
}

/// The number in an `ETag`.
fn number(headers: &Value) -> u64 {
    let tag = headers["etag"].as_str().unwrap();
    tag.trim_start_matches('"').split('-').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn no_event_and_no_tag_comes_again_when_an_id_is_chosen_a_second_time() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "acme", ALL), stack.token("root", "", "all"));
    let began = Timestamp::now();
    let (status, _, headers) = create(&stack, ID, &anna, "x").await;
    assert_eq!(status, 201);
    let (first, sequence) = (number(&headers), stack.sequence(ID).await);
    assert!(first >= began.seconds() && sequence >= began.millis(), "{first} {sequence}");
    stack.request("update-flow", "PATCH /flows/{id}", ID, &anna, json!({"name": "y"})).await;
    stack.request("delete-flow", "DELETE /flows/{id}?purge=true", ID, &root, Value::Null).await;
    let last = stack.sequence(ID).await;
    assert_eq!(last, sequence + 2, "it was changed and erased");
    // A day later, as far as the table is concerned.
    for (sk, item) in stack.partition(&format!("FLOW#{ID}")).await {
        let call = stack.client.delete_item().table_name(&stack.table);
        call.key("pk", item["pk"].clone()).key("sk", AttributeValue::S(sk)).send().await.unwrap();
    }
    while Timestamp::now().seconds() <= first || Timestamp::now().millis() <= last {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (status, _, headers) = create(&stack, ID, &anna, "x").await;
    assert_eq!(status, 201);
    assert!(number(&headers) > first, "{headers}");
    assert!(stack.sequence(ID).await > last);
}

#[tokio::test]
async fn the_first_version_is_the_first_whatever_its_number() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let (_, _, headers) = create(&stack, ID, &anna, "x").await;
    let first = number(&headers);
    let get = async |function: &str, route: &str| {
        let (status, body) = stack.request(function, route, ID, &anna, Value::Null).await;
        (status, body)
    };
    let list = async |query: &str| {
        let (status, list) = get("list-versions", &format!("GET /flows/{{id}}/versions{query}")).await;
        assert_eq!(status, 200, "{list}");
        let versions = list["data"].as_array().unwrap().iter();
        let seen: Vec<_> = versions
            .map(|version| {
                (version["number"].as_u64().unwrap(), version["summary"].as_str().unwrap().to_owned())
            })
            .collect();
        (seen, list["meta"]["next"].as_str().map(ToOwned::to_owned))
    };
    let diff = async |query: &str| {
        let (status, told) = get("compare-versions", &format!("GET /flows/{{id}}/diff{query}")).await;
        assert_eq!(status, 200, "{told}");
        (told["data"]["from"].as_u64().unwrap(), told["data"]["to"].as_u64().unwrap())
    };
    let created = (first, "Created".to_owned());
    for query in ["", "?page[size]=1"] {
        assert_eq!(list(query).await, (vec![created.clone()], None), "{query}");
    }
    assert_eq!(diff("").await, (first, first), "there is none before");
    assert_eq!(get("get-version", "GET /flows/{id}/versions/1").await.0, 404);
    stack.request("update-flow", "PATCH /flows/{id}", ID, &anna, json!({"name": "y"})).await;
    let second = (first + 1, "Name changed".to_owned());
    assert_eq!(list("").await, (vec![second.clone(), created.clone()], None));
    let (seen, next) = list("?page[size]=1").await;
    assert_eq!(seen, [second]);
    let rest = list(&format!("?page[size]=1&page[after]={}", next.unwrap())).await;
    assert_eq!(rest, (vec![created], None));
    assert_eq!((diff("").await, diff(&format!("?to={first}")).await), ((first, first + 1), (first, first)));
    let (status, version) = get("get-version", &format!("GET /flows/{{id}}/versions/{first}")).await;
    assert_eq!((status, &version["data"]["flow"]["name"]), (200, &json!("x")));
    let route = format!("POST /flows/{{id}}/versions/{first}/restore");
    let (status, restored) = stack.request("restore-version", &route, ID, &anna, Value::Null).await;
    assert_eq!((status, &restored["data"]["name"]), (200, &json!("x")));
}

#[tokio::test]
async fn an_id_of_the_future_cannot_be_chosen() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let at = |minutes: u64| {
        ObjectId::at(Timestamp::now().plus(std::time::Duration::from_mins(minutes))).to_string()
    };
    for id in ["ffffffffffffffffffffffff", "zzzzzzzzzzzz", &at(6)] {
        let (status, problem, _) = create(&stack, id, &anna, "x").await;
        assert_eq!((status, &problem["errors"][0]["reason"]), (400, &json!("id.future")), "{id}");
        assert_eq!(problem["type"], "/problems/invalid-parameter");
        // One that is not there is not there.
        let put = stack.request("replace-flow", "PUT /flows/{id}", id, &anna, complete_flow("x")).await;
        assert_eq!(put.0, 404, "{id}");
    }
    for id in ["000000000000000000000000", "abcdefghijkl", &at(0), &at(4)] {
        assert_eq!(create(&stack, id, &anna, "x").await.0, 201, "{id}");
    }
}

#[tokio::test]
async fn times_of_a_flow_never_fall_when_another_clock_was_ahead() {
    let stack = Stack::start().await;
    let (anna, root) = (stack.token("anna", "acme", ALL), stack.token("root", "", "all"));
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    let id = flow["data"]["id"].as_str().unwrap();
    let ahead = Timestamp::now().plus(std::time::Duration::from_hours(1));
    let call = stack.client.update_item().table_name(&stack.table);
    call.key("pk", AttributeValue::S(format!("FLOW#{id}")))
        .key("sk", AttributeValue::S("HEAD".into()))
        .update_expression("SET updatedAt = :t, changedAt = :t")
        .expression_attribute_values(":t", AttributeValue::N(ahead.millis().to_string()))
        .send()
        .await
        .unwrap();
    let time = |item: &crate::stack::Item, name: &str| -> u64 { item[name].as_n().unwrap().parse().unwrap() };
    let head = async |names: &[&str]| {
        let items = stack.partition(&format!("FLOW#{id}")).await;
        for name in names {
            assert!(time(&items["HEAD"], name) >= ahead.millis(), "{name}: {:?}", items["HEAD"][*name]);
        }
    };
    let done = async |function: &str, route: &str, token: &str, body: Value| {
        let (status, answer) = stack.request(function, route, id, token, body).await;
        assert_eq!(status, 200, "{answer}");
    };
    done("update-flow", "PATCH /flows/{id}", &anna, json!({"name": "y"})).await;
    head(&["updatedAt", "changedAt"]).await;
    let items = stack.partition(&format!("FLOW#{id}")).await;
    let version = items.iter().find(|(key, _)| key.starts_with("REV#")).unwrap().1;
    assert!(time(version, "replacedAt") >= ahead.millis());
    done("start-flow", "POST /flows/{id}/start", &anna, Value::Null).await;
    head(&["changedAt"]).await;
    // Without its run: that it comes after the start is told by the clock of now.
    stack.deliver("on-flow-status", "flow.started", json!({"id": id})).await.unwrap();
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();
    head(&["changedAt"]).await;
    done("delete-flow", "DELETE /flows/{id}", &anna, Value::Null).await;
    head(&["deletedAt", "changedAt"]).await;
    done("restore-flow", "POST /flows/{id}/restore", &anna, Value::Null).await;
    head(&["changedAt"]).await;
    done("delete-flow", "DELETE /flows/{id}?purge=true", &root, Value::Null).await;
    head(&["deletedAt"]).await;
}

#[tokio::test]
async fn different_texts_are_never_one_id() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    let flow = flow["data"]["id"].as_str().unwrap();
    // 12 characters of more bytes, and fewer characters of 12 bytes.
    for id in ["éééééééééééé", "éééééé", "ĩĩĩĩĩĩĩĩĩĩĩĩ", "abcdefghijké"] {
        for (function, route) in [
            ("get-flow", "GET /flows/{id}"),
            ("update-flow", "PATCH /flows/{id}"),
            ("delete-flow", "DELETE /flows/{id}"),
            ("start-flow", "POST /flows/{id}/start"),
            ("get-secret", "GET /secrets/{id}"),
            ("list-versions", "GET /flows/{id}/versions"),
        ] {
            let (status, told) = stack.request(function, route, id, &anna, json!({})).await;
            assert_eq!(
                (status, &told["errors"][0]["reason"]),
                (400, &json!("id.invalid")),
                "{route} {id}: {told}"
            );
        }
        assert_eq!(create(&stack, id, &anna, "x").await.0, 400, "{id}");
        for member in ["credentials_id", "componentId", "fromTemplate"] {
            let mut body = complete_flow("x");
            let holder = if member == "fromTemplate" { &mut body } else { &mut body["graph"]["nodes"][0] };
            holder[member] = json!(id);
            let (status, told) = stack.request("create-flow", "POST /flows", "", &anna, body.clone()).await;
            assert_eq!(
                (status, &told["errors"][0]["reason"]),
                (400, &json!("cast")),
                "{member} {id}: {told}"
            );
            let (status, _) = stack.request("update-flow", "PATCH /flows/{id}", flow, &anna, body).await;
            assert_eq!(status, 400, "{member} {id}");
        }
        let encoded = percent(id);
        let (status, told) = stack
            .request(
                "list-flows",
                &format!("GET /flows?filter[fromTemplate]={encoded}"),
                "",
                &anna,
                Value::Null,
            )
            .await;
        assert_eq!(status, 400, "{id}: {told}");
        let (_, told) =
            stack.request("start-flows", "POST /flows/multiple/start", "", &anna, json!([id])).await;
        assert_eq!(told[0]["errors"][0]["reason"], "id.invalid", "{id}: {told}");
        let item = json!([{"id": id, "name": "y"}]);
        let (_, told) = stack.request("update-flows", "PATCH /flows/bulk", "", &anna, item).await;
        assert_eq!(told["data"][0]["errors"][0]["message"], format!("Flow {id} not found"), "{told}");
    }
    let mut body = complete_flow("x");
    body["fromTemplate"] = json!("abcdefghij~\u{7f}");
    let (status, told) = stack.request("create-flow", "POST /flows", "", &anna, body).await;
    assert_eq!((status, &told["data"]["fromTemplate"]), (201, &json!("6162636465666768696a7e7f")), "{told}");
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat()
}
