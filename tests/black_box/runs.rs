//! Starting and stopping.

use ::local::Options;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{ALL, Api, complete_flow, of_flow};

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

    let steps = ["flowrepo.flow.created", "flow.starting", "flow.stopping", "flowrepo.flow.deleted"];
    let reports = ["flow.started", "flow.stopped"];
    let events = api
        .events_until(|events| steps.iter().chain(&reports).all(|step| types(events).contains(step)))
        .await;
    let ours = of_flow(&events, &id);
    assert_eq!(types(&ours), steps);
    let starting = &ours[1]["detail"];
    assert_eq!(starting["specversion"], "1.0");
    assert_eq!(starting["subject"], format!("flows/{id}"));
    assert_eq!(starting["data"]["startedBy"], api.name("anna"));
    let run = &starting["data"]["runId"];
    assert_eq!(&ours[2]["detail"]["data"]["runId"], run);
    let caller = json!({"tenant": api.name("acme"), "user": api.name("anna"), "flowId": id});
    assert_eq!(ours[3]["detail"]["data"], caller);
    for report in reports {
        let said: Vec<_> = events.iter().filter(|event| event["detail-type"] == report).collect();
        assert_eq!((said.len(), &said[0]["detail"]), (1, &json!({"id": id, "runId": run})), "{report}");
    }
}

#[tokio::test]
async fn ten_parallel_starts_are_one_start() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("hot")).await.id();
    let path = format!("/flows/{id}/start");
    let answers = join_all((0..10).map(|_| api.post(&path, &token, Value::Null))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body["data"]["status"] == "starting"));
    // A later change marks the end.
    api.post(&format!("/flows/{id}/stop"), &token, Value::Null).await;
    let steps = ["flowrepo.flow.created", "flow.starting", "flow.stopping"];
    let events = api.events_until(|events| steps.iter().all(|step| types(events).contains(step))).await;
    assert_eq!(types(&of_flow(&events, &id)), steps);
}
