//! Everything once: whether a deployment works at all, and each function may do what it does.

use std::time::Duration;

use serde_json::{Value, json};
use shared::flow::ObjectId;
use tests::{ALL, Answer, Api, complete_flow, of_flow};

fn ids(answer: &Answer) -> Vec<String> {
    let data = answer.body["data"].as_array().unwrap_or_else(|| panic!("no list: {answer:?}"));
    data.iter().map(|flow| flow["id"].as_str().unwrap_or_else(|| panic!("{flow}")).to_owned()).collect()
}

#[track_caller]
fn expect(status: u16, answer: Answer) -> Answer {
    assert_eq!(answer.status, status, "{answer:?}");
    answer
}

/// Two secrets of anna's, changed and read, and one of bert's.
async fn store_secrets(api: &Api, anna: &str, bert: &str, reader: &str) -> [String; 3] {
    let user = |name: &str| json!({"id": api.name(name), "type": "user"});
    let simple = json!({"name": "database", "type": "SIMPLE", "value": {"username": "u", "passphrase": "p"}});
    let secret = expect(201, api.post("/secrets", anna, simple.clone()).await).id();
    let key = json!({"name": "key", "type": "API_KEY", "value": {"key": "k"}});
    let key = expect(201, api.post("/secrets", anna, key).await).id();
    let secret_path = format!("/secrets/{secret}");
    assert_eq!(expect(200, api.get("/secrets", anna).await).body["meta"]["total"], 2);
    let value = json!({"value": {"username": "v", "passphrase": "q"}});
    assert_eq!(
        expect(200, api.patch(&secret_path, anna, value).await).body["data"]["value"]["username"],
        "v"
    );
    assert_eq!(expect(200, api.get(&secret_path, anna).await).body["data"]["value"]["passphrase"], "***");
    assert_eq!(expect(200, api.get(&secret_path, reader).await).body["data"]["value"]["passphrase"], "q");
    let shared = json!({"owners": [user("anna"), user("bert")]});
    expect(200, api.patch(&secret_path, anna, shared).await);
    expect(200, api.patch(&secret_path, anna, json!({"owners": [user("anna")]})).await);
    let left_to_bert = expect(201, api.post("/secrets", bert, simple).await).id();
    [secret, key, left_to_bert]
}

/// A flow that is replaced, gets its old content back, and is deleted and brought back, with a secret
/// that only some of its versions use.
async fn go_back_and_forth(api: &Api, anna: &str, secret: &str) {
    let without = complete_flow("back");
    let mut with = without.clone();
    with["graph"]["nodes"][0]["credentials_id"] = json!(secret);
    let is_valid = |answer: Answer| assert_eq!(expect(200, answer).body["data"]["valid"], true);
    is_valid(api.post("/flows/validate", anna, with.clone()).await);
    is_valid(api.post("/flows?validateOnly=true", anna, with.clone()).await);

    let id = ObjectId::generate();
    let path = format!("/flows/{id}");
    let to_create = [("content-type", "application/json"), ("if-none-match", "*")];
    expect(201, api.send_raw("PUT", &path, anna, &to_create, with.to_string()).await);
    is_valid(api.post(&format!("{path}/start?validateOnly=true"), anna, Value::Null).await);
    let each = api.post("/flows/multiple/start?validateOnly=true", anna, json!([id.to_string()])).await;
    assert_eq!(expect(200, each).body[0]["data"]["valid"], true);
    expect(200, api.send("PUT", &path, anna, without).await);
    is_valid(api.send("PUT", &format!("{path}?validateOnly=true"), anna, with.clone()).await);
    let graph = json!({"graph": with["graph"]});
    is_valid(api.patch(&format!("{path}?validateOnly=true"), anna, graph).await);
    let item = json!([{"id": id.to_string(), "graph": with["graph"]}]);
    let bulk = expect(200, api.patch("/flows/bulk?validateOnly=true", anna, item).await);
    assert_eq!(bulk.body["data"][0]["valid"], true, "{bulk:?}");

    let stale = [("content-type", "application/json"), ("if-match", "\"1-x\"")];
    let other = json!({"name": "other"}).to_string();
    let told = expect(412, api.send_raw("PATCH", &path, anna, &stale, other).await);
    let versions = expect(200, api.get(&format!("{path}/versions"), anna).await);
    assert_eq!(versions.body["data"].as_array().unwrap().len(), 2, "{versions:?}");
    let [from, to] = [1, 0].map(|place: usize| versions.body["data"][place]["number"].as_u64().unwrap());
    assert!(told.header("etag").starts_with(&format!("\"{to}-")), "{told:?}");
    let first = format!("{path}/versions/{from}");
    assert_eq!(expect(200, api.get(&first, anna).await).body["data"]["flow"]["name"], "back");
    let difference = expect(200, api.get(&format!("{path}/diff?from={from}&to={to}"), anna).await);
    let pointers = &difference.body["data"]["nodes"]["changed"][0]["pointers"];
    assert_eq!(*pointers, json!(["/graph/nodes/0/credentials_id"]));
    is_valid(api.post(&format!("{first}/restore?validateOnly=true"), anna, Value::Null).await);
    expect(200, api.post(&format!("{first}/restore"), anna, Value::Null).await);
    expect(200, api.post(&format!("{path}/versions/{to}/restore"), anna, Value::Null).await);

    expect(200, api.delete(&path, anna).await);
    expect(404, api.get(&path, anna).await);
    let deleted = expect(200, api.get("/flows?filter[deleted]=true&page[size]=100", anna).await);
    assert!(ids(&deleted).contains(&id.to_string()), "{deleted:?}");
    expect(200, api.post(&format!("{path}/restore"), anna, Value::Null).await);
    expect(200, api.get(&path, anna).await);
    expect(200, api.delete(&path, anna).await);
}

/// Requests that come twice.
async fn repeat_requests(api: &Api, anna: &str) {
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    let secret = json!({"name": "once", "type": "API_KEY", "value": {"key": "k"}});
    for (path, body) in [("/flows", complete_flow("once")), ("/secrets", secret)] {
        let first = expect(201, api.send_raw("POST", path, anna, &headers, body.to_string()).await);
        let second = expect(201, api.send_raw("POST", path, anna, &headers, body.to_string()).await);
        assert_eq!(
            (first.text.clone(), second.header("idempotency-replayed")),
            (second.text.clone(), "true")
        );
        let path = format!("{path}/{}", first.id());
        assert!([200, 204].contains(&api.delete(&path, anna).await.status));
    }
}

#[tokio::test]
async fn all_of_it_works() {
    let mut api = Api::start().await;
    api.patience = Duration::from_secs(15);
    let anna = api.token("anna", "acme", ALL);
    let bert = api.token("bert", "", ALL);
    let user = |name: &str| json!({"id": api.name(name), "type": "user"});
    let shared_flow = |name: &str| {
        let mut flow = complete_flow(name);
        flow["owners"] = json!([user("bert")]);
        flow
    };

    let health = expect(200, api.get("/healthcheck", "").await);
    assert_eq!(health.body["status"], "pass", "{health:?}");
    let unknown = expect(404, api.get("/nowhere", "").await);
    assert_eq!(unknown.header("content-type"), "application/problem+json");

    let reader = api.token("anna", "acme", "secrets.secret.readRaw");
    let [secret, key, left_to_bert] = store_secrets(&api, &anna, &bert, &reader).await;
    let secret_path = format!("/secrets/{secret}");
    let mut one = shared_flow("one");
    one["graph"]["nodes"][0]["credentials_id"] = json!(secret);
    let id = expect(201, api.post("/flows", &anna, one.clone()).await).id();
    let many = json!([shared_flow("two"), shared_flow("three"), complete_flow("four")]);
    let many = ids(&expect(201, api.post("/flows", &anna, many).await));
    let path = format!("/flows/{id}");
    assert_eq!(expect(200, api.get(&path, &bert).await).body["data"]["name"], "one");

    let page = expect(200, api.get("/flows?page[size]=3&page[number]=2", &anna).await);
    assert_eq!((ids(&page).len(), &page.body["meta"]["total"]), (1, &json!(4)));
    let first = expect(200, api.get("/flows?page[size]=3&page[after]=", &anna).await);
    let next = first.body["meta"]["next"].as_str().unwrap();
    let second = expect(200, api.get(&format!("/flows?page[size]=3&page[after]={next}"), &anna).await);
    assert_eq!([ids(&first), ids(&second)].concat(), [std::slice::from_ref(&id), &many].concat());
    let found = expect(200, api.get("/flows?search=TWO", &anna).await);
    assert_eq!(ids(&found), many[..1]);

    // An owner less: its row of the list goes.
    one["graph"]["nodes"][1]["credentials_id"] = json!(key);
    let next = json!({"owners": [user("anna")], "graph": one["graph"]});
    expect(200, api.patch(&path, &anna, next).await);
    expect(404, api.get(&path, &bert).await);
    let bulk = json!([{"id": many[0], "owners": [user("anna")]}, {"id": many[2], "name": "five", "graph": one["graph"]}]);
    assert_eq!(ids(&expect(200, api.patch("/flows/bulk", &anna, bulk).await)), [&*many[0], &*many[2]]);
    assert_eq!(ids(&expect(200, api.get("/flows", &bert).await)), many[1..2]);

    let keyed = async |path: &str, body: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
        expect(200, api.send_raw("POST", path, &anna, &headers, body.to_owned()).await);
    };
    keyed(&format!("{path}/start"), "").await;
    api.wait_for_status(&id, &anna, "active").await;
    let usages = expect(200, api.get(&format!("{secret_path}/usages"), &anna).await);
    assert_eq!(ids(&usages), [&*id, &*many[2]]);
    expect(409, api.delete(&secret_path, &anna).await);
    keyed(&format!("{path}/stop"), "").await;
    api.wait_for_status(&id, &anna, "inactive").await;
    for (order, status) in [("start", "active"), ("stop", "inactive")] {
        keyed(&format!("/flows/multiple/{order}"), &json!(many).to_string()).await;
        for id in &many {
            api.wait_for_status(id, &anna, status).await;
        }
    }
    expect(200, api.delete(&path, &anna).await);
    go_back_and_forth(&api, &anna, &key).await;
    repeat_requests(&api, &anna).await;
    expect(204, api.delete(&secret_path, &anna).await);
    expect(404, api.get(&secret_path, &reader).await);
    expect(204, api.delete(&format!("/secrets/{key}"), &anna).await);

    let steps = [
        "flowrepo.flow.created",
        "flowrepo.flow.modified",
        "flow.starting",
        "flow.stopping",
        "flowrepo.flow.deleted",
    ];
    let kinds = |events: &[Value]| -> Vec<String> {
        of_flow(events, &id).iter().map(|event| event["detail-type"].as_str().unwrap().to_owned()).collect()
    };
    let events = api.events_until(|events| kinds(events).len() >= steps.len()).await;
    assert_eq!(kinds(&events), steps);

    // A colleague starts a flow, and is gone.
    let carl = api.token("carl", "acme", ALL);
    expect(200, api.post(&format!("/flows/{}/start", many[1]), &carl, Value::Null).await);
    api.wait_for_status(&many[1], &anna, "active").await;
    api.put("iam.user.deleted", json!({"id": api.name("carl")})).await;
    let stopped = api.wait_for_status(&many[1], &anna, "inactive").await;
    assert_eq!(stopped.body["data"]["statusReason"], "The user who started the flow was deleted.");

    api.put("iam.user.deleted", json!({"id": api.name("bert")})).await;
    api.until(|| async {
        let flow = api.get(&format!("/flows/{}", many[1]), &anna).await;
        if flow.body["data"]["owners"].to_string().contains(&api.name("bert")) {
            Err(flow.text)
        } else {
            Ok(())
        }
    })
    .await;
    api.until(|| async {
        let answer = api.get(&format!("/secrets/{left_to_bert}"), &bert).await;
        if answer.status == 404 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    for id in &many {
        expect(200, api.delete(&format!("/flows/{id}"), &anna).await);
    }
    // Set aside by the function that cannot read it, once it has been tried three times.
    api.put("flow.started", json!({})).await;
}
