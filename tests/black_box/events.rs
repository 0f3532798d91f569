//! What comes in over the bus, and what the stream lets out.

use ::local::Options;
use serde_json::{Value, json};
use tests::{ALL, Api, complete_flow, of_flow};

/// A flow and its first run.
async fn started(api: &Api, token: &str, name: &str) -> (String, String) {
    let id = api.post("/flows", token, complete_flow(name)).await.id();
    api.post(&format!("/flows/{id}/start"), token, Value::Null).await;
    let events = api
        .events_until(|events| {
            events.iter().any(|e| e["detail-type"] == "flow.starting" && e["detail"]["data"]["id"] == id)
        })
        .await;
    let starting = of_flow(&events, &id).pop().unwrap();
    (id, starting["detail"]["data"]["runId"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_large_flow_is_announced_whole_as_long_as_an_entry_has_room_for_it() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    for (bytes, is_whole) in [(300_000, true), (990_000, true), (1_010_000, false)] {
        let mut flow = complete_flow("large");
        flow["graph"]["nodes"][0]["fields"] = json!("x".repeat(bytes));
        let id = api.post("/flows", &token, flow).await.id();
        api.post(&format!("/flows/{id}/start"), &token, Value::Null).await;
        let is_start = |event: &Value| {
            event["detail-type"] == "flow.starting" && event["detail"]["data"]["id"] == id.as_str()
        };
        let events = api.events_until(|events| events.iter().any(is_start)).await;
        let detail = &events.iter().find(|event| is_start(event)).unwrap()["detail"];
        let seen = (detail["data"].get("graph").is_some(), detail.get("dataref").is_none());
        assert_eq!(seen, (is_whole, is_whole), "{bytes}");
    }
}

#[tokio::test]
async fn events_of_the_orchestrator_in_every_form_and_never_late() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let (id, run) = started(&api, &token, "x").await;

    // Of another run, and of none: ignored. The last one is for this run.
    api.deliver(&token, "flow.started", json!({"id": id, "runId": "5ca5c44c187c040010a9bb8b"})).await;
    api.deliver(&token, "flow.stopped", json!({"id": id})).await;
    api.put("flow.started", json!({"id": "5ca5c44c187c040010a9bb8b"})).await;
    api.wait_for_status(&id, &token, "starting").await;
    api.put("flow.started", json!({"headers": {}, "payload": {"id": id, "runId": run}})).await;
    api.wait_for_status(&id, &token, "active").await;

    api.post(&format!("/flows/{id}/stop"), &token, Value::Null).await;
    api.deliver(&token, "flow.started", json!({"id": id})).await;
    api.wait_for_status(&id, &token, "stopping").await;
    api.put("flow.stopped", json!({"specversion": "1.0", "id": "event", "data": {"id": id}})).await;
    api.wait_for_status(&id, &token, "inactive").await;

    // The orchestrator stops by itself, and fails.
    let (other, _) = started(&api, &token, "y").await;
    api.put("flow.started", json!({"id": other})).await;
    api.wait_for_status(&other, &token, "active").await;
    api.put("flow.stopped", json!({"id": other})).await;
    api.wait_for_status(&other, &token, "inactive").await;
    let (failing, run) = started(&api, &token, "z").await;
    api.put("flow.failed", json!({"id": failing, "runId": run, "reason": "no such component"})).await;
    let answer = api.wait_for_status(&failing, &token, "stopping").await;
    assert_eq!(answer.body["data"]["statusReason"], "no such component");
    let count = |events: &[Value], kind: &str| {
        let flows = [&id, &other, &failing].into_iter().flat_map(|id| of_flow(events, id));
        flows.filter(|event| event["detail-type"] == kind).count()
    };
    let events = api
        .events_until(|events| count(events, "flow.starting") >= 3 && count(events, "flow.stopping") >= 2)
        .await;
    assert_eq!((count(&events, "flow.starting"), count(&events, "flow.stopping")), (3, 2));
}

#[tokio::test]
async fn a_run_of_a_flow_that_is_inactive_is_told_to_stop() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let (id, run) = started(&api, &token, "x").await;
    let shown = async || api.get(&format!("/flows/{id}"), &token).await.body["data"]["runId"].clone();
    assert_eq!(shown().await, json!(run));
    api.post(&format!("/flows/{id}/stop"), &token, Value::Null).await;
    api.deliver(&token, "flow.stopped", json!({"id": id, "runId": run})).await;
    assert_eq!(shown().await, Value::Null);

    // Only now the orchestrator hears of the start, which the stop has overtaken.
    let stopping = |events: &[Value]| -> Vec<Value> {
        of_flow(events, &id).into_iter().filter(|event| event["detail-type"] == "flow.stopping").collect()
    };
    for report in ["flow.started", "flow.started", "flow.failed"] {
        api.deliver(&token, report, json!({"id": id, "runId": run})).await;
    }
    let events = api.events_until(|events| stopping(events).len() >= 2).await;
    let told = stopping(&events);
    assert_eq!(told.len(), 2, "once for the stop, and once for the run that came after it");
    let data = &told[1]["detail"]["data"];
    assert_eq!((&data["runId"], &data["status"]), (&json!(run), &json!("inactive")), "{data}");
    assert_eq!(data["graph"]["nodes"][0]["function"], complete_flow("x")["graph"]["nodes"][0]["function"]);
    assert_ne!(told[0]["detail"]["id"], told[1]["detail"]["id"]);

    // A run beside another one is not for the flow to stop: who hears of both cannot take one for the other.
    api.post(&format!("/flows/{id}/start"), &token, Value::Null).await;
    api.deliver(&token, "flow.started", json!({"id": id, "runId": run})).await;
    assert_ne!(shown().await, json!(run));
    let events = api.events_until(|_| true).await;
    assert_eq!(stopping(&events).len(), 2);
    api.wait_for_status(&id, &token, "starting").await;
}

#[tokio::test]
async fn an_owner_that_is_gone_is_gone_from_every_flow() {
    let api = Api::start().await;
    let anna = api.token("anna", "", ALL);
    let bert = api.token("bert", "acme", ALL);
    let admin = api.token("root", "", "all");
    let kind = api.name("kind");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let flows = (0..60).map(|n| {
            let mut flow = complete_flow(&format!("anna {n}"));
            flow["type"] = json!(kind);
            flow
        });
        let flows: Vec<_> = flows.collect();
        let answer = api.post("/flows", &anna, json!(flows)).await;
        let created = answer.body["data"].as_array().unwrap().clone();
        ids.extend(created.iter().map(|flow| flow["id"].as_str().unwrap().to_owned()));
    }
    let mut shared = complete_flow("shared");
    shared["type"] = json!(kind);
    shared["owners"] = json!([{"id": api.name("anna"), "type": "user"}]);
    let shared = api.post("/flows", &bert, shared).await.id();
    let running = &ids[0];
    api.post(&format!("/flows/{running}/start"), &anna, Value::Null).await;
    api.wait_for_status(running, &anna, "active").await;

    api.put("iam.user.deleted", json!({"headers": {}, "payload": {"id": api.name("anna")}})).await;
    let total = |answer: &tests::Answer| answer.body["meta"]["total"].as_u64();
    api.until(|| async {
        let answer = api.get("/flows", &anna).await;
        if total(&answer) == Some(0) { Ok(()) } else { Err(answer.text) }
    })
    .await;
    let orphan = api.wait_for_status(running, &admin, "inactive").await;
    assert_eq!(orphan.body["data"]["owners"], json!([]));
    assert_eq!(orphan.body["data"]["statusReason"], "The last owner of the flow was deleted.");
    let owners = api.get(&format!("/flows/{shared}"), &bert).await.body["data"]["owners"].clone();
    let (bert_id, acme_id) = (api.name("bert"), api.name("acme"));
    assert_eq!(owners, json!([{"id": bert_id, "type": "user"}, {"id": acme_id, "type": "tenant"}]));
    assert_eq!(total(&api.get(&format!("/flows?filter[type]={kind}"), &admin).await), Some(121));

    api.put("iam.tenant.deleted", json!({"id": acme_id})).await;
    api.until(|| async {
        let owners = api.get(&format!("/flows/{shared}"), &admin).await.body["data"]["owners"].clone();
        if owners == json!([{"id": bert_id, "type": "user"}]) { Ok(()) } else { Err(owners.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn an_event_that_says_nothing_blocks_nothing() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let (id, _) = started(&api, &token, "x").await;
    api.put("flow.started", json!({"flow": "none"})).await;
    api.put("flow.started", json!({"id": id})).await;
    api.wait_for_status(&id, &token, "active").await;
}

#[tokio::test]
async fn events_that_anybody_puts_on_the_bus_reach_nobody() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let (id, _) = started(&api, &token, "x").await;
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let secret = api.post("/secrets", &token, secret).await.id();
    for source in ["anything.at.all", "flow-repository"] {
        for name in ["anna", "acme"] {
            for kind in ["iam.user.deleted", "iam.tenant.deleted"] {
                api.put_from(source, kind, json!({"id": api.name(name)})).await;
            }
        }
        for kind in ["flow.failed", "flow.started", "flow.stopped"] {
            api.put_from(source, kind, json!({"id": id})).await;
        }
    }
    // When this has been heeded they would have been.
    api.deliver(&token, "flow.stopped", json!({"id": "5ca5c44c187c040010a9bb8b"})).await;
    let flow = api.wait_for_status(&id, &token, "starting").await;
    assert_eq!(flow.body["data"]["owners"].as_array().unwrap().len(), 2, "{flow:?}");
    let secret = api.get(&format!("/secrets/{secret}"), &token).await;
    assert_eq!(secret.status, 200, "{secret:?}");
}
