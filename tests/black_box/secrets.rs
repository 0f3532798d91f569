//! Secrets and the flows that use them.

use ::local::Options;
use serde_json::{Value, json};
use tests::{ALL, Answer, Api, complete_flow};

const READER: &str = "secrets.secret.readRaw";

fn simple(name: &str) -> Value {
    json!({"name": name, "type": "SIMPLE", "value": {"username": "orders", "passphrase": "correct horse"}})
}

/// A flow whose second node uses this secret.
fn using(secret: &str) -> Value {
    let mut flow = complete_flow("Orders to invoices");
    flow["graph"]["nodes"][1]["credentials_id"] = secret.into();
    flow
}

fn reasons(answer: &Answer) -> Vec<&str> {
    answer.body["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|error| error["reason"].as_str().unwrap())
        .collect()
}

/// The events about a secret: their names, sequences and payloads, in order; those without a sequence last.
async fn events_of(api: &Api, id: &str, count: usize) -> Vec<(String, String, Value)> {
    let subject = format!("secrets/{id}");
    let of_secret = |events: &[Value]| -> Vec<(String, String, Value)> {
        let events = events.iter().filter(|event| event["detail"]["subject"] == subject);
        let mut events: Vec<_> = events
            .map(|event| {
                let detail = &event["detail"];
                let sequence =
                    detail["sequence"].as_str().unwrap_or("none").trim_start_matches('0').to_owned();
                (event["detail-type"].as_str().unwrap().to_owned(), sequence, detail["data"].clone())
            })
            .collect();
        events.sort_by(|a, b| a.1.cmp(&b.1));
        events
    };
    of_secret(&api.events_until(|events| of_secret(events).len() >= count).await)
}

#[tokio::test]
async fn a_credential_is_stored_used_kept_while_it_is_and_deleted() {
    let api = Api::start().await;
    let anna = api.token("anna", "acme", ALL);
    let stored = api.post("/secrets", &anna, simple("Order database")).await;
    assert_eq!(stored.status, 201, "{stored:?}");
    let id = stored.id();
    assert_eq!(stored.header("location"), format!("/secrets/{id}"));
    assert_eq!(stored.header("cache-control"), "no-store");
    let path = format!("/secrets/{id}");
    let masked = json!({"username": "orders", "passphrase": "***"});
    let shown = api.get(&path, &anna).await;
    assert_eq!((shown.status, shown.header("cache-control")), (200, "no-store"));
    let (created, updated) = (&shown.body["data"]["createdAt"], &shown.body["data"]["updatedAt"]);
    assert!(created.is_string() && created == updated);
    assert_eq!(
        shown.body["data"],
        json!({"_id": id, "id": id, "name": "Order database", "type": "SIMPLE", "value": masked,
            "owners": [{"id": api.name("anna"), "type": "USER"}], "createdAt": created, "updatedAt": updated})
    );

    let flow = api.post("/flows", &anna, using(&id)).await;
    assert_eq!(flow.status, 201, "{flow:?}");
    let flow = flow.id();
    api.post(&format!("/flows/{flow}/start"), &anna, Value::Null).await;
    api.wait_for_status(&flow, &anna, "active").await;
    let usages = api.get(&format!("{path}/usages"), &anna).await;
    let usage = json!({"id": flow, "name": "Orders to invoices", "status": "active", "node": "step_2", "nodes": ["step_2"]});
    assert_eq!((usages.status, &usages.body["data"]), (200, &json!([usage])), "{usages:?}");

    let refused = api.delete(&path, &anna).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.body["type"], "/problems/secret-in-use");
    assert_eq!(
        refused.body["errors"],
        json!([{"message": "Secret is used by flow \"Orders to invoices\", which is active", "code": 409,
            "reason": "secret.in_use", "flowId": flow, "flowName": "Orders to invoices", "status": "active"}])
    );
    api.post(&format!("/flows/{flow}/stop"), &anna, Value::Null).await;
    api.wait_for_status(&flow, &anna, "inactive").await;

    let changed = api
        .patch(
            &path,
            &anna,
            json!({"domain": "db.example.com", "value": {"username": "invoices", "passphrase": "***"}}),
        )
        .await;
    assert_eq!((changed.status, &changed.body["data"]["value"]["username"]), (200, &json!("invoices")));
    let raw = api.get(&path, &api.token("anna", "acme", READER)).await;
    assert_eq!(raw.body["data"]["value"], json!({"username": "invoices", "passphrase": "correct horse"}));
    assert_eq!(raw.header("cache-control"), "no-store");

    let deleted = api.delete(&path, &anna).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    assert_eq!(api.get(&path, &anna).await.status, 404);
    let start = api.post(&format!("/flows/{flow}/start"), &anna, Value::Null).await;
    assert_eq!((start.status, reasons(&start)), (422, vec!["node.credentials.unknown"]));
    assert_eq!(start.body["errors"][0]["pointer"], "/graph/nodes/1/credentials_id");
    // What stays as it is can still be written.
    assert_eq!(api.patch(&format!("/flows/{flow}"), &anna, json!({"name": "renamed"})).await.status, 200);

    let who = json!({"id": id, "user": api.name("anna"), "tenant": api.name("acme")});
    let event =
        |name: &str, sequence: &str| (format!("secrets.secret.{name}"), sequence.to_owned(), who.clone());
    assert_eq!(
        events_of(&api, &id, 4).await,
        [event("created", "1"), event("updated", "2"), event("deleted", "3"), event("read", "none")]
    );
    let all = json!(api.events_until(|_| true).await).to_string();
    assert!(all.contains("secrets.secret.read") && !all.contains("correct horse"));
}

/// Who sees what: two tenants, a peer in one of them, and for each the four permissions, on every route,
/// for a secret of anna's own and one that her tenant shares.
#[tokio::test]
async fn who_may_do_what_with_whose_secret() {
    let api = Api::start().await;
    let author = api.token("anna", "acme", ALL);
    let tenant = json!([{"id": api.name("acme"), "type": "TENANT"}]);
    for permission in ["", "secrets.write", READER, "all"] {
        for (sub, home, sees_own, sees_shared) in [
            ("anna", "acme", true, true),
            ("bert", "acme", false, true),
            ("eve", "globex", false, false),
            ("eve", "", false, false),
        ] {
            let who = format!("{sub} of {home:?} with {permission:?}");
            let token = api.token(sub, home, permission);
            let mut shared = simple("shared");
            shared["owners"] = tenant.clone();
            let own = api.post("/secrets", &author, simple("own")).await.id();
            let shared = api.post("/secrets", &author, shared).await.id();

            let list = api.get("/secrets?page[size]=1000", &token).await;
            assert_eq!(list.status, 200, "{who}");
            let listed = list.body["data"].as_array().unwrap();
            assert!(listed.iter().all(|secret| secret.get("value").is_none()), "{who}");
            let stored = api.post("/secrets", &token, simple("mine")).await;
            assert_eq!(
                stored.status,
                if matches!(permission, "secrets.write" | "all") { 201 } else { 403 },
                "{who}"
            );

            for (id, sees) in [(own, sees_own), (shared, sees_shared)] {
                assert_eq!(listed.iter().any(|secret| secret["id"] == id), sees, "{who}");
                let path = format!("/secrets/{id}");
                let statuses = [if sees { 200 } else { 404 }, if sees { 204 } else { 404 }];
                let get = api.get(&path, &token).await;
                assert_eq!(get.status, statuses[0], "{who}");
                let reads = matches!(permission, READER | "all");
                let passphrase = if reads { "correct horse" } else { "***" };
                if sees {
                    assert_eq!(get.body["data"]["value"]["passphrase"], passphrase, "{who}");
                } else {
                    assert!(!get.text.contains("correct horse") && !get.text.contains("orders"), "{who}");
                }
                assert_eq!(api.get(&format!("{path}/usages"), &token).await.status, statuses[0], "{who}");
                let renamed = api.patch(&path, &token, json!({"name": "other"})).await;
                assert_eq!(renamed.status, statuses[0], "{who}");
                assert!(!renamed.text.contains("correct horse"), "{who}");
                // Only a user among the owners says who they are.
                let seizure = api
                    .patch(&path, &token, json!({"owners": [{"id": api.name(sub), "type": "USER"}]}))
                    .await;
                let may_seize = if sub == "anna" {
                    200
                } else if sees {
                    403
                } else {
                    404
                };
                assert_eq!(seizure.status, may_seize, "{who}");
                if !sees {
                    for (method, path) in [
                        ("GET", path.clone()),
                        ("PATCH", path.clone()),
                        ("DELETE", path.clone()),
                        ("GET", format!("{path}/usages")),
                    ] {
                        let there = api.send(method, &path, &token, Value::Null).await;
                        let nowhere = path.replace(&id, "5ca5c44c187c040010a9bb8b");
                        let missing = api.send(method, &nowhere, &token, Value::Null).await;
                        let same = |answer: &Answer, id: &str| {
                            let text = answer.text.replace(id, "ID");
                            text.split(r#""requestId":""#)
                                .map(|part| part.split_once('"').map_or(part, |(_, rest)| rest).to_owned())
                                .collect::<Vec<_>>()
                        };
                        assert_eq!(
                            same(&there, &id),
                            same(&missing, "5ca5c44c187c040010a9bb8b"),
                            "{who} {method} {path}"
                        );
                    }
                }
                assert_eq!(api.delete(&path, &token).await.status, statuses[1], "{who}");
            }
        }
    }
    for (method, path) in [
        ("GET", "/secrets"),
        ("POST", "/secrets"),
        ("GET", "/secrets/5ca5c44c187c040010a9bb8b"),
        ("PATCH", "/secrets/5ca5c44c187c040010a9bb8b"),
        ("DELETE", "/secrets/5ca5c44c187c040010a9bb8b"),
        ("GET", "/secrets/5ca5c44c187c040010a9bb8b/usages"),
    ] {
        assert_eq!(api.send(method, path, "", Value::Null).await.status, 401, "{method} {path}");
    }
    assert_eq!(api.get("/secrets/xx", &author).await.messages(), ["Invalid id"]);
}

#[tokio::test]
async fn a_flow_takes_up_only_secrets_that_its_author_may_use() {
    let api = Api::start().await;
    let (anna, bert, eve) =
        (api.token("anna", "acme", ALL), api.token("bert", "acme", ALL), api.token("eve", "globex", ALL));
    let own = api.post("/secrets", &anna, simple("own")).await.id();
    let missing = "5ca5c44c187c040010a9bb8b";
    let refused = |answer: Answer, id: &str| {
        assert_eq!((answer.status, reasons(&answer)), (400, vec!["node.credentials.unknown"]), "{answer:?}");
        assert_eq!(answer.body["errors"][0]["pointer"], "/graph/nodes/1/credentials_id");
        answer.body["errors"].to_string().replace(id, "ID")
    };
    let foreign = refused(api.post("/flows", &eve, using(&own)).await, &own);
    assert_eq!(foreign, refused(api.post("/flows", &eve, using(missing)).await, missing));
    assert_eq!(foreign, refused(api.post("/flows", &bert, using(&own)).await, &own));
    assert_eq!(foreign, refused(api.post("/flows", &api.token("root", "", "all"), using(&own)).await, &own));
    // All at once.
    let mut two = using(missing);
    two["graph"]["nodes"][0]["credentials_id"] = json!("5ca5c44c187c040010a9bb8c");
    let both = api.post("/flows", &anna, two).await;
    let places: Vec<_> =
        both.body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(places, ["/graph/nodes/0/credentials_id", "/graph/nodes/1/credentials_id"]);

    let flow = api.post("/flows", &anna, using(&own)).await;
    let path = format!("/flows/{}", flow.id());
    // A colleague changes the rest, as front ends do: with all of it.
    let mut whole = flow.body["data"].clone();
    whole["name"] = json!("renamed");
    whole["graph"]["nodes"][0]["function"] = json!("getOtherOrders");
    assert_eq!(api.patch(&path, &bert, whole.clone()).await.status, 200);
    // But gives the credentials to no other component, and does not run it.
    let mut other = whole.clone();
    other["graph"]["nodes"][1]["componentId"] = json!(missing);
    refused(api.patch(&path, &bert, other.clone()).await, &own);
    let bulk = json!([{"id": flow.id(), "graph": other["graph"]}]);
    let item = api.patch("/flows/bulk", &bert, bulk).await;
    assert_eq!(item.body["data"][0]["errors"][0]["reason"], "node.credentials.unknown", "{item:?}");
    let start = api.post(&format!("{path}/start"), &bert, Value::Null).await;
    assert_eq!((start.status, reasons(&start)), (422, vec!["node.credentials.unknown"]));
    let many = api.post("/flows/multiple/start", &bert, json!([flow.id()])).await;
    assert_eq!(many.body[0]["errors"][0]["reason"], "node.credentials.unknown", "{many:?}");
    // Until it is shared with the tenant.
    let share = json!({"owners": [{"id": api.name("anna"), "type": "USER"}, {"id": api.name("acme"), "type": "TENANT"}]});
    assert_eq!(api.patch(&format!("/secrets/{own}"), &anna, share).await.status, 200);
    assert_eq!(api.patch(&path, &bert, other).await.status, 200);
    assert_eq!(api.post(&format!("{path}/start"), &bert, Value::Null).await.status, 200);
    // And is not taken away again while his run may read it.
    let alone = json!({"owners": [{"id": api.name("anna"), "type": "USER"}]});
    let refused = api.patch(&format!("/secrets/{own}"), &anna, alone).await;
    assert_eq!((refused.status, reasons(&refused)), (409, vec!["secret.in_use"]), "{refused:?}");
    assert_eq!(refused.body["errors"][0]["flowId"], flow.id());

    let mut many = complete_flow("too many");
    many["graph"]["nodes"] = (0..17)
        .map(|n| json!({"id": format!("n{n}"), "credentials_id": format!("5ca5c44c187c040010a9bb{n:02}")}))
        .collect();
    many["graph"]["edges"] = json!([{"source": "n0", "target": "n1"}]);
    assert_eq!(api.post("/flows", &anna, many).await.messages(), ["Flows can use at most 16 secrets."]);
}

#[tokio::test]
async fn usages_are_those_that_the_caller_sees_page_by_page() {
    let api = Api::start().await;
    let (anna, bert) = (api.token("anna", "acme", ALL), api.token("bert", "", ALL));
    let mut shared = simple("shared");
    shared["owners"] = json!([{"id": api.name("bert"), "type": "USER"}]);
    let id = api.post("/secrets", &anna, shared).await.id();
    let mut flows = Vec::new();
    for _ in 0..3 {
        flows.push(api.post("/flows", &anna, using(&id)).await.id());
    }
    let running = api.post("/flows", &bert, using(&id)).await.id();
    api.post(&format!("/flows/{running}/start"), &bert, Value::Null).await;
    let usages = format!("/secrets/{id}/usages?page[size]=2");
    let (mut seen, mut path) = (Vec::new(), usages.clone());
    loop {
        let page = api.get(&path, &anna).await;
        assert_eq!(page.status, 200, "{page:?}");
        seen.extend(
            page.body["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|usage| usage["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.body["meta"]["next"].as_str() else { break };
        assert!(page.header("link").contains(&format!("/secrets/{id}/usages?")), "{page:?}");
        path = format!("{usages}&page[after]={next}");
    }
    assert_eq!(seen, flows);
    let refused = api.delete(&format!("/secrets/{id}"), &anna).await;
    assert_eq!(refused.status, 409);
    assert!(refused.messages()[0].starts_with("Secret is used by a flow of somebody else"), "{refused:?}");
    assert!(!refused.text.contains(&running), "{refused:?}");
    // A flow that is deleted, or has another secret, uses it no more.
    api.delete(&format!("/flows/{}", flows[0]), &anna).await;
    api.patch(&format!("/flows/{}", flows[1]), &anna, complete_flow("without")).await;
    let left = api.get(&format!("/secrets/{id}/usages"), &anna).await;
    assert_eq!(left.body["data"].as_array().unwrap().len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_list_of_secrets_is_the_callers_and_its_tenants() {
    let api = Api::start().await;
    let (anna, bert) = (api.token("anna", "acme", ALL), api.token("bert", "acme", ALL));
    let mut expected = Vec::new();
    for n in 0..5 {
        let mut secret = simple(&format!("secret {n}"));
        if n % 2 == 0 {
            secret["owners"] = json!([{"id": api.name("acme"), "type": "TENANT"}]);
        }
        expected.push(api.post("/secrets", &anna, secret).await.id());
    }
    let ids = |answer: &Answer| -> Vec<String> {
        answer.body["data"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer:?}"))
            .iter()
            .map(|secret| secret["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = api.get("/secrets?page[size]=2&page[number]=2", &anna).await;
    assert_eq!(
        page.body["meta"],
        json!({"total": 5, "page": 2, "perPage": 2, "totalPages": 3, "next": page.body["meta"]["next"]})
    );
    assert_eq!(ids(&page), expected[2..4]);
    let mut walked = Vec::new();
    let mut next = String::new();
    loop {
        let page = api.get(&format!("/secrets?page[size]=2&page[after]={next}"), &anna).await;
        walked.extend(ids(&page));
        let Some(cursor) = page.body["meta"]["next"].as_str() else { break };
        next = cursor.to_owned();
    }
    assert_eq!(walked, expected);
    let shared: Vec<_> = expected.iter().step_by(2).cloned().collect();
    assert_eq!(ids(&api.get("/secrets", &bert).await), shared);
    assert_eq!(
        api.get(&format!("/secrets?page[after]={}", page.body["meta"]["next"].as_str().unwrap()), &bert)
            .await
            .status,
        400
    );
    for wrong in [
        "page[size]=-1",
        "page[number]=1x",
        "page[size]=1001",
        "page[after]=x",
        "page[number]=1&page[after]=",
    ] {
        assert_eq!(
            api.get(&format!("/secrets?{wrong}"), &anna).await.messages(),
            ["Invalid page parameter"],
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn bodies_of_secrets_are_bare_or_wrapped_and_bounded() {
    let api = Api::start().await;
    let anna = api.token("anna", "acme", ALL);
    let wrapped = api.post("/secrets", &anna, json!({"data": simple("wrapped")})).await;
    assert_eq!((wrapped.status, &wrapped.body["data"]["name"]), (201, &json!("wrapped")));
    let refused = api
        .post("/secrets", &anna, json!({"data": {"name": "n", "type": "SIMPLE", "value": {"username": "u"}}}))
        .await;
    assert_eq!(
        (refused.status, &refused.body["errors"][0]["pointer"]),
        (400, &json!("/data/value/passphrase"))
    );
    assert_eq!(refused.messages(), ["Path `value.passphrase` is required."]);
    let tree =
        |length: usize| json!({"name": "n", "type": "MIXED", "value": {"payload": "x".repeat(length)}});
    assert_eq!(api.post("/secrets", &anna, tree(64 * 1024 - 14)).await.status, 201);
    assert_eq!(api.post("/secrets", &anna, tree(64 * 1024 - 13)).await.status, 413);
    let key =
        json!({"name": "n", "type": "API_KEY", "value": {"key": "0123456789abcdef", "headerName": "x-key"}});
    let key = api.post("/secrets", &anna, key).await;
    assert_eq!(key.body["data"]["value"], json!({"key": "***cdef", "headerName": "x-key"}));
    for (method, path, allow) in [
        ("PUT", "/secrets", "GET, HEAD, POST"),
        ("POST", "/secrets/5ca5c44c187c040010a9bb8b", "DELETE, GET, HEAD, PATCH"),
    ] {
        let answer = api.send(method, path, &anna, Value::Null).await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow));
    }
}

#[tokio::test]
async fn whoever_is_deleted_leaves_its_secrets_and_takes_those_that_are_nobody_elses() {
    let api = Api::start().await;
    let (anna, bert) = (api.token("anna", "acme", ALL), api.token("bert", "acme", ALL));
    let mut shared = simple("shared");
    shared["owners"] = json!([{"id": api.name("acme"), "type": "TENANT"}]);
    let own = api.post("/secrets", &anna, simple("own")).await.id();
    let shared = api.post("/secrets", &anna, shared).await.id();
    api.put("iam.user.deleted", json!({"headers": {}, "payload": {"id": api.name("anna")}})).await;
    let gone = async |id: &str, token: &str| {
        api.until(|| async {
            let answer = api.get(&format!("/secrets/{id}"), token).await;
            if answer.status == 404 { Ok(()) } else { Err(answer.text) }
        })
        .await;
    };
    gone(&own, &anna).await;
    api.until(|| async {
        let answer = api.get(&format!("/secrets/{shared}"), &bert).await;
        let owners = json!([{"id": api.name("acme"), "type": "TENANT"}]);
        if answer.body["data"]["owners"] == owners { Ok(()) } else { Err(answer.text) }
    })
    .await;
    // A user of the tenant's name is not the tenant.
    api.put("iam.user.deleted", json!({"id": api.name("acme")})).await;
    api.put("iam.tenant.deleted", json!({"id": api.name("acme")})).await;
    gone(&shared, &bert).await;
    let names: Vec<_> = events_of(&api, &shared, 3)
        .await
        .into_iter()
        .map(|(name, _, data)| (name, data["user"].clone()))
        .collect();
    let (anna, nobody) = (json!(api.name("anna")), json!(""));
    assert_eq!(
        names,
        [
            ("secrets.secret.created".into(), anna),
            ("secrets.secret.updated".into(), nobody.clone()),
            ("secrets.secret.deleted".into(), nobody)
        ]
    );
}

#[tokio::test]
async fn literal_credentials_are_warned_of_or_refused() {
    let mut flow = complete_flow("leaky");
    let key = "0123456789abcdef0123456789abcdef";
    flow["graph"]["nodes"][0]["fields"] = json!({
        "auth": {"api_key": key},
        "headers": [{"name": "X-Api-Key", "value": key}, {"name": "X-Shop", "value": "{{ secret('SHOP') }}"}],
        "url": "https://example.com",
    });
    let pointer = "/graph/nodes/0/fields/auth/api_key";
    let api = Api::start().await;
    let anna = api.token("anna", "acme", ALL);
    let warned = api.post("/flows", &anna, flow.clone()).await;
    assert_eq!(warned.status, 201);
    let warnings = warned.body["meta"]["warnings"].as_array().unwrap();
    let found: Vec<_> = warnings
        .iter()
        .filter(|warning| warning["reason"] == "node.fields.credential")
        .map(|warning| warning["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(found, [pointer, "/graph/nodes/0/fields/headers/0/value"]);
    assert!(!warned.body["meta"].to_string().contains(key));

    let strict =
        Options { settings: vec![("CREDENTIAL_CHECK".into(), "refuse".into())], ..Options::default() };
    let api = Api::start_local(strict).await;
    let anna = api.token("anna", "acme", ALL);
    let refused = api.post("/flows", &anna, flow.clone()).await;
    assert_eq!((refused.status, &refused.body["type"]), (422, &json!("/problems/literal-credentials")));
    assert_eq!(refused.body["errors"][0]["pointer"], pointer);
    let id = api.post("/flows", &anna, complete_flow("tight")).await.id();
    let refused = api.patch(&format!("/flows/{id}"), &anna, flow.clone()).await;
    assert_eq!((refused.status, reasons(&refused)), (422, vec!["node.fields.credential"; 2]));
    let bulk = api.post("/flows", &anna, json!([flow, complete_flow("tight")])).await;
    assert_eq!((bulk.status, &bulk.body["data"][0]["errors"][0]["code"]), (201, &json!(422)));
}

#[tokio::test]
async fn everybody_with_a_token_may_store_secrets_where_that_is_the_rule() {
    let open =
        Options { settings: vec![("SECRET_CREATION".into(), "authenticated".into())], ..Options::default() };
    let api = Api::start_local(open).await;
    assert_eq!(api.post("/secrets", &api.token("anna", "", ""), simple("mine")).await.status, 201);
}
