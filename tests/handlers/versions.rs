//! What a flow was before.

use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::{ALL, complete_flow};

use crate::stack::{Fault, KEEP_VERSIONS, Stack};

/// Anna's flow, and her token.
async fn flow_of_anna(stack: &Stack, body: Value) -> (String, String) {
    let anna = stack.token("anna", "acme", ALL);
    let (status, flow) = stack.request("create-flow", "POST /flows", "", &anna, body).await;
    assert_eq!(status, 201, "{flow}");
    (flow["data"]["id"].as_str().unwrap().to_owned(), anna)
}

async fn change(stack: &Stack, id: &str, token: &str, body: Value) -> Value {
    let (status, flow) = stack.request("update-flow", "PATCH /flows/{id}", id, token, body).await;
    assert_eq!(status, 200, "{flow}");
    flow["data"].clone()
}

async fn versions(stack: &Stack, id: &str, token: &str) -> Vec<Value> {
    let route = "GET /flows/{id}/versions";
    let (_, list) = stack.request("list-versions", route, id, token, Value::Null).await;
    list["data"].as_array().unwrap_or_else(|| panic!("{list}")).clone()
}

async fn version(stack: &Stack, id: &str, token: &str, number: u64) -> (u16, Value) {
    let route = format!("GET /flows/{{id}}/versions/{number}");
    stack.request("get-version", &route, id, token, Value::Null).await
}

async fn restore(stack: &Stack, id: &str, token: &str, number: u64) -> (u16, Value) {
    let route = format!("POST /flows/{{id}}/versions/{number}/restore");
    stack.request("restore-version", &route, id, token, Value::Null).await
}

/// How many items of this kind belong to a flow.
async fn count(stack: &Stack, id: &str, kind: &str) -> usize {
    stack.partition(&format!("FLOW#{id}")).await.keys().filter(|key| key.starts_with(kind)).count()
}

#[tokio::test]
async fn every_change_is_a_version_that_says_what_when_and_by_whom() {
    let stack = Stack::start().await;
    let (id, anna) = flow_of_anna(&stack, complete_flow("one")).await;
    let bert = stack.token("bert", "acme", ALL);
    let first = stack.request("get-flow", "GET /flows/{id}", &id, &anna, Value::Null).await.1["data"].take();
    let second = change(&stack, &id, &bert, json!({"name": "two"})).await;
    change(&stack, &id, &bert, json!({"name": "two"})).await;
    let mut graph = second["graph"].clone();
    graph["nodes"].as_array_mut().unwrap().push(json!({"id": "c"}));
    change(&stack, &id, &anna, json!({"graph": graph, "cron": "*/5 * * * *"})).await;
    stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await;

    let list = versions(&stack, &id, &anna).await;
    let seen: Vec<_> = list
        .iter()
        .map(|version| {
            let text = |name: &str| version[name].as_str().unwrap();
            (version["number"].as_u64().unwrap(), text("author"), text("summary"))
        })
        .collect();
    assert_eq!(
        seen,
        [(3, "anna", "1 node added, cron changed"), (2, "bert", "Name changed"), (1, "anna", "Created"),],
        "what changes nothing and what runs is no version"
    );
    assert_eq!((&list[1]["time"], &list[2]["time"]), (&second["updatedAt"], &first["createdAt"]));
    let shown = version(&stack, &id, &anna, 1).await.1["data"].take();
    for member in ["name", "graph", "owners", "tenant"] {
        assert_eq!(shown["flow"][member], first[member], "{member}");
    }
    assert_eq!((&shown["number"], &shown["author"]), (&json!(1), &json!("anna")));
    assert_eq!(version(&stack, &id, &anna, 3).await.1["data"]["flow"]["cron"], "*/5 * * * *");
    for number in [0, 4, u64::MAX] {
        let (status, problem) = version(&stack, &id, &anna, number).await;
        assert_eq!((status, problem["type"].as_str()), (404, Some("/problems/version-not-found")));
    }
    let eve = stack.token("eve", "globex", ALL);
    let (status, problem) = version(&stack, &id, &eve, 1).await;
    assert_eq!((status, problem["type"].as_str()), (404, Some("/problems/flow-not-found")));
}

#[tokio::test]
async fn versions_are_paged_from_the_newest_on() {
    let stack = Stack::start().await;
    let (id, anna) = flow_of_anna(&stack, complete_flow("1")).await;
    for number in 2..=7 {
        change(&stack, &id, &anna, json!({"name": number.to_string()})).await;
    }
    for size in [1, 2, 3, 7, 10] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let route = format!("GET /flows/{{id}}/versions?page[size]={size}{after}");
            let (_, page) = stack.request("list-versions", &route, &id, &anna, Value::Null).await;
            let numbers: Vec<_> =
                page["data"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect();
            assert!(numbers.len() <= size && !numbers.is_empty());
            seen.extend(numbers);
            let Some(next) = page["meta"]["next"].as_str() else { break };
            after = format!("&page[after]={next}");
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1], "pages of {size}");
    }
    for wrong in ["page[size]=0", "page[number]=2", "page[after]=x"] {
        let route = format!("GET /flows/{{id}}/versions?{wrong}");
        assert_eq!(stack.request("list-versions", &route, &id, &anna, Value::Null).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_version_is_restored_as_a_new_one_and_gives_nobody_access_again() {
    let stack = Stack::start().await;
    let mut shared = complete_flow("one");
    shared["owners"] = json!([{"id": "carl", "type": "user"}]);
    let (id, anna) = flow_of_anna(&stack, shared).await;
    let now =
        change(&stack, &id, &anna, json!({"name": "two", "owners": [{"id": "anna", "type": "user"}]})).await;
    let (status, restored) = restore(&stack, &id, &anna, 1).await;
    assert_eq!((status, &restored["data"]["name"]), (200, &json!("one")));
    assert_eq!(restored["data"]["owners"], now["owners"], "carl stays away");
    assert_eq!(versions(&stack, &id, &anna).await[0]["number"], 3);
    let (status, again) = restore(&stack, &id, &anna, 3).await;
    assert_eq!((status, &again["data"]), (200, &restored["data"]), "what it is already changes nothing");

    stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await;
    let (status, problem) = restore(&stack, &id, &anna, 2).await;
    assert_eq!((status, problem["type"].as_str()), (409, Some("/problems/flow-not-inactive")));
    assert_eq!(restore(&stack, &id, &anna, 9).await.0, 404);
}

#[tokio::test]
async fn a_document_is_stored_once_for_all_versions_that_have_it() {
    let stack = Stack::start().await;
    let (id, anna) = flow_of_anna(&stack, complete_flow("one")).await;
    assert_eq!((count(&stack, &id, "REV#").await, count(&stack, &id, "BODY#").await), (0, 0));
    for _ in 0..3 {
        change(&stack, &id, &anna, json!({"name": "two"})).await;
        change(&stack, &id, &anna, json!({"name": "one"})).await;
    }
    assert_eq!((count(&stack, &id, "REV#").await, count(&stack, &id, "BODY#").await), (6, 2));
    let items = stack.partition(&format!("FLOW#{id}")).await;
    let kept = Timestamp::now().plus(KEEP_VERSIONS).seconds();
    for (key, item) in items.iter().filter(|(key, _)| *key != "HEAD") {
        let expires_at: u64 = item["expiresAt"].as_n().unwrap().parse().unwrap();
        assert!(kept - 60 <= expires_at && expires_at <= kept, "{key}");
    }
    // The table takes its time to remove what has expired.
    stack.expire(&format!("FLOW#{id}"), "REV#000000000001").await;
    assert_eq!(version(&stack, &id, &anna, 1).await.0, 404);
    let left: Vec<_> = versions(&stack, &id, &anna).await.iter().map(|one| one["number"].clone()).collect();
    assert_eq!(left, [7, 6, 5, 4, 3, 2]);
}

#[tokio::test]
async fn two_versions_are_compared_for_people_and_for_programs() {
    let stack = Stack::start().await;
    let mut body = complete_flow("one");
    body["graph"]["nodes"][0]["fields"] = json!({"url": "a", "deep": {"x": 1}});
    body["graph"]["nodes"][0]["nodeSettings"] = json!({"position": {"x": 1}});
    let (id, anna) = flow_of_anna(&stack, body.clone()).await;
    let mut graph = body["graph"].clone();
    graph["nodes"][0]["fields"]["url"] = json!("b");
    graph["nodes"].as_array_mut().unwrap().push(json!({"id": "new", "name": "N"}));
    change(&stack, &id, &anna, json!({"graph": graph, "description": "d"})).await;
    graph["nodes"][0]["nodeSettings"]["position"]["x"] = json!(2);
    change(&stack, &id, &anna, json!({"graph": graph})).await;

    let diff = async |query: &str| {
        let route = format!("GET /flows/{{id}}/diff{query}");
        stack.request("compare-versions", &route, &id, &anna, Value::Null).await
    };
    let (_, told) = diff("?from=1&to=2").await;
    let told = &told["data"];
    assert_eq!(told["nodes"]["added"], json!([{"id": "new", "name": "N", "pointer": "/graph/nodes/2"}]));
    assert_eq!(told["nodes"]["changed"][0]["pointers"], json!(["/graph/nodes/0/fields/url"]));
    assert_eq!((&told["members"], &told["layout"]), (&json!(["/description"]), &json!([])));
    assert_eq!(told["summary"], "1 node added, 1 node changed, description changed");
    let (_, layout) = diff("").await;
    let layout = &layout["data"];
    assert_eq!((&layout["from"], &layout["to"]), (&json!(2), &json!(3)), "the last change by default");
    assert_eq!(layout["layout"], json!(["/graph/nodes/0/nodeSettings/position/x"]));
    assert_eq!(layout["nodes"]["changed"], json!([]));
    let (_, back) = diff("?from=3&to=1").await;
    assert_eq!(back["data"]["nodes"]["removed"][0]["id"], "new");

    let accept = ("accept", "application/json-patch+json");
    let route = "GET /flows/{id}/diff?from=1&to=3";
    let (status, patch, headers) =
        stack.request_with("compare-versions", route, &id, &anna, accept, Value::Null).await;
    assert_eq!((status, headers["content-type"].as_str()), (200, Some("application/json-patch+json")));
    let mut first = version(&stack, &id, &anna, 1).await.1["data"]["flow"].take();
    json_patch::patch(&mut first, &serde_json::from_value::<json_patch::Patch>(patch).unwrap()).unwrap();
    assert_eq!(first, version(&stack, &id, &anna, 3).await.1["data"]["flow"]);

    assert_eq!(diff("?from=1&to=9").await.0, 404);
    for wrong in ["?from=x", "?to=0", "?from=1&from=2"] {
        assert_eq!(diff(wrong).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn what_was_shown_can_be_put_back_and_what_is_put_replaces_all() {
    let stack = Stack::start().await;
    let mut body = complete_flow("one");
    body["description"] = json!("d");
    body["owners"] = json!([{"id": "carl", "type": "user"}]);
    let (id, anna) = flow_of_anna(&stack, body).await;
    let put = async |tag: &str, body: Value| {
        let header = ("if-match", tag);
        stack.request_with("replace-flow", "PUT /flows/{id}", &id, &anna, header, body).await
    };
    stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await;
    let (_, mut shown, headers) =
        stack.request_if("get-flow", "GET /flows/{id}", &id, &anna, "", Value::Null).await;
    let (status, same, same_headers) = put("*", shown["data"].clone()).await;
    assert_eq!((status, &same["data"], &same_headers["etag"]), (200, &shown["data"], &headers["etag"]));
    let mut other = shown["data"].take();
    other["name"] = json!("two");
    assert_eq!(put("*", other.clone()).await.0, 409);
    stack.request("stop-flow", "POST /flows/{id}/stop", &id, &anna, Value::Null).await;
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();

    other.as_object_mut().unwrap().remove("description");
    other.as_object_mut().unwrap().remove("owners");
    let (status, replaced, headers) = put(headers["etag"].as_str().unwrap(), other.clone()).await;
    assert_eq!((status, &replaced["data"]["name"]), (200, &json!("two")));
    assert_eq!(replaced["data"]["description"], Value::Null);
    assert_eq!(replaced["data"]["owners"].as_array().unwrap().len(), 3, "owners stay: {replaced}");
    assert_eq!(put("\"1-x\"", other).await.0, 200, "it is in effect");
    let (status, told, _) = put("\"1-x\"", complete_flow("three")).await;
    assert_eq!((status, &told["errors"][0]["etag"]), (412, &headers["etag"]));
    assert_eq!(put("*", json!({"graph": {}})).await.0, 400);
}

#[tokio::test]
async fn a_flow_is_created_under_a_chosen_id_once() {
    let stack = Stack::start().await;
    let (anna, eve) = (stack.token("anna", "acme", ALL), stack.token("eve", "globex", ALL));
    let id = "5ca5c44c187c040010a9bb8b";
    let create = async |token: &str, body: Value| {
        let header = ("if-none-match", "*");
        stack.request_with("replace-flow", "PUT /flows/{id}", id, token, header, body).await
    };
    let put = stack.request("replace-flow", "PUT /flows/{id}", id, &anna, complete_flow("x")).await;
    assert_eq!(put.0, 404);
    let (status, flow, headers) = create(&anna, complete_flow("x")).await;
    assert_eq!((status, headers["location"].as_str()), (201, Some("/flows/5ca5c44c187c040010a9bb8b")));
    assert_eq!(flow["data"]["createdAt"], "2019-04-04T08:46:04.097Z", "as the id says");
    assert_eq!(create(&anna, complete_flow("x")).await.0, 200, "it is in effect");
    let mut shown = flow["data"].clone();
    shown["status"] = json!("active");
    assert_eq!(create(&anna, shown).await.0, 200, "as it was shown while it ran");
    for (token, body) in [(&anna, complete_flow("y")), (&eve, complete_flow("x"))] {
        let (status, problem, headers) = create(token, body).await;
        assert_eq!((status, problem["type"].as_str()), (412, Some("/problems/flow-exists")));
        assert_eq!(headers["etag"], Value::Null);
    }
    stack.request("delete-flow", "DELETE /flows/{id}", id, &anna, Value::Null).await;
    assert_eq!(create(&eve, complete_flow("x")).await.0, 412, "it can still be restored");
}

#[tokio::test]
async fn a_flow_of_a_mebibyte_is_saved_compared_and_restored() {
    let stack = Stack::start().await;
    let nodes: Vec<_> = (0..2000)
        .map(|n| json!({"id": format!("n{n}"), "fields": {"text": format!("{n} ").repeat(88), "n": n}}))
        .collect();
    let edges: Vec<_> =
        (1..2000).map(|n| json!({"source": format!("n{}", n - 1), "target": format!("n{n}")})).collect();
    let mut body = json!({"name": "large", "graph": {"nodes": nodes, "edges": edges}});
    assert!(body.to_string().len() > 900_000 && body.to_string().len() < 1024 * 1024);
    let (id, anna) = flow_of_anna(&stack, body.clone()).await;
    body["graph"]["nodes"][1000]["fields"]["n"] = json!("changed");
    change(&stack, &id, &anna, json!({"graph": body["graph"]})).await;
    let (_, told) = stack.request("compare-versions", "GET /flows/{id}/diff", &id, &anna, Value::Null).await;
    assert_eq!(told["data"]["nodes"]["changed"][0]["pointers"], json!(["/graph/nodes/1000/fields/n"]));
    let (status, restored) = restore(&stack, &id, &anna, 1).await;
    assert_eq!((status, &restored["data"]["graph"]["nodes"][1000]["fields"]["n"]), (200, &json!(1000)));
    assert_eq!(version(&stack, &id, &anna, 2).await.1["data"]["flow"]["graph"], body["graph"]);
}

#[tokio::test]
async fn numbers_stay_what_they_are_in_patches_and_differences() {
    // The first is read as its neighbour by parsers that take the short way.
    const NUMBERS: [f64; 3] = [94.527_069_555_392_23, 0.1 + 0.2, 1.234_567_890_123_456_7e-7];
    let stack = Stack::start().await;
    let mut body = complete_flow("one");
    body["flowSettings"] = json!({"kept": NUMBERS, "changed": 1});
    let (id, anna) = flow_of_anna(&stack, body).await;
    let header = ("content-type", "application/merge-patch+json");
    let patch = json!({"flowSettings": {"changed": NUMBERS}});
    let (status, flow, _) =
        stack.request_with("update-flow", "PATCH /flows/{id}", &id, &anna, header, patch).await;
    assert_eq!((status, &flow["data"]["flowSettings"]), (200, &json!({"kept": NUMBERS, "changed": NUMBERS})));
    let accept = ("accept", "text/html, Application/JSON-Patch+JSON;q=0.9, */*;q=0.8");
    let (_, patch, _) =
        stack.request_with("compare-versions", "GET /flows/{id}/diff", &id, &anna, accept, Value::Null).await;
    assert_eq!(patch, json!([{"op": "replace", "path": "/flowSettings/changed", "value": NUMBERS}]));
}

#[tokio::test]
async fn who_changes_nothing_becomes_no_owner() {
    let stack = Stack::start().await;
    let (id, anna) = flow_of_anna(&stack, complete_flow("one")).await;
    let (bert, root) = (stack.token("bert", "acme", ALL), stack.token("root", "", "all"));
    let show = async || stack.request_if("get-flow", "GET /flows/{id}", &id, &anna, "", Value::Null).await;
    let before = show().await;
    for token in [&bert, &root] {
        let mut same = before.1["data"].clone();
        let put = stack.request("replace-flow", "PUT /flows/{id}", &id, token, same.clone()).await;
        assert_eq!((put.0, &put.1["data"]), (200, &before.1["data"]));
        assert_eq!(change(&stack, &id, token, json!({})).await, before.1["data"]);
        assert_eq!(
            change(&stack, &id, token, json!({"graph": same["graph"].take()})).await,
            before.1["data"]
        );
        assert_eq!(restore(&stack, &id, token, 1).await.1["data"], before.1["data"]);
    }
    let after = show().await;
    assert_eq!((&after.1, &after.2["etag"]), (&before.1, &before.2["etag"]));
    assert_eq!(versions(&stack, &id, &anna).await.len(), 1);
}

#[tokio::test]
async fn a_page_of_versions_goes_on_where_the_table_has_cut_it() {
    let stack = Stack::start().await;
    let (id, anna) = flow_of_anna(&stack, complete_flow("1")).await;
    for number in 2..=4 {
        change(&stack, &id, &anna, json!({"name": number.to_string()})).await;
    }
    // The head, and then as much of three versions as fits an answer of the table.
    let item = json!({
        "pk": {"S": format!("FLOW#{id}")}, "sk": {"S": "REV#000000000003"},
        "revision": {"N": "3"}, "author": {"M": {"user": {"S": "anna"}}}, "createdAt": {"N": "1"},
        "hash": {"S": "h"}, "replacedAt": {"N": "2"},
    });
    let cut = json!({"Items": [item], "Count": 1, "LastEvaluatedKey": {"pk": item["pk"], "sk": item["sk"]}});
    stack.dynamodb.fail([Fault::Pass, Fault::Answer(200, cut)]);
    let route = "GET /flows/{id}/versions?page[size]=100";
    let (status, page) = stack.request("list-versions", route, &id, &anna, Value::Null).await;
    assert_eq!(status, 200, "{page}");
    let next = page["meta"]["next"].as_str().unwrap();
    let route = format!("{route}&page[after]={next}");
    let (_, rest) = stack.request("list-versions", &route, &id, &anna, Value::Null).await;
    let numbers: Vec<_> =
        [page, rest].iter().flat_map(|page| page["data"].as_array().unwrap().clone()).collect();
    assert_eq!(numbers.iter().map(|one| one["number"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 3, 2, 1]);
}
