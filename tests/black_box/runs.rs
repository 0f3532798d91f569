//! Starting and stopping.

use ::local::Options;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{ALL, Api, complete_flow};

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["detail-type"].as_str()).collect()
}

#[tokio::test]
async fn a_flow_goes_round_and_each_step_is_announced_once() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("round")).await.id();

    let started = api.post(&format!("/flows/{id}/start"), &token, Value::Null).await;
    assert_eq!(
        (started.status, &started.body),
        (200, &json!({"data": {"id": id, "status": "starting"}, "meta": {}}))
    );
    api.wait_for_status(&id, &token, "active").await;
    let stopped = api.post(&format!("/flows/{id}/stop"), &token, Value::Null).await;
    assert_eq!(
        (stopped.status, &stopped.body),
        (200, &json!({"data": {"id": id, "status": "stopping"}, "meta": {}}))
    );
    api.wait_for_status(&id, &token, "inactive").await;
    assert_eq!(api.delete(&format!("/flows/{id}"), &token).await.status, 200);

    let events = api.events_until(|events| types(events).contains(&"flowrepo.flow.deleted")).await;
    let mine: Vec<_> = events.iter().filter(|event| event.to_string().contains(&id)).cloned().collect();
    assert_eq!(
        types(&mine),
        [
            "flowrepo.flow.created",
            "flow.starting",
            "flow.started",
            "flow.stopping",
            "flow.stopped",
            "flowrepo.flow.deleted"
        ]
    );
    let starting = &mine[1]["detail"];
    assert_eq!(starting["specversion"], "1.0");
    assert_eq!(starting["subject"], format!("flows/{id}"));
    assert_eq!(starting["data"]["startedBy"], "anna");
    assert_eq!(starting["data"]["runId"], mine[3]["detail"]["data"]["runId"]);
    assert_eq!(mine[5]["detail"]["data"], json!({"tenant": "acme", "user": "anna", "flowId": id}));
}

#[tokio::test]
async fn ten_parallel_starts_are_one_start() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("hot")).await.id();
    let path = format!("/flows/{id}/start");
    let answers = join_all((0..10).map(|_| api.post(&path, &token, Value::Null))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body["data"]["status"] == "starting"));
    // A later change marks the end: events of one flow come in order.
    api.post(&format!("/flows/{id}/stop"), &token, Value::Null).await;
    let events = api.events_until(|events| types(events).contains(&"flow.stopping")).await;
    assert_eq!(types(&events), ["flowrepo.flow.created", "flow.starting", "flow.stopping"]);
}
