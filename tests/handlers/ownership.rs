//! Whose flows are, and what becomes of that by the documents of others.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::stack::Stack;

/// Subjects of tokens, and of which tenants they are.
const CALLERS: [(&str, &str); 6] =
    [("anna", "acme"), ("bert", "acme"), ("vera", "acme"), ("eve", "globex"), ("pia", ""), ("root", "")];

fn user(id: &str) -> Value {
    json!({"id": id, "type": "user"})
}

fn tenant(id: &str) -> Value {
    json!({"id": id, "type": "tenant"})
}

struct World(Stack);

impl World {
    async fn start() -> Self {
        Self(Stack::start().await)
    }

    fn token(&self, sub: &str) -> String {
        let (_, tenant) = CALLERS.iter().find(|(caller, _)| *caller == sub).unwrap();
        self.0.token(sub, tenant, if sub == "root" { "all" } else { ALL })
    }

    async fn send(&self, sub: &str, function: &str, route: &str, id: &str, body: Value) -> (u16, Value) {
        self.0.request(function, route, id, &self.token(sub), body).await
    }

    async fn create(&self, sub: &str, owners: Value) -> String {
        let mut flow = complete_flow("one");
        flow["owners"] = owners;
        let (status, created) = self.send(sub, "create-flow", "POST /flows", "", flow).await;
        assert_eq!(status, 201, "{created}");
        created["data"]["id"].as_str().unwrap().to_owned()
    }

    async fn patch(&self, sub: &str, id: &str, body: Value) -> (u16, Value) {
        self.send(sub, "update-flow", "PATCH /flows/{id}", id, body).await
    }

    async fn sees(&self, sub: &str, id: &str) -> bool {
        let (status, _) = self.send(sub, "get-flow", "GET /flows/{id}", id, Value::Null).await;
        let (_, list) = self.send(sub, "list-flows", "GET /flows?page[size]=1000", "", Value::Null).await;
        let listed = list["data"].as_array().unwrap().iter().any(|flow| flow["id"] == *id);
        assert_eq!(listed, status == 200, "{sub}: a list says the same");
        listed
    }

    async fn owners(&self, id: &str) -> Vec<Value> {
        let (_, flow) = self.send("root", "get-flow", "GET /flows/{id}", id, Value::Null).await;
        flow["data"]["owners"].as_array().unwrap().clone()
    }

    async fn deliver(&self, kind: &str, detail: Value) {
        self.0.deliver("on-identity-deleted", kind, detail).await.unwrap();
    }
}

fn reasons(answer: &Value, pointer: &str) -> Vec<String> {
    let entries = answer.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["reason"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_colleague_who_edits_takes_no_flow_away_from_its_tenant() {
    let world = World::start().await;
    let id = world.create("anna", json!([])).await;
    assert_eq!(world.patch("bert", &id, json!({"description": "by bert"})).await.0, 200);
    assert_eq!(world.patch("anna", &id, json!({"name": "two"})).await.0, 200);
    let (status, emptied) = world.patch("bert", &id, json!({"owners": []})).await;
    assert_eq!((status, reasons(&emptied, "/meta/warnings")), (200, vec!["flow.owners.kept".into()]));
    assert_eq!(world.owners(&id).await, [user("anna"), tenant("acme")], "and bert is none");
    for sub in ["anna", "bert", "vera"] {
        assert!(world.sees(sub, &id).await, "{sub}");
    }
    // Every other way of sending a document.
    let whole = json!({"name": "three", "owners": [user("bert")], "graph": complete_flow("")["graph"]});
    let (status, put) = world.send("bert", "replace-flow", "PUT /flows/{id}", &id, whole).await;
    assert_eq!((status, reasons(&put, "/meta/warnings")), (200, vec!["flow.owners.kept".into()]));
    let item = json!([{"id": id, "owners": [], "name": "four"}]);
    let (status, bulk) = world.send("bert", "update-flows", "PATCH /flows/bulk", "", item).await;
    assert_eq!((status, reasons(&bulk, "/meta/warnings")), (200, vec!["flow.owners.kept".into()]));
    for (kind, patch) in [
        ("application/merge-patch+json", json!({"owners": [], "name": "five"})),
        ("application/json-patch+json", json!([{"op": "replace", "path": "/owners", "value": []}])),
    ] {
        let (token, route) = (world.token("bert"), "PATCH /flows/{id}");
        let headers = ("content-type", kind);
        let (status, answer, _) =
            world.0.request_with("update-flow", route, &id, &token, headers, patch).await;
        assert_eq!(
            (status, reasons(&answer, "/meta/warnings")),
            (200, vec!["flow.owners.kept".into()]),
            "{kind}"
        );
    }
    let route = "PATCH /flows/{id}?validateOnly=true";
    let (_, told) = world.send("bert", "update-flow", route, &id, json!({"owners": []})).await;
    assert_eq!(reasons(&told, "/data/diagnostics"), ["flow.owners.kept"]);
    assert_eq!(
        world.owners(&id).await,
        [json!({"id": "bert", "type": "user", "role": "editor"}), user("anna"), tenant("acme")]
    );
    assert!(world.sees("vera", &id).await);
}

#[tokio::test]
async fn an_account_without_the_tenant_takes_nobody_off() {
    let world = World::start().await;
    let id = world.create("anna", json!([])).await;
    assert_eq!(world.patch("bert", &id, json!({"owners": [user("pia"), tenant("acme")]})).await.0, 200);
    let (status, emptied) = world.patch("pia", &id, json!({"owners": []})).await;
    assert_eq!((status, reasons(&emptied, "/meta/warnings")), (200, vec!["flow.owners.kept".into()]));
    for sub in ["anna", "vera", "pia"] {
        assert!(world.sees(sub, &id).await, "{sub}");
    }
}

#[tokio::test]
async fn any_number_of_colleagues_edit_one_after_the_other() {
    let world = World::start().await;
    let id = world.create("anna", json!([])).await;
    for number in 0..25 {
        let token = world.0.token(&format!("colleague{number}"), "acme", ALL);
        let name = json!({"name": format!("name {number}")});
        let (status, body) = world.0.request("update-flow", "PATCH /flows/{id}", &id, &token, name).await;
        assert_eq!(status, 200, "{number}: {body}");
    }
    assert_eq!(world.patch("root", &id, json!({"name": "last"})).await.0, 200);
    assert_eq!(world.owners(&id).await, [user("anna"), tenant("acme")]);
}

#[tokio::test]
async fn a_stranger_plants_no_flow_that_is_started_in_a_victims_name() {
    let world = World::start().await;
    let mut planted = complete_flow("planted");
    planted["owners"] = json!([tenant("acme")]);
    let (status, refused) = world.send("eve", "create-flow", "POST /flows", "", planted).await;
    assert_eq!((status, reasons(&refused, "/errors")), (400, vec!["owner.tenant.foreign".into()]));
    assert_eq!(refused["errors"][0]["pointer"], "/owners/0/id");
    // A user can be named; his colleagues do not get to see it, and he cannot start it.
    let id = world.create("eve", json!([user("vera")])).await;
    assert!(world.sees("vera", &id).await && !world.sees("bert", &id).await);
    let route = "POST /flows/{id}/start";
    let (status, refused) = world.send("vera", "start-flow", route, &id, Value::Null).await;
    assert_eq!((status, reasons(&refused, "/errors")), (403, vec!["flow.start.tenant".into()]));
    let many = "POST /flows/multiple/start";
    let (_, refused) = world.send("vera", "start-flows", many, "", json!([id])).await;
    assert_eq!(reasons(&refused, "/0/errors"), ["flow.start.tenant"]);
    // By its own tenant it is, and stopped by whoever may.
    assert_eq!(world.send("eve", "start-flow", route, &id, Value::Null).await.0, 200);
    assert_eq!(world.send("vera", "start-flow", route, &id, Value::Null).await.0, 403, "running or not");
    assert_eq!(world.send("vera", "stop-flow", "POST /flows/{id}/stop", &id, Value::Null).await.0, 200);
    // A flow that an administrator makes for somebody is of the tenant that it names.
    let mut given = complete_flow("given");
    (given["tenant"], given["owners"]) = ("acme".into(), json!([user("vera")]));
    let (_, given) = world.send("root", "create-flow", "POST /flows", "", given).await;
    let given = given["data"]["id"].as_str().unwrap();
    assert_eq!(world.send("vera", "start-flow", route, given, Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_user_is_never_the_tenant_of_the_same_name() {
    let world = World::start().await;
    let id = world.create("anna", json!([])).await;
    let impostor = world.0.token("acme", "globex", ALL);
    for (function, route, body) in [
        ("get-flow", "GET /flows/{id}", Value::Null),
        ("update-flow", "PATCH /flows/{id}", json!({"name": "x"})),
        ("start-flow", "POST /flows/{id}/start", Value::Null),
        ("delete-flow", "DELETE /flows/{id}", Value::Null),
        ("list-versions", "GET /flows/{id}/versions", Value::Null),
    ] {
        assert_eq!(world.0.request(function, route, &id, &impostor, body).await.0, 404, "{route}");
    }
    for (token, total) in [(&impostor, 0), (&world.token("vera"), 1)] {
        let (_, list) = world.0.request("list-flows", "GET /flows", "", token, Value::Null).await;
        assert_eq!(list["meta"]["total"], total);
    }
    let owned = world.create("eve", json!([user("acme")])).await;
    assert!(!world.sees("vera", &owned).await, "nor the other way round");

    world.deliver("iam.user.deleted", json!({"id": "acme"})).await;
    assert_eq!(world.owners(&id).await, [user("anna"), tenant("acme")]);
    assert_eq!(world.owners(&owned).await, [user("eve"), tenant("globex")]);
    world.deliver("iam.tenant.deleted", json!({"id": "anna"})).await;
    assert_eq!(world.owners(&id).await, [user("anna"), tenant("acme")]);
    world.deliver("iam.tenant.deleted", json!({"id": "acme"})).await;
    assert_eq!(world.owners(&id).await, [user("anna")]);
}

#[tokio::test]
async fn an_administrator_mends_a_flow_and_is_no_owner_then() {
    let world = World::start().await;
    let id = world.create("anna", json!([])).await;
    world.send("vera", "start-flow", "POST /flows/{id}/start", &id, Value::Null).await;
    world.deliver("iam.user.deleted", json!({"id": "anna"})).await;
    world.deliver("iam.tenant.deleted", json!({"id": "acme"})).await;
    world.0.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();
    let (_, seen) = world.send("root", "get-flow", "GET /flows/{id}", &id, Value::Null).await;
    assert_eq!(seen["data"]["statusReason"], "The last owner of the flow was deleted.");
    let (status, mended) = world.patch("root", &id, json!({"owners": [user("bert")]})).await;
    assert_eq!((status, &mended["data"]["owners"]), (200, &json!([user("bert")])));
    assert_eq!(mended["data"].get("statusReason"), None);
    let former = world.0.token("root", "", ALL);
    let (status, _) = world.0.request("get-flow", "GET /flows/{id}", &id, &former, Value::Null).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_flow_that_nobody_may_share_says_so() {
    let world = World::start().await;
    let id = world.create("anna", json!([{"id": "acme", "type": "tenant", "role": "editor"}])).await;
    world.deliver("iam.user.deleted", json!({"id": "anna"})).await;
    let (status, edited) = world.patch("vera", &id, json!({"name": "x"})).await;
    assert_eq!((status, reasons(&edited, "/meta/warnings")), (200, vec!["flow.owner.none".into()]));
    let named = json!({"owners": [user("vera")]});
    assert_eq!(world.patch("vera", &id, named.clone()).await.0, 403, "by administrators alone");
    let (status, named) = world.patch("root", &id, named).await;
    assert_eq!((status, named["meta"].get("warnings")), (200, None));
    // A tenant that the flow is not of changes it at most.
    let stranger = json!({"owners": [user("vera"), {"id": "globex", "type": "tenant"}]});
    assert_eq!(world.patch("root", &id, stranger).await.0, 200);
    world.deliver("iam.user.deleted", json!({"id": "vera"})).await;
    let (status, edited) = world.patch("root", &id, json!({"name": "y"})).await;
    assert_eq!((status, reasons(&edited, "/meta/warnings")), (200, vec!["flow.owner.none".into()]));
}

#[tokio::test]
async fn each_role_may_do_what_it_may_on_every_route() {
    let world = World::start().await;
    let roles = ["viewer", "operator", "editor", "owner"];
    let routes = [
        ("viewer", "get-flow", "GET /flows/{id}", Value::Null),
        ("viewer", "list-versions", "GET /flows/{id}/versions", Value::Null),
        ("viewer", "get-version", "GET /flows/{id}/versions/1", Value::Null),
        ("viewer", "compare-versions", "GET /flows/{id}/diff", Value::Null),
        ("operator", "start-flow", "POST /flows/{id}/start", Value::Null),
        ("operator", "stop-flow", "POST /flows/{id}/stop", Value::Null),
        ("operator", "start-flows", "POST /flows/multiple/start", json!("ids")),
        ("operator", "stop-flows", "POST /flows/multiple/stop", json!("ids")),
        ("editor", "update-flow", "PATCH /flows/{id}", json!({"name": "x"})),
        ("editor", "replace-flow", "PUT /flows/{id}", complete_flow("x")),
        ("editor", "update-flows", "PATCH /flows/bulk", json!("items")),
        ("editor", "restore-version", "POST /flows/{id}/versions/1/restore", Value::Null),
        ("owner", "restore-flow", "POST /flows/{id}/restore", Value::Null),
        ("owner", "delete-flow", "DELETE /flows/{id}", Value::Null),
    ];
    for (place, role) in roles.into_iter().enumerate() {
        for (needed, function, route, body) in &routes {
            let id = world.create("anna", json!([{"id": "acme", "type": "tenant", "role": role}])).await;
            let body = match body.as_str() {
                Some("ids") => json!([id]),
                Some(_) => json!([{"id": id, "name": "x"}]),
                None => body.clone(),
            };
            let (status, answer) = world.send("bert", function, route, &id, body).await;
            let first = answer.pointer("/0").or_else(|| answer.pointer("/data/0")).unwrap_or(&answer);
            let is_missing = reasons(first, "/errors") == ["flow.role.missing"];
            let may = roles.iter().position(|role| role == needed).unwrap() <= place;
            assert_eq!(is_missing, !may, "{role}: {route}: {status} {answer}");
            if is_missing {
                assert_eq!(first["errors"][0]["role"], *needed);
                assert_eq!(first["errors"][0]["code"], 403);
            }
        }
    }
}

#[tokio::test]
async fn a_foreign_flow_is_not_even_unpacked() {
    let world = World::start().await;
    let id = world.create("anna", json!([])).await;
    let text = |text: &str| AttributeValue::S(text.into());
    let call = world.0.client.update_item().table_name(&world.0.table);
    let call = call.key("pk", text(&format!("FLOW#{id}"))).key("sk", text("HEAD"));
    let call = call.update_expression("SET document = :none");
    call.expression_attribute_values(":none", AttributeValue::B(Blob::new("none"))).send().await.unwrap();
    for (function, route, body) in [
        ("get-flow", "GET /flows/{id}", Value::Null),
        ("update-flow", "PATCH /flows/{id}", json!({"name": "x"})),
        ("replace-flow", "PUT /flows/{id}", complete_flow("x")),
        ("delete-flow", "DELETE /flows/{id}", Value::Null),
        ("restore-flow", "POST /flows/{id}/restore", Value::Null),
        ("start-flow", "POST /flows/{id}/start", Value::Null),
        ("stop-flow", "POST /flows/{id}/stop", Value::Null),
        ("list-versions", "GET /flows/{id}/versions", Value::Null),
        ("get-version", "GET /flows/{id}/versions/1", Value::Null),
        ("compare-versions", "GET /flows/{id}/diff", Value::Null),
        ("restore-version", "POST /flows/{id}/versions/1/restore", Value::Null),
    ] {
        let (status, _) = world.send("eve", function, route, &id, body.clone()).await;
        assert_eq!(status, 404, "{route}");
        assert_eq!(world.send("anna", function, route, &id, body).await.0, 500, "{route}: it cannot be read");
    }
}

#[tokio::test]
async fn usages_tell_nothing_of_flows_that_the_caller_does_not_see() {
    let world = World::start().await;
    let anna = world.token("anna");
    let secret = json!({"name": "Shop", "type": "SIMPLE", "value": {"username": "a", "passphrase": "b"},
        "owners": [{"id": "acme", "type": "TENANT"}]});
    let (status, secret) = world.0.request("create-secret", "POST /secrets", "", &anna, secret).await;
    assert_eq!(status, 201, "{secret}");
    let secret = secret["data"]["_id"].as_str().unwrap();
    let flow = |owners: Value| {
        let mut flow = complete_flow("uses it");
        flow["graph"]["nodes"][0]["credentials_id"] = secret.into();
        flow["owners"] = owners;
        flow
    };
    let mut seen = Vec::new();
    for round in 0..3 {
        // Anna's alone, once she has taken the tenant off; and one of the tenant's.
        let (_, own) = world.0.request("create-flow", "POST /flows", "", &anna, flow(json!([]))).await;
        let id = own["data"]["id"].as_str().unwrap();
        assert_eq!(world.patch("anna", id, json!({"owners": [user("anna")]})).await.0, 200, "{round}");
        let (_, shared) = world.0.request("create-flow", "POST /flows", "", &anna, flow(json!([]))).await;
        seen.push(shared["data"]["id"].clone());
    }
    let mut found = Vec::new();
    let mut query = "page[size]=1".to_owned();
    loop {
        let route = format!("GET /secrets/{{id}}/usages?{query}");
        let (status, page) = world.send("bert", "list-secret-usages", &route, secret, Value::Null).await;
        assert_eq!((status, page["data"].as_array().unwrap().len()), (200, 1), "{page}");
        found.push(page["data"][0]["id"].clone());
        let Some(next) = page["meta"]["next"].as_str() else { break };
        let cursor = String::from_utf8(base64(next)).unwrap();
        assert!(
            cursor.contains(found.last().unwrap().as_str().unwrap()),
            "the last flow that was shown: {cursor}"
        );
        query = format!("page[size]=1&page[after]={next}");
    }
    assert_eq!(found, seen);
}

/// The bytes of base64url without padding.
fn base64(text: &str) -> Vec<u8> {
    let mut bits = (0_u32, 0);
    let mut bytes = Vec::new();
    for letter in text.bytes() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let value = alphabet.iter().position(|other| *other == letter).unwrap();
        bits = (bits.0 << 6 | u32::try_from(value).unwrap(), bits.1 + 6);
        if bits.1 >= 8 {
            bits.1 -= 8;
            bytes.push(u8::try_from(bits.0 >> bits.1 & 0xff).unwrap());
        }
    }
    bytes
}

/// One way of sending a document.
#[derive(Clone, Copy, Debug)]
enum Way {
    Patch,
    Put,
    Restore,
    Bulk,
}

/// One edit: by whom, how, and which owners it names, if any.
type Edit = (usize, Way, Option<Vec<Value>>);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let owner = (
        prop::sample::select(vec!["anna", "bert", "vera", "eve", "pia", "acme", "globex"]),
        prop::option::weighted(0.5, prop::sample::select(vec!["viewer", "operator", "editor", "owner"])),
    );
    let owner = owner.prop_map(|(id, role)| {
        let kind = if ["acme", "globex"].contains(&id) { "tenant" } else { "user" };
        let mut owner = json!({"id": id, "type": kind});
        if let Some(role) = role {
            owner["role"] = role.into();
        }
        owner
    });
    let owners = prop::option::weighted(0.8, prop::collection::vec(owner, 0..4));
    let way = prop::sample::select(vec![Way::Patch, Way::Patch, Way::Put, Way::Restore, Way::Bulk]);
    prop::collection::vec((0..CALLERS.len(), way, owners), 8)
}

/// The roles by owner, such as `user anna`.
fn roles(owners: &[Value]) -> BTreeMap<String, usize> {
    let names = ["viewer", "operator", "editor", "owner"];
    let role = |owner: &Value| {
        let name = owner["role"].as_str().unwrap_or("owner");
        names.iter().position(|other| *other == name).unwrap()
    };
    let key =
        |owner: &Value| format!("{} {}", owner["type"].as_str().unwrap(), owner["id"].as_str().unwrap());
    owners.iter().map(|owner| (key(owner), role(owner))).collect()
}

#[tokio::test]
async fn no_edit_takes_access_from_anybody_but_by_who_may() {
    let world = &World::start().await;
    let mut runner = TestRunner::deterministic();
    let sequences: Vec<_> = (0..40).map(|_| edits().new_tree(&mut runner).unwrap().current()).collect();
    let counts = join_all(sequences.into_iter().map(|edits| check(world, edits))).await;
    let (made, refused) = counts.into_iter().fold((0, 0), |(a, b), (made, refused)| (a + made, b + refused));
    // Neither is most of it refused nor is everything allowed.
    assert!(made > 50 && refused > 50, "{made} made, {refused} refused");
}

/// Does these edits to a flow of anna's, and looks after each what it may have done; gives how many changed the
/// owners and how many were refused.
async fn check(world: &World, edits: Vec<Edit>) -> (usize, usize) {
    let id = world.create("anna", json!([])).await;
    let (mut made, mut refused) = (0, 0);
    for (place, (by, way, owners)) in edits.into_iter().enumerate() {
        let (sub, of) = CALLERS[by];
        let before = roles(&world.owners(&id).await);
        let own = [before.get(&format!("user {sub}")), before.get(&format!("tenant {of}"))];
        let is_admin = sub == "root";
        let is_steward = is_admin || of == "acme" && own[0] == Some(&3);
        let role = if is_admin { Some(3) } else { own.into_iter().flatten().max().copied() };
        let role = role.map(|role| if of == "acme" || is_admin { role } else { role.min(2) });

        let mut body = complete_flow(&format!("{place} by {sub}"));
        if let Some(owners) = &owners {
            body["owners"] = json!(owners);
        }
        let (function, route, body) = match way {
            Way::Patch => ("update-flow", "PATCH /flows/{id}", body),
            Way::Put => ("replace-flow", "PUT /flows/{id}", body),
            Way::Restore => ("restore-version", "POST /flows/{id}/versions/1/restore", Value::Null),
            Way::Bulk => {
                body["id"] = id.clone().into();
                ("update-flows", "PATCH /flows/bulk", json!([body]))
            }
        };
        let (status, answer) = world.send(sub, function, route, &id, body).await;
        let case = format!("{place}: {way:?} by {sub} of {owners:?}: {before:?} → {status} {answer}");
        let is_made = status == 200 && answer.pointer("/data/0/errors").is_none();
        assert!(!is_made || role.is_some_and(|role| role >= 2), "an editor at least: {case}");
        let list = world.owners(&id).await;
        let after = roles(&list);
        assert_eq!(list.len(), after.len(), "each once: {case}");
        if !is_made {
            assert_eq!(after, before, "{case}");
            refused += 1;
            continue;
        }
        made += usize::from(after != before);
        for (owner, role) in &before {
            let is_less = after.get(owner).is_none_or(|now| now < role);
            assert!(
                !is_less || is_steward && *owner != format!("user {sub}"),
                "{owner} was taken off: {case}"
            );
        }
        for (owner, role) in &after {
            let is_more = before.get(owner).is_none_or(|then| then < role);
            let most = if is_steward { 3 } else { 2 };
            assert!(!is_more || *role <= most, "{owner} was raised: {case}");
            let is_new_tenant = owner.starts_with("tenant") && !before.contains_key(owner);
            assert!(
                !is_new_tenant || is_admin || *owner == format!("tenant {of}"),
                "{owner} is foreign: {case}"
            );
        }
        assert!(after.values().any(|role| *role == 3), "somebody can share it: {case}");
    }
    // What lists say of it is what the head says.
    for (sub, of) in CALLERS {
        let owners = roles(&world.owners(&id).await);
        let is_seen =
            [format!("user {sub}"), format!("tenant {of}")].iter().any(|key| owners.contains_key(key));
        assert_eq!(world.sees(sub, &id).await, is_seen || sub == "root", "{sub}: {owners:?}");
    }
    (made, refused)
}
