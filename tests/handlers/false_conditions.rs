//! Every route with every kind of condition (RFC 9110, 13.1): one that is not true never acts.

use std::sync::Arc;

use local::template::{Route, Template};
use serde_json::{Value, json};
use shared::flow::ObjectId;
use tests::{ALL, complete_flow};
use tokio::sync::Notify;

use crate::stack::{Fault, Item, Stack, read};

/// What there is at a route for a condition to be about.
enum There {
    /// Something with this entity tag.
    Tagged(String),
    /// Something that has none.
    Untagged,
    /// Nothing.
    Nothing,
    /// Nothing is done there whatever it says.
    Ignored,
}

/// What a route answers to a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    True,
    FalseMatch,
    FalseNoneMatch,
    Malformed,
}
use Verdict::{FalseMatch, FalseNoneMatch, Malformed, True};

/// A request that would be carried out without a condition.
struct Ready {
    id: String,
    token: String,
    body: Value,
    there: There,
}

/// A route as the stack's requests write it.
fn request_line(route: &Route) -> String {
    format!("{} {}", route.method, route.path.replace("{version}", "1"))
}

fn reads(line: &str) -> bool {
    line.starts_with("GET") || line.starts_with("HEAD")
}

struct World {
    stack: Stack,
    anna: String,
}

impl World {
    async fn start() -> Self {
        let stack = Stack::start().await;
        let anna = stack.token("anna", "acme", &format!("{ALL},secrets.secret.readRaw"));
        Self { stack, anna }
    }

    async fn done(&self, function: &str, route: &str, id: &str, body: Value) -> Value {
        let (status, body) = self.stack.request(function, route, id, &self.anna, body).await;
        assert!(matches!(status, 200 | 201), "{route}: {status} {body}");
        body
    }

    async fn flow(&self) -> String {
        let flow = self.done("create-flow", "POST /flows", "", complete_flow("one")).await;
        flow["data"]["id"].as_str().unwrap().to_owned()
    }

    async fn tag(&self, function: &str, route: &str, id: &str) -> String {
        let answer = self.stack.send_with(function, route, id, &self.anna, &[], &Value::Null).await;
        answer["headers"]["etag"].as_str().unwrap_or_else(|| panic!("{route}: {answer}")).to_owned()
    }

    async fn flow_tag(&self, id: &str) -> There {
        There::Tagged(self.tag("get-flow", "GET /flows/{id}", id).await)
    }

    async fn ready(&self, line: &str) -> Ready {
        const NONE: Value = Value::Null;
        let control = |line: &str, id: String| if line.contains("multiple") { json!([id]) } else { NONE };
        let line = &line.replace(" /api/v1", " ");
        let (id, body, there) = match line.trim_start_matches("HEAD ").trim_start_matches("GET ") {
            "/flows" | "/secrets" | "/healthcheck" => (String::new(), NONE, There::Untagged),
            "POST /flows" => (String::new(), complete_flow("new"), There::Untagged),
            "POST /secrets" => {
                let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
                (String::new(), secret, There::Untagged)
            }
            "POST /flows/validate" => (String::new(), complete_flow("new"), There::Ignored),
            "PATCH /flows/bulk" => {
                let id = self.flow().await;
                (String::new(), json!([{"id": id, "name": "two"}]), There::Nothing)
            }
            "POST /flows/multiple/start" => (String::new(), control(line, self.flow().await), There::Nothing),
            "POST /flows/multiple/stop" => {
                let id = self.flow().await;
                self.done("start-flow", "POST /flows/{id}/start", &id, NONE).await;
                (String::new(), control(line, id), There::Nothing)
            }
            "/flows/{id}/versions" | "/flows/{id}/diff" => (self.flow().await, NONE, There::Untagged),
            "/flows/{id}/versions/1" => {
                let id = self.flow().await;
                let tag = self.tag("get-version", "GET /flows/{id}/versions/1", &id).await;
                (id, NONE, There::Tagged(tag))
            }
            "/secrets/{id}/usages" => (self.secret().await, NONE, There::Untagged),
            path if path.contains("/secrets/{id}") => {
                let id = self.secret().await;
                let tag = self.tag("get-secret", "GET /secrets/{id}", &id).await;
                let body = if line.starts_with("PATCH") { json!({"name": "other"}) } else { NONE };
                (id, body, There::Tagged(tag))
            }
            path => {
                let id = self.flow().await;
                if path.ends_with("/stop") {
                    self.done("start-flow", "POST /flows/{id}/start", &id, NONE).await;
                }
                if path.ends_with("/versions/1/restore") {
                    self.done("update-flow", "PATCH /flows/{id}", &id, json!({"name": "two"})).await;
                }
                let mut there = self.flow_tag(&id).await;
                if path == "POST /flows/{id}/restore" {
                    self.done("delete-flow", "DELETE /flows/{id}", &id, NONE).await;
                    // It keeps the tag that it had, and the deletion counts as any other change.
                    let There::Tagged(tag) = &there else { panic!("flows have tags") };
                    let sequence = self.stack.sequence(&id).await;
                    there = There::Tagged(format!("{}.{sequence}\"", definition(tag)));
                }
                let body = match line.split_once(' ').unwrap().0 {
                    "PATCH" => json!({"name": "other"}),
                    "PUT" => complete_flow("other"),
                    _ => NONE,
                };
                (id, body, there)
            }
        };
        Ready { id, body, token: self.anna.clone(), there }
    }

    async fn secret(&self) -> String {
        let secret = json!({"name": "n", "type": "API_KEY", "value": {"key": "k"}});
        let secret = self.done("create-secret", "POST /secrets", "", secret).await;
        secret["data"]["id"].as_str().unwrap().to_owned()
    }

    async fn items(&self) -> Vec<Item> {
        let mut items = self.stack.items().await;
        let key = |item: &Item| ["pk", "sk"].map(|name| item[name].as_s().unwrap().clone());
        items.sort_by_key(key);
        items
    }
}

/// A tag up to the dot, without the last quotation mark: what the definition makes of it.
pub(crate) fn definition(tag: &str) -> &str {
    tag.trim_end_matches('"').split('.').next().unwrap()
}

/// Conditions, and what they are when this is there.
fn conditions(there: &There) -> Vec<(Vec<(&'static str, String)>, Verdict)> {
    const IM: &str = "if-match";
    const INM: &str = "if-none-match";
    let mut cases: Vec<(Vec<(&str, String)>, Verdict)> = Vec::new();
    let mut add = |verdict: Verdict, headers: &[(&'static str, &str)]| {
        cases.push((headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), verdict));
    };
    for header in [IM, INM] {
        for malformed in ["", "x", "\"x", "*, \"a\"", "\"a\" \"b\"", "W/x", "\"a b\"", ",", "w/\"a\""] {
            add(Malformed, &[(header, malformed)]);
        }
    }
    match there {
        There::Tagged(tag) => {
            let first = definition(tag);
            let weak = format!("W/{tag}");
            add(True, &[(IM, tag)]);
            add(True, &[(IM, "*")]);
            add(True, &[(IM, &format!("{first}\""))]);
            add(True, &[(IM, &format!("{first}.0\""))]);
            add(True, &[(IM, &format!("\"0-x\",, {tag} , W/\"b,c\""))]);
            add(True, &[(INM, "\"0-x\"")]);
            add(True, &[(IM, tag), (INM, "\"0-x\"")]);
            add(FalseMatch, &[(IM, "\"0-x\"")]);
            add(FalseMatch, &[(IM, &weak)]);
            add(FalseMatch, &[(IM, "\"0-x\""), (INM, "*")]);
            add(FalseNoneMatch, &[(INM, "*")]);
            add(FalseNoneMatch, &[(INM, tag)]);
            add(FalseNoneMatch, &[(INM, &weak)]);
            add(FalseNoneMatch, &[(INM, &format!("\"0-x\", {tag}"))]);
            add(FalseNoneMatch, &[(INM, &format!("{}.gz\"", tag.trim_end_matches('"')))]);
            add(FalseNoneMatch, &[(IM, tag), (INM, "*")]);
        }
        There::Untagged => {
            add(True, &[(IM, "*")]);
            add(True, &[(INM, "\"0-x\"")]);
            add(FalseMatch, &[(IM, "\"0-x\"")]);
            add(FalseNoneMatch, &[(INM, "*")]);
        }
        There::Nothing => {
            add(True, &[(INM, "*")]);
            add(True, &[(INM, "\"0-x\"")]);
            add(FalseMatch, &[(IM, "*")]);
            add(FalseMatch, &[(IM, "\"0-x\"")]);
        }
        There::Ignored => add(True, &[(IM, "\"0-x\""), (INM, "*")]),
    }
    if let There::Ignored = there {
        cases.retain(|(_, verdict)| *verdict == True);
    }
    cases
}

impl World {
    /// Sends a request under these conditions; gives the answer, and whether the table is another one then.
    async fn send(
        &self,
        (function, line): (&str, &str),
        ready: &Ready,
        headers: &[(&'static str, String)],
    ) -> (Value, bool) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let before = self.items().await;
        let Ready { id, token, body, .. } = ready;
        let answer = self.stack.send_with(function, line, id, token, &headers, body).await;
        (answer, self.items().await != before)
    }
}

#[tokio::test]
async fn no_route_acts_on_a_false_condition() {
    let template = Template::read(&local::checkout().join("template.yaml")).unwrap();
    let mut cases = 0;
    for route in template.routes.iter().filter(|route| route.path != "$default") {
        let world = World::start().await;
        let (function, line) = (route.function.as_str(), request_line(route));
        // Who was given a value is written down.
        let acts = !reads(&line) && line != "POST /flows/validate" || line.ends_with("/secrets/{id}");
        let ready = world.ready(&line).await;
        for (number, (headers, verdict)) in conditions(&ready.there).into_iter().enumerate() {
            let case = format!("{line} {headers:?}");
            cases += 1;
            if verdict == True {
                // What is carried out can be carried out once.
                let ready = world.ready(&line).await;
                let (headers, _) = &conditions(&ready.there)[number];
                let (answer, is_changed) = world.send((function, &line), &ready, headers).await;
                let (status, told) = read(&answer);
                assert!((200..300).contains(&status), "{case}: {status} {told}");
                assert_eq!(is_changed, acts, "{case}");
                continue;
            }
            let (answer, is_changed) = world.send((function, &line), &ready, &headers).await;
            let (status, told) = read(&answer);
            let expected = match verdict {
                Malformed => 400,
                FalseNoneMatch if reads(&line) => 304,
                _ => 412,
            };
            assert_eq!(status, expected, "{case}: {told}");
            assert!(!is_changed, "{case}");
            let tag = answer["headers"]["etag"].as_str();
            let creates = line.starts_with("PUT") && headers.contains(&("if-none-match", "*".to_owned()));
            match &ready.there {
                _ if verdict == Malformed && line.starts_with("HEAD") => {}
                _ if verdict == Malformed => {
                    let message = told["errors"][0]["message"].as_str().unwrap_or_default().to_lowercase();
                    assert_eq!(message, format!("invalid {} parameter", headers[0].0), "{case}");
                }
                // Who is to create is not told what is there.
                There::Tagged(_) if creates => assert_eq!(tag, None, "{case}"),
                There::Tagged(current) => assert_eq!(tag, Some(current.as_str()), "{case}: {told}"),
                _ => assert_eq!(tag, None, "{case}"),
            }
            if expected == 304 {
                let body = answer["body"].as_str().unwrap_or_default();
                assert_eq!((body, &answer["headers"]["content-type"]), ("", &Value::Null), "{case}");
            }
            if !reads(&line) {
                let only = format!("{line}?validateOnly=true");
                let (answer, _) = world.send((function, &only), &ready, &headers).await;
                assert_eq!(read(&answer).0, expected, "{case}, only validated");
            }
        }
    }
    assert!(cases > 500, "{cases}");
}

#[tokio::test]
async fn a_condition_that_becomes_false_before_the_write_is_false() {
    const NONE: Value = Value::Null;
    let world = World::start().await;
    for (function, route) in [
        ("start-flow", "POST /flows/{id}/start"),
        ("update-flow", "PATCH /flows/{id}"),
        ("replace-flow", "PUT /flows/{id}"),
        ("delete-flow", "DELETE /flows/{id}"),
        ("update-secret", "PATCH /secrets/{id}"),
    ] {
        let Ready { id, token, body, there } = world.ready(route).await;
        let There::Tagged(tag) = there else { panic!("{route}") };
        let headers = [("if-match", tag.as_str())];
        let gate = Arc::<Notify>::default();
        world.stack.dynamodb.fail([Fault::Pass, Fault::Wait(gate.clone())]);
        let slow = world.stack.send_with(function, route, &id, &token, &headers, &body);
        let overtaking = async {
            while world.stack.dynamodb.waiting() == 0 {
                tokio::task::yield_now().await;
            }
            let (other, route) = match function {
                "update-secret" => ("update-secret", "PATCH /secrets/{id}"),
                _ => ("update-flow", "PATCH /flows/{id}"),
            };
            world.done(other, route, &id, json!({"name": "faster"})).await;
            gate.notify_one();
        };
        let (answer, ()) = tokio::join!(slow, overtaking);
        let (get, route_of_it) = match function {
            "update-secret" => ("get-secret", "GET /secrets/{id}"),
            _ => ("get-flow", "GET /flows/{id}"),
        };
        let now = world.stack.send_with(get, route_of_it, &id, &token, &[], &NONE).await;
        let (status, told) = read(&answer);
        assert_eq!((status, &answer["headers"]["etag"]), (412, &now["headers"]["etag"]), "{route}: {told}");
        let shown = read(&now).1;
        assert_eq!(shown["data"]["name"], "faster", "{route}");
        assert!(shown["data"]["status"].is_null() || shown["data"]["status"] == "inactive", "{route}");
    }
}

#[tokio::test]
async fn what_comes_before_a_condition_and_what_comes_after() {
    let world = World::start().await;
    let strangers = world.stack.token("eve", "globex", ALL);
    let viewer = world.stack.token("vera", "acme", "flows.read");
    let id = world.flow().await;
    let stale = ("if-match", "\"0-x\"");
    let send = async |route: &str, id: &str, token: &str, body: Value| {
        let function = match route.split_once(' ').unwrap() {
            ("PATCH", _) => "update-flow",
            ("PUT", _) => "replace-flow",
            ("DELETE", _) => "delete-flow",
            (_, path) if path.ends_with("start") => "start-flow",
            _ => "stop-flow",
        };
        let (status, told, _) = world.stack.request_with(function, route, id, token, stale, body).await;
        (status, told["errors"][0]["reason"].as_str().unwrap_or_default().to_owned())
    };
    let other = ObjectId::generate().to_string();
    let (change, wrong) = (json!({"name": "two"}), json!({"graph": {}}));
    for (route, body) in [
        ("PATCH /flows/{id}", &change),
        ("PUT /flows/{id}", &wrong),
        ("DELETE /flows/{id}", &Value::Null),
        ("POST /flows/{id}/start", &Value::Null),
        ("POST /flows/{id}/stop", &Value::Null),
    ] {
        assert_eq!(send(route, &id, "", body.clone()).await.0, 401, "{route}");
        assert_eq!(send(route, &id, &viewer, body.clone()).await.0, 403, "{route}");
        assert_eq!(send(route, &other, &world.anna, body.clone()).await.0, 404, "{route}");
        assert_eq!(send(route, &id, &strangers, body.clone()).await.0, 404, "{route}");
        assert_eq!(
            send(route, &id, &world.anna, body.clone()).await,
            (412, "flow.changed".into()),
            "{route}"
        );
    }
    assert_eq!(send("PATCH /flows/{id}", &id, &world.anna, json!([])).await.0, 400, "a body that is none");
    assert_eq!(send("PATCH /flows/{id}", &id, &world.anna, wrong.clone()).await.0, 412, "before the rules");
    world.done("start-flow", "POST /flows/{id}/start", &id, Value::Null).await;
    for (route, body) in
        [("PATCH /flows/{id}", change), ("PUT /flows/{id}", wrong), ("DELETE /flows/{id}", Value::Null)]
    {
        assert_eq!(send(route, &id, &world.anna, body).await.0, 412, "{route}: before its state");
    }
    assert_eq!(send("PATCH /flows/{id}", &id, &world.anna, json!({"name": "one"})).await.0, 200, "in effect");
}

#[tokio::test]
async fn what_was_reviewed_is_started_and_nothing_else() {
    let world = World::start().await;
    let id = world.flow().await;
    let There::Tagged(reviewed) = world.flow_tag(&id).await else { panic!("flows have tags") };
    let start = async |tag: &str| {
        let route = "POST /flows/{id}/start";
        world.stack.request_if("start-flow", route, &id, &world.anna, tag, Value::Null).await
    };
    world.done("update-flow", "PATCH /flows/{id}", &id, json!({"name": "two"})).await;
    let (status, told, headers) = start(&reviewed).await;
    assert_eq!((status, &told["errors"][0]["changedBy"]), (412, &json!("anna")), "{told}");
    let (status, _, started) = start(headers["etag"].as_str().unwrap()).await;
    assert_eq!(status, 200);
    let [before, after] = [&headers, &started].map(|headers| headers["etag"].as_str().unwrap());
    assert_eq!(definition(before), definition(after));
    assert_ne!(before, after, "the answer is another one");
    assert_eq!(start(before).await.0, 200, "as often as it is sent");
    assert_eq!(start(&reviewed).await.0, 412, "what runs is not what was reviewed");
    // Whoever waits for a run to begin sees it.
    let poll = async |tag: &str| {
        let header = ("if-none-match", tag);
        world.stack.request_with("get-flow", "GET /flows/{id}", &id, &world.anna, header, Value::Null).await
    };
    assert_eq!((poll(before).await.0, poll(after).await.0), (200, 304));
    world.stack.deliver("on-flow-status", "flow.started", json!({"id": id})).await.unwrap();
    let (status, seen, _) = poll(after).await;
    assert_eq!((status, &seen["data"]["status"]), (200, &json!("active")));
}

#[tokio::test]
async fn a_new_flow_has_no_state_that_could_match() {
    let world = World::start().await;
    let id = "5ca5c44c187c040010a9bb8b";
    for tag in ["*", "\"0-x\""] {
        let headers = [("if-none-match", "*"), ("if-match", tag)];
        let body = complete_flow("x");
        let answer =
            world.stack.send_with("replace-flow", "PUT /flows/{id}", id, &world.anna, &headers, &body).await;
        assert_eq!(read(&answer).0, 412, "{tag}");
    }
    assert!(world.items().await.is_empty());
}
