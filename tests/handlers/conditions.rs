//! Two who change the same flow.

use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::stack::Stack;

/// The content of one round of a writer.
fn body(writer: usize, round: usize) -> Value {
    json!({"description": format!("{round} by {writer}")})
}

#[tokio::test]
async fn of_two_writers_at_once_one_wins_and_the_other_is_told_a_thousand_times() {
    let stack = Stack::start().await;
    let writers = [stack.token("anna", "acme", ALL), stack.token("bert", "acme", ALL)];
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &writers[0], complete_flow("x")).await;
    let id = flow["data"]["id"].as_str().unwrap().to_owned();
    let (_, _, headers) =
        stack.request_if("get-flow", "GET /flows/{id}", &id, &writers[0], "", Value::Null).await;
    let (mut tag, mut base) = (headers["etag"].clone(), flow["data"].clone());
    for round in 0..1000 {
        let known = tag.as_str().unwrap();
        let change = |writer: usize| {
            stack.request_if(
                "update-flow",
                "PATCH /flows/{id}",
                &id,
                &writers[writer],
                known,
                body(writer, round),
            )
        };
        let answers = if round % 2 == 0 {
            let (first, second) = tokio::join!(change(0), change(1));
            [first, second]
        } else {
            let (second, first) = tokio::join!(change(1), change(0));
            [first, second]
        };
        let winner = answers.iter().position(|(status, ..)| *status == 200).unwrap();
        let (loser, current) = (&answers[1 - winner], &answers[winner].2["etag"]);
        assert_eq!(loser.0, 412, "{answers:?}");
        assert_eq!(&loser.2["etag"], current, "told what is there now");
        let told = &loser.1["errors"][0];
        let user = ["anna", "bert"][winner];
        assert_eq!(
            (&told["etag"], &told["changedBy"], told["reason"].as_str()),
            (current, &json!(user), Some("flow.changed"))
        );
        assert_eq!(told["changedAt"], answers[winner].1["data"]["updatedAt"]);
        // And what has changed, in a form that makes the loser's state the new one.
        let patch: json_patch::Patch = serde_json::from_value(told["diff"]["patch"].clone()).unwrap();
        json_patch::patch(&mut base, &patch).unwrap();
        base["updatedAt"] = answers[winner].1["data"]["updatedAt"].clone();
        assert_eq!(base, answers[winner].1["data"]);
        // Nothing of the loser got in between.
        let (_, now) = stack.request("get-flow", "GET /flows/{id}", &id, &writers[0], Value::Null).await;
        assert_eq!(now["data"]["description"], body(winner, round)["description"]);
        tag = current.clone();
    }
}

#[tokio::test]
async fn a_condition_is_not_for_what_is_in_effect_and_a_run_is_none_of_it() {
    let stack = Stack::start().await;
    let (anna, eve) = (stack.token("anna", "acme", ALL), stack.token("eve", "globex", ALL));
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    let id = flow["data"]["id"].as_str().unwrap().to_owned();
    let patch = async |token: &str, tag: &str, body: Value| {
        stack.request_if("update-flow", "PATCH /flows/{id}", &id, token, tag, body).await
    };
    let delete = async |tag: &str| {
        stack.request_if("delete-flow", "DELETE /flows/{id}", &id, &anna, tag, Value::Null).await
    };
    let first = patch(&anna, "*", json!({"name": "y"})).await.2["etag"].as_str().unwrap().to_owned();
    let second = patch(&anna, &format!("\"0-x\", {first}"), json!({"name": "z"})).await;
    assert_eq!(second.0, 200, "one of several");
    let tag = second.2["etag"].as_str().unwrap();
    for (status, token, body) in [
        (412, &anna, json!({"name": "w"})),
        (404, &eve, json!({"name": "w"})),
        (412, &anna, json!({"graph": {}})),
        (200, &anna, json!({"name": "z"})),
    ] {
        assert_eq!(patch(token, &first, body.clone()).await.0, status, "{body}");
    }
    assert_eq!(patch(&anna, &format!("W/{tag}"), json!({"name": "w"})).await.0, 412, "a weak tag");
    assert_eq!(delete(&first).await.0, 412);
    // A run changes nothing that an editor holds.
    stack.request("start-flow", "POST /flows/{id}/start", &id, &anna, Value::Null).await;
    assert_eq!((patch(&anna, tag, json!({"name": "w"})).await.0, delete(tag).await.0), (409, 409));
    stack.deliver("on-flow-status", "flow.started", json!({"id": id})).await.unwrap();
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();
    let third = patch(&anna, tag, json!({"name": "w"})).await;
    assert_eq!(third.0, 200);
    assert_eq!(delete(third.2["etag"].as_str().unwrap()).await.0, 200);
}
