//! Creating, reading, changing and deleting flows.

use ::local::Options;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{ALL, Answer, Api, complete_flow};

fn reasons(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"].as_array().unwrap_or_else(|| panic!("{}", answer.text));
    errors.iter().map(|error| error["reason"].as_str().unwrap_or_default()).collect()
}

#[tokio::test]
async fn the_documented_minimal_flow_is_stored_and_warned_of_and_refused_to_start() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let flow = json!({
        "name": "Minimal",
        "description": "Two steps",
        "graph": {
            "nodes": [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}],
            "edges": [{"source": "a", "target": "b"}],
        },
    });
    let created = api.post("/flows", &token, flow.clone()).await;
    assert_eq!(created.status, 201);
    let id = created.id();
    assert_eq!(created.header("location"), format!("/flows/{id}"));
    for member in ["name", "description", "graph"] {
        assert_eq!(created.body["data"][member], flow[member]);
    }
    let warnings = created.body["meta"]["warnings"].as_array().unwrap().clone();
    let seen: Vec<_> =
        warnings.iter().map(|w| (w["reason"].as_str().unwrap(), w["pointer"].as_str().unwrap())).collect();
    assert_eq!(
        seen,
        [
            ("node.function.required", "/graph/nodes/0/function"),
            ("node.componentId.required", "/graph/nodes/0/componentId"),
            ("node.function.required", "/graph/nodes/1/function"),
            ("node.componentId.required", "/graph/nodes/1/componentId"),
        ]
    );

    let refused = api.post(&format!("/flows/{id}/start"), &token, Value::Null).await;
    assert_eq!(refused.status, 422);
    let mut entries = warnings;
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        // What else a warning says: how bad it is, where, and what to do.
        let said = ["severity", "nodeId", "fix"].map(|member| entry.remove(member));
        assert!(said[0] == Some(json!("warning")) && said.iter().all(Option::is_some), "{said:?}");
    }
    assert_eq!(refused.body["errors"], json!(entries));
    assert_eq!(api.get(&format!("/flows/{id}"), &token).await.body["data"]["status"], "inactive");
    let renamed = api.patch(&format!("/flows/{id}"), &token, json!({"name": "Other"})).await;
    assert_eq!((renamed.status, renamed.body["meta"]["warnings"].as_array().unwrap().len()), (200, 4));
}

#[tokio::test]
async fn at_save_upstreams_rules_hold() {
    let settings = vec![("COMPONENT_CHECK".into(), "at-save".into())];
    let api = Api::start_with(Options { settings, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let answer = api.post("/flows", &token, json!({"graph": {"nodes": [{}, {"id": "b"}]}})).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.messages(),
        [
            "Flow nodes require a function.",
            "Flow nodes require a componentId.",
            "Flow nodes require an id.",
            "Flow nodes require a function.",
            "Flow nodes require a componentId.",
            "Flows with more than one node require edges.",
        ]
    );
}

#[tokio::test]
async fn who_does_not_own_a_flow_learns_nothing_of_it() {
    let api = Api::start().await;
    let owner = api.token("anna", "acme", ALL);
    let peer = api.token("bert", "acme", ALL);
    let stranger = api.token("carla", "globex", ALL);
    let admin = api.token("root", "", "all");
    let id = api.post("/flows", &owner, complete_flow("mine")).await.id();
    let missing = "5ca5c44c187c040010a9bb8b";

    for (method, path, body) in [
        ("GET", "", Value::Null),
        ("HEAD", "", Value::Null),
        ("PATCH", "", json!({"name": "stolen"})),
        ("DELETE", "", Value::Null),
        ("POST", "/start", Value::Null),
        ("POST", "/stop", Value::Null),
    ] {
        let foreign = api.send(method, &format!("/flows/{id}{path}"), &stranger, body.clone()).await;
        let absent = api.send(method, &format!("/flows/{missing}{path}"), &stranger, body).await;
        assert_eq!(foreign.status, 404, "{method} {path}");
        assert_eq!(foreign.headers.keys().collect::<Vec<_>>(), absent.headers.keys().collect::<Vec<_>>());
        // The same bytes but for what names the request itself.
        let text = |answer: &tests::Answer, id: &str| {
            answer.text.replace(answer.header("x-request-id"), "").replace(id, "")
        };
        assert_eq!(text(&foreign, &id), text(&absent, missing), "{method} {path}");
    }
    let bulk = api.patch("/flows/bulk", &stranger, json!([{"id": id, "name": "stolen"}])).await;
    assert_eq!(bulk.body["data"][0]["errors"][0]["message"], format!("Flow {id} not found"));
    let many = api.post("/flows/multiple/start", &stranger, json!([id])).await;
    assert_eq!(many.body[0]["errors"][0]["message"], "No flow with this ID found");

    for token in [&owner, &peer, &admin] {
        assert_eq!(api.get(&format!("/flows/{id}"), token).await.body["data"]["name"], "mine");
    }
}

#[tokio::test]
async fn each_route_needs_its_permission() {
    let api = Api::start().await;
    let id = api.post("/flows", &api.token("anna", "acme", ALL), complete_flow("x")).await.id();
    for (method, path, body, needed) in [
        ("GET", "/flows".to_owned(), Value::Null, "flows.read"),
        ("GET", format!("/flows/{id}"), Value::Null, "flows.read"),
        ("POST", "/flows".into(), complete_flow("y"), "flows.write"),
        ("POST", "/flows".into(), json!([complete_flow("y")]), "flows.write,flows.bulk"),
        ("PATCH", format!("/flows/{id}"), json!({}), "flows.write"),
        ("PATCH", "/flows/bulk".into(), json!([]), "flows.bulk"),
        ("POST", format!("/flows/{id}/start"), Value::Null, "flows.control"),
        ("POST", format!("/flows/{id}/stop"), Value::Null, "flows.control"),
        ("POST", "/flows/multiple/start".into(), json!([]), "flows.control"),
        ("POST", "/flows/multiple/stop".into(), json!([]), "flows.control"),
        ("DELETE", "/flows/5ca5c44c187c040010a9bb8b".into(), Value::Null, "flows.write"),
    ] {
        let has = async |permissions: &str| {
            api.send(method, &path, &api.token("anna", "acme", permissions), body.clone()).await
        };
        let needed: Vec<_> = needed.split(',').collect();
        for lacking in &needed {
            let others: Vec<_> =
                ALL.split(',').chain(["tenant.all", "flows.*", "ALL"]).filter(|p| p != lacking).collect();
            let answer = has(&others.join(",")).await;
            assert_eq!(
                (answer.status, answer.messages().len()),
                (403, 1),
                "{method} {path} without {lacking}"
            );
        }
        assert_ne!(has(&needed.join(",")).await.status, 403, "{method} {path}");
        assert_ne!(has("all").await.status, 403, "{method} {path} as administrator");
    }
}

#[tokio::test]
async fn concurrent_changes_of_different_fields_all_stay() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("0")).await.id();
    let path = format!("/flows/{id}");
    for round in 0..100 {
        let name = api.patch(&path, &token, json!({"name": format!("name {round}")}));
        let description = api.patch(&path, &token, json!({"description": format!("description {round}")}));
        let answers = join_all([name, description]).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        let flow = api.get(&path, &token).await.body;
        assert_eq!(flow["data"]["name"], format!("name {round}"));
        assert_eq!(flow["data"]["description"], format!("description {round}"));
    }
}

#[tokio::test]
async fn a_flow_that_runs_is_neither_changed_nor_deleted() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    let path = format!("/flows/{id}");
    api.post(&format!("{path}/start"), &token, Value::Null).await;
    for answer in [
        api.patch(&path, &token, json!({"name": "y", "status": "inactive"})).await,
        api.delete(&path, &token).await,
    ] {
        assert_eq!(answer.status, 409);
        assert_eq!(answer.messages(), ["Flow is not inactive. Current status: starting"]);
    }
    let bulk = api.patch("/flows/bulk", &token, json!([{"id": id, "name": "y", "status": "inactive"}])).await;
    let expected = format!("Flow {id} is not inactive. Current status: starting");
    assert_eq!(bulk.body["data"][0]["errors"][0]["message"], expected);
    assert_eq!(api.get(&path, &token).await.body["data"]["name"], "x");
}

#[tokio::test]
async fn a_body_names_no_other_flow_and_sets_nothing_read_only() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let other = api.post("/flows", &token, complete_flow("other")).await.id();
    let mut flow = complete_flow("mine");
    for (member, value) in [
        ("id", json!(other)),
        ("_id", json!(other)),
        ("createdAt", json!("2000-01-01T00:00:00.000Z")),
        ("tenant", json!("globex")),
        ("foo", json!(1)),
    ] {
        flow[member] = value;
    }
    let created = api.post("/flows", &token, flow.clone()).await;
    let id = created.id();
    assert_ne!(id, other);
    assert_eq!(created.body["data"]["tenant"], api.name("acme"));
    assert_eq!(created.body["data"].get("foo"), None);
    assert!(created.body["data"]["createdAt"].as_str().unwrap() > "2020");

    flow["name"] = json!("changed");
    let changed = api.patch(&format!("/flows/{id}"), &token, flow).await;
    assert_eq!((changed.status, changed.id()), (200, id));
    assert_eq!(changed.body["data"]["createdAt"], created.body["data"]["createdAt"]);
    assert_eq!(api.get(&format!("/flows/{other}"), &token).await.body["data"]["name"], "other");
}

#[tokio::test]
async fn what_get_gave_can_be_sent_back() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    let path = format!("/flows/{id}");
    let first = api.get(&path, &token).await;
    let second = api.patch(&path, &token, first.body["data"].clone()).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert_eq!(second.header("etag"), first.header("etag"));
}

#[tokio::test]
async fn the_first_part_of_an_entity_tag_is_of_the_document_and_all_of_it_of_the_run_too() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let created = api.post("/flows", &token, complete_flow("x")).await;
    let path = format!("/flows/{}", created.id());
    let tag = created.header("etag").to_owned();
    assert!(tag.starts_with("\"1-") && tag.ends_with('"'), "{tag}");
    let cached = api.send_raw("GET", &path, &token, &[("if-none-match", &tag)], "").await;
    assert_eq!((cached.status, cached.text.as_str(), cached.header("etag")), (304, "", tag.as_str()));
    api.post(&format!("{path}/start"), &token, Value::Null).await;
    let started = api.send_raw("GET", &path, &token, &[("if-none-match", &tag)], "").await;
    assert_eq!((started.status, &started.body["data"]["status"]), (200, &json!("starting")));
    let definition = |tag: &str| tag.split('.').next().map(ToOwned::to_owned);
    assert_eq!(definition(started.header("etag")), definition(&tag));
    assert_ne!(started.header("etag"), tag);
}

#[tokio::test]
async fn many_are_created_one_by_one() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let mixed = api
        .post(
            "/flows",
            &token,
            json!([complete_flow("1"), {"name": "bad"}, null, {"graph": {"nodes": [{"id": "a"}]}}]),
        )
        .await;
    assert_eq!(mixed.status, 201);
    let data = mixed.body["data"].as_array().unwrap();
    assert_eq!(data[0]["name"], "1");
    assert_eq!(data[1]["errors"][0]["message"], "Flows require a graph.");
    assert_eq!(data[2]["errors"][0]["code"], 400);
    assert_eq!(data[3]["status"], "inactive");
    assert_eq!(mixed.body["meta"]["warnings"][0]["pointer"], "/3/graph/nodes/0/function");

    let none = api.post("/flows", &token, json!([{"name": "bad"}])).await;
    assert_eq!((none.status, none.body["data"][0]["errors"][0]["code"].as_u64()), (400, Some(400)));
    let too_many = api.post("/flows", &token, Value::Array(vec![complete_flow("x"); 101])).await;
    assert_eq!(too_many.status, 400);
    assert_eq!(api.get("/flows", &token).await.body["meta"]["total"], 2);
}

#[tokio::test]
async fn many_are_changed_one_by_one_in_order() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    let body = json!([{"id": id, "name": "first"}, {"name": "nobody"}, {"id": "zz"}, {"id": 5}, 7, {"id": id, "cron": "zz"}, {"id": id, "name": "last"}]);
    let answer = api.patch("/flows/bulk", &token, body).await;
    assert_eq!(answer.status, 200);
    let message =
        |index: usize| answer.body["data"][index]["errors"][0]["message"].as_str().unwrap_or("none");
    assert_eq!(answer.body["data"].as_array().unwrap().len(), 7);
    assert_eq!(answer.body["data"][0]["name"], "first");
    assert_eq!(message(1), "Invalid id");
    assert_eq!(message(2), "Flow zz not found");
    assert_eq!(message(3), "Flow 5 not found");
    assert_eq!(message(4), "Expecting an object");
    assert_eq!(message(5), "Invalid cron expression.");
    assert_eq!(answer.body["data"][6]["name"], "last");
}

#[tokio::test]
async fn many_are_started_and_stopped_one_by_one() {
    let api = Api::start_with(Options { orchestrator: false, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    let lacking = api.post("/flows", &token, json!({"graph": {"nodes": [{"id": "a"}]}})).await.id();
    let missing = "5ca5c44c187c040010a9bb8b";
    let started = api.post("/flows/multiple/start", &token, json!([id, "xx", missing, lacking, 5, id])).await;
    assert_eq!(started.status, 200);
    let results = started.body.as_array().unwrap();
    assert_eq!(results[0], json!({"data": {"id": id, "status": "starting"}, "meta": {}}));
    assert_eq!(
        (&results[1]["errors"][0]["message"], &results[1]["errors"][0]["flowId"]),
        (&json!("Invalid id"), &json!("xx"))
    );
    assert_eq!(
        (&results[2]["errors"][0]["code"], &results[2]["errors"][0]["flowId"]),
        (&json!(404), &json!(missing))
    );
    assert_eq!(results[3]["errors"].as_array().unwrap().len(), 2);
    assert_eq!(results[3]["errors"][0]["code"], 422);
    assert_eq!(results[4]["errors"][0]["message"], "Invalid id");
    assert_eq!(results[5]["data"]["status"], "starting");

    let stopped = api.post("/flows/multiple/stop", &token, json!([id, lacking])).await;
    assert_eq!(
        (&stopped.body[0]["data"]["status"], &stopped.body[1]["data"]["status"]),
        (&json!("stopping"), &json!("inactive"))
    );
    let again = api.post("/flows/multiple/start", &token, json!([id])).await;
    assert_eq!(
        (&again.body[0]["errors"][0]["message"], &again.body[0]["errors"][0]["code"]),
        (&json!("Flow is stopping"), &json!(409))
    );
    assert_eq!(
        api.post("/flows/multiple/start", &token, json!({"a": 1})).await.messages(),
        ["No flow ids given. Expecting an array of flow ids"]
    );
}

#[tokio::test]
async fn a_large_flow_is_kept_whole_or_refused() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let mut flow = complete_flow("large");
    flow["flowSettings"] = json!("a fairly compressible text. ".repeat(37_000));
    let created = api.post("/flows", &token, flow.clone()).await;
    assert_eq!(created.status, 201);
    assert_eq!(
        api.get(&format!("/flows/{}", created.id()), &token).await.body["data"]["flowSettings"],
        flow["flowSettings"]
    );

    // More than a body may have, and more than an item can hold.
    flow["flowSettings"] = json!("x".repeat(1024 * 1024));
    let mut seed = 1_u64;
    let random: String = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_u32(u32::try_from(33 + (seed >> 33) % 90).unwrap()).unwrap()
    })
    .filter(|c| !matches!(c, '"' | '\\'))
    .take(900_000)
    .collect();
    let mut noisy = complete_flow("noise");
    noisy["flowSettings"] = json!(random);
    for body in [flow, noisy] {
        let answer = api.post("/flows", &token, body).await;
        assert_eq!((answer.status, answer.messages()), (413, vec!["request entity too large"]));
    }
}

#[tokio::test]
async fn values_come_back_byte_for_byte() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let json = ("content-type", "application/json");
    let sent = r#""fields":{"z":1.0,"a":12345678901234567890123,"b":{"y":[ 1,2 ],"$set":null}}"#;
    let bert = api.name("bert");
    let flow = format!(
        r#"{{"name":"x","graph":{{"nodes":[{{"id":"a",{sent}}}]}},"owners":[{{"id":"{bert}","type":"user"}}]}}"#
    );
    let created = api.send_raw("POST", "/flows", &token, &[json], flow.clone()).await;
    assert_eq!(created.status, 201);
    let id = created.id();
    let many = api.send_raw("POST", "/flows", &token, &[json], format!("[{flow}]")).await;
    let patched = api.patch(&format!("/flows/{id}"), &token, json!({"name": "y"})).await;
    let bulk = api.patch("/flows/bulk", &token, json!([{"id": id, "name": "z"}])).await;
    let got = api.get(&format!("/flows/{id}"), &token).await;
    let listed = api.get("/flows", &token).await;
    for answer in [created, many, patched, bulk, got, listed] {
        assert!(answer.text.contains(sent), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_flow_is_patched_in_the_language_that_the_client_speaks() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let mut flow = complete_flow("x");
    flow["graph"]["nodes"][0]["fields"] = json!({"a": 1, "b": 2});
    let path = format!("/flows/{}", api.post("/flows", &token, flow).await.id());
    let send = async |media: &str, body: Value| {
        api.send_raw("PATCH", &path, &token, &[("content-type", media)], body.to_string()).await
    };
    let merge = "application/merge-patch+json; charset=utf-8";
    let merged = send(merge, json!({"name": "y", "type": null})).await;
    assert_eq!(
        (merged.status, &merged.body["data"]["name"], merged.body["data"].get("type")),
        (200, &json!("y"), None)
    );
    assert_eq!(merged.body["data"]["graph"]["nodes"][0]["fields"], json!({"a": 1, "b": 2}));
    let operations = json!([
        {"op": "test", "path": "/name", "value": "y"},
        {"op": "remove", "path": "/graph/nodes/0/fields/a"},
        {"op": "add", "path": "/graph/nodes/0/fields/c", "value": 3},
    ]);
    let operated = send("application/json-patch+json", operations.clone()).await;
    assert_eq!(operated.status, 200, "{operated:?}");
    assert_eq!(operated.body["data"]["graph"]["nodes"][0]["fields"], json!({"b": 2, "c": 3}));
    let again = send("application/json-patch+json", operations).await;
    assert_eq!((again.status, &again.body["type"]), (409, &json!("/problems/patch-not-applicable")));
    let languages = "application/json, application/merge-patch+json, application/json-patch+json";
    assert_eq!(operated.header("accept-patch"), languages);
    let other = send("application/vnd.acme+json", json!({"name": "z"})).await;
    assert_eq!((other.status, other.header("accept-patch")), (415, languages));
    for (media, body) in [
        (merge, json!([])),
        ("application/json-patch+json", json!({"op": "add"})),
        ("application/json-patch+json", json!([{"op": "conjure", "path": "/name"}])),
        (merge, json!({"graph": null})),
    ] {
        assert_eq!(send(media, body.clone()).await.status, 400, "{media} {body}");
    }
    // Read as members, a patch would do something else than it says.
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let secret = format!("/secrets/{}", api.post("/secrets", &token, secret).await.id());
    for path in ["/flows/bulk", &secret] {
        for media in [merge, "application/json-patch+json"] {
            let header = ("content-type", media);
            assert_eq!(
                api.send_raw("PATCH", path, &token, &[header], "{}").await.status,
                415,
                "{path} {media}"
            );
        }
    }
    // What was shown is what is put together: read-only members stay as they are.
    let whole = api.get(&path, &token).await.body["data"].clone();
    assert_eq!(send(merge, whole.clone()).await.body["data"], whole);
}

#[tokio::test]
async fn a_rule_can_be_made_an_error_or_turned_off() {
    let levels = "graph.cycle=error,graph.no_start=off,edge.self=off";
    let options = Options { settings: vec![("RULE_LEVELS".into(), levels.into())], ..Options::default() };
    let api = Api::start_local(options).await;
    let token = api.token("anna", "acme", ALL);
    let node = |id: &str| json!({"id": id, "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"});
    let flow = |edges: Value| json!({"graph": {"nodes": [node("a"), node("b")], "edges": edges}});
    let edge = |source: &str, target: &str| json!({"source": source, "target": target});
    let good = flow(json!([edge("a", "b"), edge("b", "b")]));
    let cycle = flow(json!([edge("a", "b"), edge("b", "a")]));

    let created = api.post("/flows", &token, good.clone()).await;
    assert_eq!((created.status, &created.body["meta"]), (201, &json!({})), "nothing is said of edge.self");
    let path = format!("/flows/{}", created.id());
    let operations = json!([{"op": "replace", "path": "/graph", "value": cycle["graph"]}]);
    let mut item = cycle.clone();
    item["id"] = json!(created.id());
    let (json, merge, operated) =
        ("application/json", "application/merge-patch+json", "application/json-patch+json");
    for (method, path, media, body) in [
        ("POST", "/flows", json, &cycle),
        ("POST", "/flows?validateOnly=true", json, &cycle),
        ("POST", "/flows", json, &json!([cycle])),
        ("PUT", &*path, json, &cycle),
        ("PATCH", &*path, json, &cycle),
        ("PATCH", &*path, merge, &cycle),
        ("PATCH", &*path, operated, &operations),
    ] {
        let refused = api.send_raw(method, path, &token, &[("content-type", media)], body.to_string()).await;
        assert_eq!(refused.status, 400, "{method} {path} {media}");
        assert!(refused.text.contains(r#""reason":"graph.cycle""#), "{method} {path} {media}: {refused:?}");
    }
    let bulk = api.patch("/flows/bulk", &token, json!([item])).await;
    assert_eq!(bulk.body["data"][0]["errors"][0]["reason"], "graph.cycle", "{bulk:?}");
    assert_eq!(api.get(&path, &token).await.body["data"]["graph"], good["graph"]);
}

#[tokio::test]
async fn changes_need_a_condition_where_that_is_the_rule() {
    let strict = Options { settings: vec![("REQUIRE_IF_MATCH".into(), "true".into())], ..Options::default() };
    let api = Api::start_local(strict).await;
    let token = api.token("anna", "acme", ALL);
    let created = api.post("/flows", &token, complete_flow("x")).await;
    let path = format!("/flows/{}", created.id());
    for method in ["PATCH", "DELETE"] {
        let refused = api.send(method, &path, &token, json!({"name": "y"})).await;
        assert_eq!(
            (refused.status, &refused.body["type"]),
            (428, &json!("/problems/if-match-required")),
            "{method}"
        );
    }
    let tag = [("if-match", created.header("etag")), ("content-type", "application/json")];
    assert_eq!(api.send_raw("PATCH", &path, &token, &tag, r#"{"name":"y"}"#).await.status, 200);
    assert_eq!(api.send_raw("DELETE", &path, &token, &tag, "").await.status, 412);
    assert_eq!(api.send_raw("DELETE", &path, &token, &[("if-match", "*")], "").await.status, 200);
}

#[tokio::test]
async fn all_owners_and_all_secrets_of_a_flow_can_be_replaced_at_once() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
    let with = async |mark: &str| {
        let mut nodes = Vec::new();
        for n in 0..16 {
            let id = api.post("/secrets", &token, secret.clone()).await.id();
            nodes.push(json!({"id": format!("node {n}"), "credentials_id": id}));
        }
        let owners: Vec<_> = (0..18).map(|n| json!({"id": format!("{mark}{n}"), "type": "user"})).collect();
        let edges = json!([{"source": "node 0", "target": "node 1"}]);
        json!({"graph": {"nodes": nodes, "edges": edges}, "owners": owners})
    };
    let created = api.post("/flows", &token, with("x").await).await;
    assert_eq!(created.status, 201, "{created:?}");
    let changed = api.patch(&format!("/flows/{}", created.id()), &token, with("y").await).await;
    assert_eq!(changed.status, 200, "{changed:?}");
}

#[tokio::test]
async fn many_owners_with_long_names_fit_or_are_refused() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let owners = |character: &str, count: usize| -> Vec<Value> {
        (0..count)
            .map(|n| json!({"id": format!("{n:02}{}", character.repeat(254)), "type": "user"}))
            .collect()
    };
    let mut flow = complete_flow(&"𝕏".repeat(256));
    flow["description"] = json!("𝕏".repeat(4096));
    flow["owners"] = json!(owners("x", 18));
    let id = api.post("/flows", &token, flow.clone()).await.id();
    let others = api.patch(&format!("/flows/{id}"), &token, json!({"owners": owners("y", 18)})).await;
    assert_eq!(others.status, 200, "{}", others.text);
    flow["owners"] = json!(owners("𝕏", 18));
    assert_eq!(api.post("/flows", &token, flow.clone()).await.status, 201);
    flow["owners"] = json!(owners("x", 1000));
    let refused = api.post("/flows", &token, flow).await;
    assert_eq!((refused.status, refused.messages()), (400, vec!["Flows can have at most 20 owners."]));
}

#[tokio::test]
async fn a_refusal_of_a_write_has_the_rules_that_are_errors_here_beside_what_is_no_flow() {
    let settings = [("RULE_LEVELS", "edge.self=error"), ("CREDENTIAL_CHECK", "refuse")];
    let settings = settings.map(|(name, value)| (name.into(), value.into())).into();
    let api = Api::start_local(Options { settings, ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    let path = format!("/flows/{id}");
    let fields = json!({"password": "hunter2"});
    let graph = json!({
        "nodes": [{"id": "a", "fields": fields}, {"id": "b"}],
        "edges": [{"source": "a", "target": "a"}, {"source": "a", "target": "nobody"}],
    });
    let wrong = ["edge.target.unknown", "node.fields.credential", "edge.self"];
    for (method, path, media_type) in [
        ("POST", "/flows", "application/json"),
        ("POST", "/flows?validateOnly=true", "application/json"),
        ("PUT", path.as_str(), "application/json"),
        ("PATCH", path.as_str(), "application/json"),
        ("PATCH", path.as_str(), "application/merge-patch+json"),
    ] {
        let body = json!({"graph": graph}).to_string();
        let answer = api.send_raw(method, path, &token, &[("content-type", media_type)], body).await;
        assert_eq!((answer.status, reasons(&answer).as_slice()), (400, &wrong[..]), "{method} {media_type}");
    }
    let bulk = api.send("PATCH", "/flows/bulk", &token, json!([{"id": id, "graph": graph}])).await;
    assert_eq!(bulk.body["data"][0]["errors"].as_array().map(Vec::len), Some(wrong.len()), "{}", bulk.text);

    // Literal credentials alone have a status of their own, and beside another error they are one of them.
    let leaky = json!({"graph": {"nodes": [{"id": "a", "fields": fields}]}});
    assert_eq!(api.post("/flows", &token, leaky.clone()).await.status, 422);
    let mut looped = leaky;
    looped["graph"]["edges"] = json!([{"source": "a", "target": "a"}]);
    let refused = api.post("/flows", &token, looped).await;
    assert_eq!((refused.status, reasons(&refused)), (400, vec!["node.fields.credential", "edge.self"]));
}

#[tokio::test]
async fn a_cron_expression_is_refused_with_what_is_wrong_and_what_to_write_instead() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let mut flow = complete_flow("x");
    for (cron, detail, fix) in [
        ("0/15 * * * *", "Minute `0/15`: ", "Write `*/15 * * * *` or `0-59/15 * * * *`."),
        ("@daily", "", "Write `0 0 * * *`."),
        ("0 0 12 1 1 ? 2020", "7 fields", "Write `0 0 12 1 1 ?`: there is no field for the year."),
        ("0 6 * * FRI-MON", "Day of the week `FRI-MON`: ", "Write `0 6 * * SUN-MON,FRI-SAT`."),
        ("0 25 * * *", "Hour `25`: ", "Take values from 0 to 23."),
    ] {
        flow["cron"] = json!(cron);
        let refused = api.post("/flows", &token, flow.clone()).await;
        let error = &refused.body["errors"][0];
        // Upstream's clients know the message.
        assert_eq!((refused.status, &error["message"]), (400, &json!("Invalid cron expression.")), "{cron}");
        assert!(error["detail"].as_str().unwrap_or_default().contains(detail), "{cron}: {error}");
        assert_eq!(error["fix"], fix, "{cron}");
        let told = api.post("/flows/validate", &token, flow.clone()).await;
        let told = &told.body["data"]["diagnostics"][0];
        assert_eq!([&told["detail"], &told["fix"]], [&error["detail"], &error["fix"]], "{cron}");
    }
    // What another scheduler reads otherwise is stored, and told.
    flow["cron"] = json!("0 22-23,0-6 * * *");
    let stored = api.post("/flows", &token, flow).await;
    let warning = &stored.body["meta"]["warnings"][0];
    assert_eq!((stored.status, &warning["reason"]), (201, &json!("flow.cron.portable")), "{}", stored.text);
    assert_eq!(warning["fix"], "Write `0 0-6,22-23 * * *`.");
}

#[tokio::test]
async fn how_bad_an_unknown_member_is_can_be_set() {
    for (level, status, said) in [("off", 201, false), ("warning", 201, true), ("error", 400, true)] {
        let settings = vec![("RULE_LEVELS".into(), format!("member.unknown={level}"))];
        let api = Api::start_local(Options { settings, ..Options::default() }).await;
        let token = api.token("anna", "acme", ALL);
        let mut flow = complete_flow("x");
        flow["graph"]["nodes"][0]["command"] = json!("x");
        let created = api.post("/flows", &token, flow.clone()).await;
        let names_it =
            |text: &str| text.contains(r#""pointer":"/graph/nodes/0/command","reason":"member.unknown""#);
        assert_eq!((created.status, names_it(&created.text)), (status, said), "{level}: {created:?}");
        let validated = api.post("/flows/validate", &token, flow.clone()).await;
        assert_eq!(validated.text.contains("member.unknown"), said, "{level}: {validated:?}");
        assert_eq!(validated.body["data"]["valid"], status == 201);
        // For one request it is an error, whatever the level.
        let strict = api.post("/flows?strict=true", &token, flow).await;
        assert_eq!((strict.status, names_it(&strict.text)), (400, true), "{level}: {strict:?}");
    }
}
