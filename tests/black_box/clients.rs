//! What clients of the Open Integration Hub's services send, as they were seen to send it.

use ::local::Options;
use serde_json::{Value, json};
use tests::{ALL, Answer, Api, complete_flow, other_dynamodb};

const READER: &str = "secrets.secret.readRaw";
const JSON: (&str, &str) = ("content-type", "application/json");
const COMPONENT: &str = "5ca5c44c187c040010a9bb8b";

fn key(name: &str) -> Value {
    json!({"name": name, "type": "API_KEY", "value": {"key": "shop-key-51cdef"}})
}

/// A flow of one node that can be started, with more in the node.
fn flow_of(node: &Value) -> Value {
    let mut all = json!({"id": "a", "componentId": COMPONENT, "function": "f"});
    all.as_object_mut().unwrap().extend(node.as_object().unwrap().clone());
    json!({"name": "n", "graph": {"nodes": [all]}})
}

fn without_orchestrator() -> Options {
    Options { orchestrator: false, ..Options::default() }
}

/// An entry of `errors`: its reason, its pointer and its code.
fn told(entry: &Value) -> (&str, &str, u64) {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    (text("reason"), text("pointer"), entry["code"].as_u64().unwrap_or_default())
}

#[tokio::test]
async fn an_editor_renames_a_flow_whose_secret_is_somebody_elses() {
    let api = Api::start().await;
    let (anna, bert) = (api.token("anna", "acme", ALL), api.token("bert", "acme", ALL));
    let secret = api.post("/secrets", &anna, key("Shop")).await.id();
    // As anna wrote it, with blanks that a program that reads and writes JSON drops.
    let sent = format!(
        r#"{{"name": "n", "graph": {{"nodes": [{{"id": "a", "componentId": "{COMPONENT}", "function": "f",
        "credentials_id": "{secret}", "fields":{{"limit": 10}}}}]}}}}"#
    );
    let id = api.send_raw("POST", "/flows", &anna, &[JSON], sent).await.id();
    let path = format!("/flows/{id}");
    for way in ["PATCH", "PUT", "bulk"] {
        let mut flow = api.get(&path, &bert).await.body["data"].take();
        flow["name"] = way.into();
        let answer = match way {
            "bulk" => api.patch("/flows/bulk", &bert, json!([flow])).await,
            method => api.send(method, &path, &bert, flow).await,
        };
        assert_eq!(answer.status, 200, "{way}: {answer:?}");
        assert_eq!(api.get(&path, &bert).await.body["data"]["name"], way);
    }
    let back = api.post(&format!("{path}/versions/1/restore"), &bert, Value::Null).await;
    assert_eq!((back.status, &back.body["data"]["name"]), (200, &json!("n")), "{back:?}");
    // What he changes of the node itself he answers for.
    let mut flow = back.body["data"].clone();
    flow["graph"]["nodes"][0]["fields"]["limit"] = 11.into();
    let refused = api.patch(&path, &bert, flow).await;
    assert_eq!(told(&refused.body["errors"][0]).0, "node.credentials.unknown", "{refused:?}");
}

#[tokio::test]
async fn what_get_gave_is_no_change_while_the_flow_runs() {
    let api = Api::start_with(without_orchestrator()).await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    let path = format!("/flows/{id}");
    for status in ["starting", "active", "stopping"] {
        match status {
            "starting" => drop(api.post(&format!("{path}/start"), &token, Value::Null).await),
            "active" => api.deliver(&token, "flow.started", json!({"id": id})).await,
            _ => drop(api.post(&format!("{path}/stop"), &token, Value::Null).await),
        }
        let shown = api.get(&path, &token).await;
        assert_eq!(shown.body["data"]["status"], status);
        let body = shown.body["data"].to_string();
        for (method, path, media, body) in [
            ("PATCH", &*path, JSON.1, body.clone()),
            ("PATCH", &*path, "application/merge-patch+json", body.clone()),
            ("PUT", &*path, JSON.1, body.clone()),
            ("PATCH", "/flows/bulk", JSON.1, format!("[{body}]")),
        ] {
            let answer = api.send_raw(method, path, &token, &[("content-type", media)], body).await;
            let data = if path == "/flows/bulk" { &answer.body["data"][0] } else { &answer.body["data"] };
            assert_eq!((answer.status, data), (200, &shown.body["data"]), "{status} {method} {path} {media}");
        }
        assert_eq!(api.get(&path, &token).await.header("etag"), shown.header("etag"));
    }
}

#[tokio::test]
async fn what_was_listed_stands_for_its_id() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", &format!("{ALL},{READER}"));
    let id = api.post("/secrets", &token, key("Shop")).await.id();
    let listed = api.get("/secrets", &token).await.body["data"][0].clone();
    assert_eq!(listed["_id"], id);
    let component = json!({"_id": COMPONENT, "name": "Shop", "actions": [{}]});
    let sent = |listed: &Value, component: &Value| {
        let mut flow = flow_of(&json!({"credentials_id": listed, "componentId": component}));
        flow["fromTemplate"] = component.clone();
        flow
    };
    let created = api.post("/flows", &token, sent(&listed, &component)).await;
    assert_eq!(created.status, 201, "{created:?}");
    let path = format!("/flows/{}", created.id());
    let stored = created.body["data"].clone();
    assert_eq!(stored["graph"]["nodes"][0]["credentials_id"], id);
    assert_eq!(stored["graph"]["nodes"][0]["componentId"], COMPONENT);
    assert_eq!(stored["fromTemplate"], COMPONENT);
    // It says the same as the id, wherever it comes.
    for (method, media) in [
        ("PATCH", JSON.1),
        ("PATCH", "application/merge-patch+json"),
        ("PUT", JSON.1),
        ("POST", "application/json-patch+json"),
    ] {
        let mut body = sent(&listed, &component);
        let mut method = method;
        if media.contains("json-patch") {
            let at = "/graph/nodes/0/credentials_id";
            (method, body) = ("PATCH", json!([{"op": "replace", "path": at, "value": listed}]));
        }
        let answer = api.send_raw(method, &path, &token, &[("content-type", media)], body.to_string()).await;
        assert_eq!((answer.status, &answer.body["data"]), (200, &stored), "{method} {media}: {answer:?}");
    }
    let usages = api.get(&format!("/secrets/{id}/usages"), &token).await;
    assert_eq!(usages.body["data"][0]["node"], "a");
    let oauth = json!({"authClientId": component, "accessToken": "a", "expires": "2027"});
    let oauth = json!({"name": "o", "type": "OA2_AUTHORIZATION_CODE", "value": oauth});
    let oauth = api.post("/secrets", &token, oauth).await;
    assert_eq!(oauth.body["data"]["value"]["authClientId"], COMPONENT, "{oauth:?}");
    // A number is read by its digits.
    let number = api.post("/flows", &token, flow_of(&json!({"componentId": 123_456_789_012_u64}))).await;
    assert_eq!(number.body["data"]["graph"]["nodes"][0]["componentId"], "313233343536373839303132");

    for none in
        [json!({"name": "Shop"}), json!({"_id": "zz"}), json!({"_id": {"_id": COMPONENT}}), json!([id])]
    {
        let refused = api.post("/flows", &token, flow_of(&json!({"credentials_id": none}))).await;
        let fault = ("cast", "/graph/nodes/0/credentials_id", 400);
        assert_eq!((refused.status, told(&refused.body["errors"][0])), (400, fault), "{none}");
        assert!(refused.messages()[0].starts_with("Cast to ObjectId failed for value"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_page_of_secrets_is_as_long_as_upstreams_and_begins_where_its_client_begins() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    for n in 0..31 {
        api.post("/secrets", &token, key(&n.to_string())).await;
    }
    for n in 0..11 {
        api.post("/flows", &token, complete_flow(&n.to_string())).await;
    }
    let meta = |answer: &Answer| {
        let meta = &answer.body["meta"];
        let length = answer.body["data"].as_array().map(Vec::len);
        (length, meta["page"].as_u64(), meta["perPage"].as_u64(), meta["totalPages"].as_u64())
    };
    let first = (Some(30), Some(1), Some(30), Some(2));
    assert_eq!(meta(&api.get("/flows", &token).await), (Some(10), Some(1), Some(10), Some(2)));
    for none in ["NaN", "0", "abc", "", "undefined", "-0", "00"] {
        for query in [
            String::new(),
            format!("?page[number]={none}"),
            format!("?page[size]={none}&page[number]=1"),
            format!("?page[size]=30&page[number]={none}"),
        ] {
            let page = api.get(&format!("/secrets{query}"), &token).await;
            assert_eq!((page.status, meta(&page)), (200, first), "{query}");
        }
        // A list of flows says that it is none; upstream's hangs.
        let refused = api.get(&format!("/flows?page[number]={none}"), &token).await;
        assert_eq!((refused.status, refused.messages()), (400, vec!["Invalid page parameter"]), "{none}");
    }
    let last = api.get("/secrets?page[number]=2", &token).await;
    assert_eq!(meta(&last), (Some(1), Some(2), Some(30), Some(2)));
    for wrong in ["-1", "1.5", "2abc", "1001"] {
        let refused = api.get(&format!("/secrets?page[size]={wrong}"), &token).await;
        assert_eq!((refused.status, refused.messages()), (400, vec!["Invalid page parameter"]), "{wrong}");
    }
}

#[tokio::test]
async fn secrets_are_at_their_other_path_too() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let stored = api.post("/api/v1/secrets", &token, json!({"data": key("Shop")})).await;
    assert_eq!(stored.status, 201, "{stored:?}");
    let id = stored.id();
    // It has one address, whichever path it was stored by.
    assert_eq!(stored.header("location"), format!("/secrets/{id}"));
    api.post("/api/v1/secrets", &token, key("Other")).await;
    let (short, path) = (format!("/secrets/{id}"), format!("/api/v1/secrets/{id}"));
    for (here, there) in [
        (path.clone(), short.clone()),
        ("/api/v1/secrets".into(), "/secrets".into()),
        (format!("{path}/usages"), format!("{short}/usages")),
    ] {
        let [here_told, there_told] = [api.get(&here, &token).await, api.get(&there, &token).await];
        assert_eq!((here_told.status, &here_told.body), (200, &there_told.body), "{here}");
        let head = api.send("HEAD", &here, &token, Value::Null).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{here}");
        assert_eq!(head.header("etag"), here_told.header("etag"), "{here}");
        let wrong = api.send("PUT", &here, &token, json!({})).await;
        let allowed = api.send("PUT", &there, &token, json!({})).await;
        assert_eq!((wrong.status, wrong.header("allow")), (405, allowed.header("allow")), "{here}");
        assert_eq!(wrong.body["instance"], here);
        let slash = api.get(&format!("{here}/"), &token).await;
        assert_eq!((slash.status, slash.header("location")), (308, here.as_str()));
    }
    // What continues a request begins as it did.
    let page = api.get("/api/v1/secrets?page[size]=1", &token).await;
    assert!(page.header("link").starts_with("</api/v1/secrets?"), "{page:?}");
    assert_eq!(api.patch(&path, &token, json!({"name": "Till"})).await.body["data"]["name"], "Till");
    assert_eq!(api.delete(&path, &token).await.status, 204);
    let gone = api.get(&path, &token).await;
    assert_eq!((gone.status, gone.body["instance"].as_str()), (404, Some(path.as_str())));
    assert_eq!(api.get("/api/v1/flows", &token).await.status, 404);
}

#[tokio::test]
async fn an_end_that_an_edge_lacks_is_called_as_upstream_calls_it() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    for (end, other) in [("source", "target"), ("target", "source")] {
        for (sent, shown) in [
            (json!({other: "a", end: null}), "null"),
            (json!({other: "a", end: ""}), ""),
            (json!({other: "a"}), "undefined"),
        ] {
            let flow = json!({"graph": {"nodes": [{"id": "a"}], "edges": [sent]}});
            let refused = api.post("/flows", &token, flow).await;
            let required = format!("Flow edges require a {end}.");
            let unknown = format!("Edge {end} with id \"{shown}\" could not be found among nodes.");
            assert_eq!((refused.status, refused.messages()), (400, vec![&*required, &unknown]), "{sent}");
        }
    }
}

const OAUTH: &str = r#"{"name":"o","type":"OA2_AUTHORIZATION_CODE","value":{"authClientId":"5ca5c44c187c040010a9bb8b","accessToken":"access","refreshToken":"refresh","expires":"2027"}}"#;
const SESSION: &str = r#"{"name":"s","type":"SESSION_AUTH","value":{"authClientId":"5ca5c44c187c040010a9bb8b","accessToken":"access","inputFields":{"user":"anna","pin":1234}}}"#;

async fn values(api: &Api, token: &str) -> [(String, Value, String); 2] {
    let mut values = Vec::new();
    for body in [OAUTH, SESSION] {
        let id = api.send_raw("POST", "/secrets", token, &[JSON], body).await.id();
        let path = format!("/secrets/{id}");
        let mut read = api.get(&path, token).await;
        values.push((path, read.body["data"]["value"].take(), read.header("etag").to_owned()));
    }
    values.try_into().unwrap()
}

#[tokio::test]
async fn what_renews_a_credential_is_withheld_from_components() {
    let api = Api::start().await;
    let component = api.token("anna", "acme", &format!("{ALL},{READER}"));
    let [(oauth_path, oauth, oauth_tag), (_, session, _)] = values(&api, &component).await;
    let known =
        json!({"authClientId": COMPONENT, "accessToken": "access", "refreshToken": "***", "expires": "2027"});
    assert_eq!(oauth, known);
    let known = json!({"authClientId": COMPONENT, "accessToken": "access", "inputFields": {"user": "***", "pin": "***"}});
    assert_eq!(session, known);
    assert!(oauth_tag.ends_with(".raw\""), "{oauth_tag}");
    // Whoever puts in a new token sends back what it was shown, and what was withheld stays.
    let mut renewed = oauth;
    renewed["accessToken"] = "other".into();
    let stored = api.patch(&oauth_path, &component, json!({"value": renewed})).await;
    assert_eq!(stored.status, 200, "{stored:?}");
    let read = api.get(&oauth_path, &component).await;
    assert_eq!(read.body["data"]["value"], renewed);
}

#[tokio::test]
async fn a_setting_gives_components_what_renews_a_credential() {
    let settings = vec![("SECRET_RENEWAL".into(), "readable".into())];
    let api = Api::start_local(Options { settings, ..Options::default() }).await;
    let component = api.token("anna", "acme", &format!("{ALL},{READER}"));
    let [(path, oauth, tag), (_, session, _)] = values(&api, &component).await;
    assert_eq!(oauth["refreshToken"], "refresh");
    assert_eq!(session["inputFields"], json!({"user": "anna", "pin": 1234}));
    // A component that has kept what it was given without the setting is given this.
    let kept = tag.replace(".whole\"", ".raw\"");
    assert_ne!(kept, tag);
    let unlike = api.send_raw("GET", &path, &component, &[("if-none-match", &kept)], "").await;
    let like = api.send_raw("GET", &path, &component, &[("if-none-match", &tag)], "").await;
    assert_eq!((unlike.status, like.status), (200, 304));
    // Nobody else gets it.
    let masked = api.get(&path, &api.token("anna", "acme", ALL)).await;
    assert_eq!(masked.body["data"]["value"]["refreshToken"], "***");
}

#[tokio::test]
async fn what_was_patched_in_without_the_setting_has_kept_its_refresh_token() {
    let folder = std::env::temp_dir().join(format!("flow-repository-{}", shared::flow::ObjectId::generate()));
    let dynamodb = other_dynamodb();
    let options = |renewal: &str| Options {
        folder: Some(folder.clone()),
        dynamodb: dynamodb.clone(),
        settings: vec![("SECRET_RENEWAL".into(), renewal.into())],
        ..Options::default()
    };
    let api = Api::start_local(options("withheld")).await;
    let token = api.token_of("anna", "acme", &format!("{ALL},{READER}"));
    let [(path, mut value, _), _] = values(&api, &token).await;
    value["accessToken"] = "other".into();
    assert_eq!(api.patch(&path, &token, json!({"value": value})).await.status, 200);
    api.stop().await;
    let api = Api::start_local(options("readable")).await;
    let token = api.token_of("anna", "acme", &format!("{ALL},{READER}"));
    let read = api.get(&path, &token).await;
    let tokens = ["accessToken", "refreshToken"].map(|name| &read.body["data"]["value"][name]);
    assert_eq!(tokens, ["other", "refresh"]);
    api.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_payload_is_read_as_it_was_sent_a_text_as_a_text() {
    let api = Api::start().await;
    let component = api.token("anna", "acme", &format!("{ALL},{READER}"));
    for payload in [json!({"user": "anna", "pin": 1234}), json!(r#"{"user":"anna","pin":1234}"#)] {
        let secret = json!({"name": "m", "type": "MIXED", "value": {"payload": payload}});
        let id = api.post("/secrets", &component, secret).await.id();
        let read = api.get(&format!("/secrets/{id}"), &component).await;
        assert_eq!(read.body["data"]["value"]["payload"], payload);
    }
}

#[tokio::test]
async fn the_platforms_own_account_starts_a_flow_with_a_secret_that_is_its_own_too() {
    let api = Api::start_with(without_orchestrator()).await;
    let (anna, service) = (api.token("anna", "acme", ALL), api.token("scheduler", "", "all"));
    let secret = api.post("/secrets", &anna, key("Shop")).await.id();
    let id = api.post("/flows", &anna, flow_of(&json!({"credentials_id": secret}))).await.id();
    let (start, stop) = (format!("/flows/{id}/start"), format!("/flows/{id}/stop"));
    let refused = api.post(&start, &service, Value::Null).await;
    let fault = ("node.credentials.unknown", "/graph/nodes/0/credentials_id", 422);
    assert_eq!((refused.status, told(&refused.body["errors"][0])), (422, fault), "{refused:?}");
    let named = async || {
        let started = |events: &[Value]| {
            let of_flow = events.iter().filter(|event| event["detail"]["subject"] == format!("flows/{id}"));
            let of_starts = of_flow.filter(|event| event["detail-type"] == "flow.starting");
            of_starts.map(|event| event["detail"]["data"]["startedBy"].as_str().unwrap().to_owned()).collect()
        };
        let events = api.events_until(|events| !Vec::is_empty(&started(events))).await;
        started(&events)
    };
    // With the token of who owns the secret.
    assert_eq!(api.post(&start, &anna, Value::Null).await.status, 200);
    assert_eq!(named().await, [api.name("anna")]);
    api.post(&stop, &anna, Value::Null).await;
    api.deliver(&anna, "flow.stopped", json!({"id": id})).await;
    // Or as one of its owners.
    let owners =
        json!([{"id": api.name("anna"), "type": "USER"}, {"id": api.name("scheduler"), "type": "USER"}]);
    let shared = api.patch(&format!("/secrets/{secret}"), &anna, json!({"owners": owners})).await;
    assert_eq!(shared.status, 200, "{shared:?}");
    let started = api.post(&start, &service, Value::Null).await;
    assert_eq!((started.status, &started.body["data"]["status"]), (200, &json!("starting")), "{started:?}");
    // Its components read the value in its name.
    let component = api.token("scheduler", "", READER);
    let read = api.get(&format!("/secrets/{secret}"), &component).await;
    assert_eq!(read.body["data"]["value"]["key"], "shop-key-51cdef");
}

#[tokio::test]
async fn a_list_of_which_nothing_is_stored_is_a_problem() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let foreign = flow_of(&json!({"credentials_id": COMPONENT}));
    let mut hers = complete_flow("x");
    hers["owners"] = json!([{"id": "globex", "type": "tenant"}]);
    let items = json!([{"name": "bad", "cron": "x"}, null, foreign, hers]);
    for query in ["", "?validateOnly=true"] {
        let refused = api.post(&format!("/flows{query}"), &token, items.clone()).await;
        assert_eq!((refused.status, refused.header("content-type")), (400, "application/problem+json"));
        let problem = &refused.body;
        assert_eq!(problem["type"], "/problems/nothing-stored", "{refused:?}");
        assert_eq!((&problem["status"], &problem["instance"]), (&json!(400), &json!("/flows")));
        let errors: Vec<_> = problem["errors"].as_array().unwrap().iter().map(told).collect();
        assert_eq!(
            errors,
            [
                ("flow.graph.required", "/0/graph", 400),
                ("flow.cron.invalid", "/0/cron", 400),
                ("body.invalid", "/1", 400),
                ("node.credentials.unknown", "/2/graph/nodes/0/credentials_id", 400),
                ("owner.tenant.foreign", "/3/owners/0/id", 400),
            ]
        );
        let data = problem["data"].as_array().unwrap();
        let of_items: Vec<_> = data.iter().flat_map(|item| item["errors"].as_array().unwrap()).collect();
        assert_eq!(of_items, problem["errors"].as_array().unwrap().iter().collect::<Vec<_>>());
        assert_eq!(data.len(), 4);
    }
    // One that is stored, and the answer is of all.
    let mixed = api.post("/flows", &token, json!([null, complete_flow("x")])).await;
    assert_eq!((mixed.status, mixed.header("content-type")), (201, "application/json"));
    let nobody = api.patch("/flows/bulk", &token, json!([{"id": COMPONENT, "name": "y"}])).await;
    assert_eq!((nobody.status, nobody.header("content-type")), (200, "application/json"));
    assert_eq!(told(&nobody.body["data"][0]["errors"][0]), ("flow.not_found", "/0", 404));
    // So many that not all are told.
    let node = json!({"id": {}});
    let wrong = json!({"graph": {"nodes": vec![node; 90]}});
    let refused = api.post("/flows", &token, json!(vec![wrong; 100])).await;
    let errors = refused.body["errors"].as_array().unwrap();
    assert_eq!((errors.len(), told(&errors[1000]).0), (1001, "more_faults"));
    assert_eq!(told(&errors[999]).1, "/10/graph/nodes/89/id");
}

#[tokio::test]
async fn a_412_says_that_an_integer_of_23_digits_has_changed() {
    const BEFORE: &str = "12345678901234567890123";
    const AFTER: &str = "12345678901234567890124";
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let body = |number: &str| format!(r#"{{"graph":{{"nodes":[{{"id":"a","fields":{{"n":{number}}}}}]}}}}"#);
    let created = api.send_raw("POST", "/flows", &token, &[JSON], body(BEFORE)).await;
    let (flow, tag) = (format!("/flows/{}", created.id()), created.header("etag"));
    assert_eq!(api.send_raw("PATCH", &flow, &token, &[JSON], body(AFTER)).await.status, 200);
    let refused = api.send_raw("PATCH", &flow, &token, &[JSON, ("if-match", tag)], r#"{"name":"n"}"#).await;
    let patch = format!(r#""patch":[{{"op":"replace","path":"/graph/nodes/0/fields/n","value":{AFTER}}}]"#);
    assert_eq!(refused.status, 412);
    assert!(refused.text.contains(&patch), "{}", refused.text);
}
