//! JSON is what it says: numbers are exact, and what is only written in another way is the same.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::json::{Tree, are_equal};
use tests::ALL;

use crate::stack::{Stack, event};

const MERGE: &str = "application/merge-patch+json";
const OPERATIONS: &str = "application/json-patch+json";
const PATCH: (&str, &str) = ("update-flow", "PATCH /flows/{id}");
const PUT: (&str, &str) = ("replace-flow", "PUT /flows/{id}");
const POST: (&str, &str) = ("create-flow", "POST /flows");
const GET: (&str, &str) = ("get-flow", "GET /flows/{id}");
const DIFF: (&str, &str) = ("compare-versions", "GET /flows/{id}/diff");
const ICCID: &str = "89490200001234567890";
const OTHER_ICCID: &str = "89490200001234567891";

/// What was answered, its body as it was written.
struct Answer {
    status: u64,
    text: String,
    headers: Value,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn etag(&self) -> &str {
        self.headers["etag"].as_str().unwrap()
    }

    /// The flow, as it was written.
    fn data(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Enveloped<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        serde_json::from_str::<Enveloped<'_>>(&self.text).unwrap().data.get().to_owned()
    }
}

/// One user of a stack.
struct User<'a> {
    stack: &'a Stack,
    token: String,
}

impl<'a> User<'a> {
    fn new(stack: &'a Stack, name: &str) -> Self {
        Self { stack, token: stack.token(name, "acme", ALL) }
    }

    /// Sends a body as it is written.
    async fn send(
        &self,
        (function, route): (&str, &str),
        id: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut event = event(route, id, &self.token, &if body.is_empty() { Value::Null } else { json!({}) });
        for (name, value) in headers {
            event["headers"][*name] = (*value).into();
        }
        if !body.is_empty() {
            event["body"] = body.into();
        }
        let answer = self.stack.functions.invoke(function, event).await.unwrap();
        Answer {
            status: answer["statusCode"].as_u64().unwrap(),
            text: answer["body"].as_str().unwrap_or_default().to_owned(),
            headers: answer["headers"].clone(),
        }
    }

    async fn create(&self, body: &str) -> String {
        let answer = self.send(POST, "", &[], body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["data"]["id"].as_str().unwrap().to_owned()
    }

    async fn get(&self, id: &str) -> Answer {
        self.send(GET, id, &[], "").await
    }

    async fn difference(&self, id: &str) -> Value {
        self.send(DIFF, id, &[], "").await.json()["data"].take()
    }

    async fn operations(&self, id: &str) -> String {
        self.send(DIFF, id, &[("accept", OPERATIONS)], "").await.text
    }
}

fn flow_with(fields: &str) -> String {
    format!(r#"{{"name":"n","graph":{{"nodes":[{{"id":"a","fields":{fields}}}]}}}}"#)
}

#[tokio::test]
async fn a_long_number_changes_by_every_kind_of_change_and_the_difference_has_it() {
    let stack = Stack::start().await;
    let anna = &User::new(&stack, "anna");
    let fields = format!(r#"{{"iccid":{OTHER_ICCID}}}"#);
    let replace =
        format!(r#"[{{"op":"replace","path":"/graph/nodes/0/fields/iccid","value":{OTHER_ICCID}}}]"#);
    let test = format!(
        r#"[{{"op":"test","path":"/graph/nodes/0/fields","value":{{"iccid":{ICCID}.0}}}},{}"#,
        replace.trim_start_matches('[')
    );
    let member = format!(r#"{{"graph":{{"nodes":[{{"id":"a","fields":{fields}}}]}}}}"#);
    for (route, media, body) in [
        (PATCH, OPERATIONS, &replace),
        (PATCH, OPERATIONS, &test),
        (PATCH, MERGE, &member),
        (PATCH, "application/json", &member),
        (PUT, "application/json", &flow_with(&fields)),
    ] {
        let id = anna.create(&flow_with(&format!(r#"{{"iccid":{ICCID}}}"#))).await;
        let before = anna.get(&id).await.etag().to_owned();
        let answer = anna.send(route, &id, &[("content-type", media)], body).await;
        assert_eq!(answer.status, 200, "{media}: {}", answer.text);
        assert!(answer.text.contains(&fields), "{media}: {}", answer.text);
        assert_ne!(answer.etag(), before, "{media}");
        let difference = anna.difference(&id).await;
        assert_eq!(difference["summary"], "1 node changed", "{media}");
        let pointers = &difference["nodes"]["changed"][0]["pointers"];
        assert_eq!(*pointers, json!(["/graph/nodes/0/fields/iccid"]), "{media}");
        assert_eq!(anna.operations(&id).await, replace, "{media}");
        // Who does not know of it is told, exactly.
        let headers = [("content-type", "application/json"), ("if-match", before.as_str())];
        let refused = anna.send(PATCH, &id, &headers, r#"{"name":"m"}"#).await;
        assert_eq!(refused.status, 412);
        assert!(refused.text.contains(&format!(r#""patch":{replace}"#)), "{}", refused.text);
    }
    let id = anna.create(&flow_with(&format!(r#"{{"iccid":{ICCID}}}"#))).await;
    let wrong = format!(r#"[{{"op":"test","path":"/graph/nodes/0/fields/iccid","value":{OTHER_ICCID}}}]"#);
    let answer = anna.send(PATCH, &id, &[("content-type", OPERATIONS)], &wrong).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
}

#[tokio::test]
async fn a_patch_keeps_what_is_beside_what_it_changes_as_it_was_written() {
    const BIG: &str = r#"{ "n":[ 1E2 , -0.0 ] , "\u0061":12345678901234567890123 }"#;
    let stack = Stack::start().await;
    let anna = &User::new(&stack, "anna");
    let at = "/graph/nodes/0/fields";
    for (operation, left) in [
        (format!(r#"{{"op":"replace","path":"{at}/limit","value":2.50}}"#), r#","old":2.50"#),
        (format!(r#"{{"op":"copy","from":"{at}/old","path":"{at}/limit"}}"#), r#","old":2.50"#),
        (format!(r#"{{"op":"move","from":"{at}/old","path":"{at}/limit"}}"#), ""),
    ] {
        let fields = format!(r#"{{ "limit":1, "z": 0.123456789012345678,"big":{BIG}, "old": 2.50 }}"#);
        let id = anna.create(&flow_with(&fields)).await;
        let answer = anna.send(PATCH, &id, &[("content-type", OPERATIONS)], &format!("[{operation}]")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let expected = format!(r#"{{"limit":2.50,"z":0.123456789012345678,"big":{BIG}{left}}}"#);
        assert!(answer.text.contains(&expected), "{}", answer.text);
    }
    let settings = format!(r#"{{ "limit":1, "z": 0.123456789012345678,"big":{BIG} }}"#);
    let id =
        anna.create(&format!(r#"{{"flowSettings":{settings},"graph":{{"nodes":[{{"id":"a"}}]}}}}"#)).await;
    let merge = r#"{"flowSettings":{"limit":2.50,"z":null}}"#;
    let answer = anna.send(PATCH, &id, &[("content-type", MERGE)], merge).await;
    let expected = format!(r#""flowSettings":{{"limit":2.50,"big":{BIG}}}"#);
    assert!(answer.text.contains(&expected), "{}", answer.text);
}

#[tokio::test]
async fn what_is_written_in_another_way_is_no_change() {
    const SENT: &str = r#"{ "c":-0.0, "a": 1.0, "b":[1E2, 1.10, 12345678901234567890123] , "\u0064":"\/ä" }"#;
    const WRITTEN: &str = r#"{"a":1,"b":[100,1.1,12345678901234567890123.0],"c":0,"d":"/\u00e4"}"#;
    let stack = Stack::start().await;
    let anna = &User::new(&stack, "anna");
    let flow = |json: &str| {
        format!(
            r#"{{"name":"n","flowSettings":{json},"graph":{{"nodes":[{{"id":"a","fields":{json},"nodeSettings":{json}}},{{"id":"b"}}],
            "edges":[{{"source":"a","target":"b","config":{{"mapper":{json}}}}}]}}}}"#
        )
    };
    let id = anna.create(&flow(SENT)).await;
    let before = anna.get(&id).await;
    for (route, media) in [(PUT, "application/json"), (PATCH, "application/json"), (PATCH, MERGE)] {
        let answer = anna.send(route, &id, &[("content-type", media)], &flow(WRITTEN)).await;
        assert_eq!((answer.status, answer.etag()), (200, before.etag()), "{media}: {}", answer.text);
        assert_eq!(answer.data(), before.data(), "what is stored stays");
    }
    let versions = anna.send(("list-versions", "GET /flows/{id}/versions"), &id, &[], "").await;
    assert_eq!(versions.json()["data"].as_array().unwrap().len(), 1);
    // Somebody else's condition still holds, whatever an editor has written anew meanwhile.
    let headers = [("content-type", "application/json"), ("if-match", before.etag())];
    let changed =
        anna.send(PUT, &id, &headers, &flow(WRITTEN).replace(r#""name":"n""#, r#""name":"m""#)).await;
    assert_eq!(changed.status, 200);
    assert!(changed.text.contains(WRITTEN), "what comes with a change is kept as it was sent");
    assert_eq!(anna.difference(&id).await["summary"], "Name changed");
    assert_eq!(anna.operations(&id).await, r#"[{"op":"replace","path":"/name","value":"m"}]"#);
    // A flow is found again under the id of one's own.
    let chosen = "5ca5c44c187c040010a9bb8b";
    let create = [("content-type", "application/json"), ("if-none-match", "*")];
    assert_eq!(anna.send(PUT, chosen, &create, &flow(SENT)).await.status, 201);
    assert_eq!(anna.send(PUT, chosen, &create, &flow(WRITTEN)).await.status, 200);
    // Going back to what is there but for its writing is no change either.
    anna.send(PUT, &id, &[], &flow(SENT)).await;
    let now = anna.get(&id).await;
    let restore = ("restore-version", "POST /flows/{id}/versions/1/restore");
    assert_eq!(anna.send(restore, &id, &[], "").await.etag(), now.etag());
}

#[tokio::test]
async fn a_node_that_is_only_written_anew_keeps_its_secret() {
    let stack = Stack::start().await;
    let (anna, bert) = (&User::new(&stack, "anna"), &User::new(&stack, "bert"));
    let secret =
        r#"{"name":"s","type":"API_KEY","value":{"key":"k"},"owners":[{"id":"anna","type":"USER"}]}"#;
    let secret = anna.send(("create-secret", "POST /secrets"), "", &[], secret).await.json();
    let secret = secret["data"]["id"].as_str().unwrap();
    let flow = |name: &str, limit: &str| {
        format!(
            r#"{{"name":"{name}","graph":{{"nodes":[{{"id":"a","credentials_id":"{secret}","fields":{{"limit":{limit}}}}}]}}}}"#
        )
    };
    let id = anna.create(&flow("n", "1.0")).await;
    let renamed = bert.send(PUT, &id, &[], &flow("m", "1")).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    let changed = bert.send(PUT, &id, &[], &flow("m", "2")).await;
    assert_eq!(changed.json()["errors"][0]["reason"], "node.credentials.unknown");
}

#[tokio::test]
async fn a_name_that_comes_twice_is_refused_wherever_json_comes_in() {
    let stack = Stack::start().await;
    let anna = &User::new(&stack, "anna");
    let id = anna.create(&flow_with("{}")).await;
    let secret = r#"{"name":"s","type":"MIXED","value":{"payload":"x"}}"#;
    let secret = anna.send(("create-secret", "POST /secrets"), "", &[], secret).await.json();
    let secret = secret["data"]["id"].as_str().unwrap();
    let twice = r#"{"x":[0,{"a/b":{"u":1,"n":1,"\u006e":2}}]}"#;
    let flow = &flow_with(twice);
    let at = "/graph/nodes/0/fields/x/1/a~1b/n";
    let json = "application/json";
    for (route, id, media, body, pointer) in [
        (POST, "", json, flow, at),
        (POST, "", json, &format!("[{flow}]"), &*format!("/0{at}")),
        (POST, "", json, &flow_with("{}").replace(r#""name":"n""#, r#""name":"n","name":"m""#), "/name"),
        (("validate-flow", "POST /flows/validate"), "", json, flow, at),
        (PUT, &*id, json, flow, at),
        (PATCH, &*id, json, flow, at),
        (PATCH, &*id, MERGE, flow, at),
        (
            PATCH,
            &*id,
            OPERATIONS,
            &format!(r#"[{{"op":"add","path":"/flowSettings","value":{twice}}}]"#),
            "/0/value/x/1/a~1b/n",
        ),
        (
            ("update-flows", "PATCH /flows/bulk"),
            "",
            json,
            &format!(r#"[{{"id":"{id}","flowSettings":{twice}}}]"#),
            "/0/flowSettings/x/1/a~1b/n",
        ),
        (
            ("create-secret", "POST /secrets"),
            "",
            json,
            &format!(r#"{{"name":"s","type":"MIXED","value":{{"payload":{twice}}}}}"#),
            "",
        ),
        (
            ("update-secret", "PATCH /secrets/{id}"),
            secret,
            json,
            &format!(r#"{{"value":{{"payload":{twice}}}}}"#),
            "",
        ),
    ] {
        let answer = anna.send(route, id, &[("content-type", media)], body).await;
        let told = answer.json();
        let error = &told["errors"][0];
        assert_eq!(
            (answer.status, error["reason"].as_str(), error["pointer"].as_str()),
            (400, Some("body.repeated_name"), Some(pointer)),
            "{route:?} {media}: {told}"
        );
    }
}

#[tokio::test]
async fn edges_side_by_side_are_told_apart_by_what_they_say() {
    let stack = Stack::start().await;
    let anna = &User::new(&stack, "anna");
    let [x, y] = ["x", "y"].map(|condition| {
        format!(
            r#"{{"source":"a","target":"b","config":{{"condition":"{condition}","mapper":{{"n":1.0}}}}}}"#
        )
    });
    let flow = |edges: &[&str]| {
        let edges = edges.join(",");
        format!(r#"{{"graph":{{"nodes":[{{"id":"a"}},{{"id":"b"}}],"edges":[{edges}]}}}}"#)
    };
    let id = anna.create(&flow(&[&x, &y])).await;
    assert_eq!(anna.send(PUT, &id, &[], &flow(&[&y.replace("1.0", "1")])).await.status, 200);
    let difference = anna.difference(&id).await;
    assert_eq!(difference["summary"], "1 edge removed");
    assert_eq!(difference["edges"]["removed"][0]["pointer"], "/graph/edges/0");
    assert_eq!(anna.operations(&id).await, r#"[{"op":"remove","path":"/graph/edges/0"}]"#);
    anna.send(PUT, &id, &[], &flow(&[&x, &y])).await;
    assert_eq!(anna.send(PUT, &id, &[], &flow(&[&y, &x])).await.status, 200);
    let difference = anna.difference(&id).await;
    assert_eq!(difference["summary"], "Layout changed");
    assert_eq!(difference["layout"], json!(["/graph/edges"]));
    assert_eq!(difference["edges"], json!({"added": [], "removed": [], "changed": []}));
}

#[tokio::test]
async fn a_request_that_is_written_in_another_way_is_the_same_request() {
    let stack = Stack::start().await;
    let anna = &User::new(&stack, "anna");
    let key = [("content-type", "application/json"), ("idempotency-key", "k")];
    let first = anna.send(POST, "", &key, &flow_with(r#"{"a":1.0,"b":[100]}"#)).await;
    let again = anna.send(POST, "", &key, &flow_with(r#"{ "b":[1e2],"a":1 }"#)).await;
    assert_eq!((again.status, &again.text), (201, &first.text));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = anna.send(POST, "", &key, &flow_with(r#"{"a":1.5,"b":[100]}"#)).await;
    assert_eq!(other.status, 422, "{}", other.text);
}

/// Any JSON as text, with numbers that no double is.
fn free_json() -> impl Strategy<Value = String> {
    let number =
        "-?(0|[1-9][0-9]{0,2}|[1-9][0-9]{15,22})(\\.[0-9]{1,2}|\\.[0-9]{15,20})?([eE][+-]?[0-9]{1,2})?";
    let quoted = |text: String| Value::from(text).to_string();
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        number,
        "[a-c/\\\\\"ä€\u{1}\u{1f600}]{0,3}".prop_map(quoted),
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        let members = prop::collection::btree_map("[a-c~/]{0,2}", inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|elements| format!("[{}]", elements.join(","))),
            members.prop_map(move |members| {
                let members = members.into_iter().map(|(name, member)| quoted(name) + ":" + &member);
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// Writes the same in some other way, as any program might that reads and writes JSON with exact numbers.
fn rewrite(tree: &Tree, dice: &mut impl FnMut(usize) -> usize, out: &mut String) {
    match tree {
        Tree::Literal(text) if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
            let exponent: i64 = exponent.parse().unwrap();
            let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let written = match dice(4) {
                0 => text.to_string(),
                1 => format!("{integer}.{fraction}0E{exponent:+}"),
                2 => {
                    let sign = if integer.starts_with('-') { "-" } else { "" };
                    let digits = integer.trim_start_matches('-').to_owned() + fraction;
                    let digits = digits.trim_start_matches('0');
                    let digits = if digits.is_empty() { "0" } else { digits };
                    let sign = if digits == "0" { "" } else { sign };
                    format!("{sign}{digits}e{}", exponent - i64::try_from(fraction.len()).unwrap())
                }
                _ if exponent == 0 => {
                    let fraction = fraction.trim_end_matches('0');
                    if fraction.is_empty() { integer.to_owned() } else { format!("{integer}.{fraction}") }
                }
                _ => format!("{mantissa}e{exponent}"),
            };
            out.push_str(&written);
        }
        Tree::Literal(text) => out.push_str(text),
        Tree::Text(text) => write_text(text, dice, out),
        Tree::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                blank(dice, out);
                rewrite(element, dice, out);
                blank(dice, out);
            }
            out.push(']');
        }
        Tree::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            for index in (1..members.len()).rev() {
                members.swap(index, dice(index + 1));
            }
            out.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                blank(dice, out);
                write_text(name, dice, out);
                out.push(':');
                blank(dice, out);
                rewrite(member, dice, out);
            }
            blank(dice, out);
            out.push('}');
        }
    }
}

fn blank(dice: &mut impl FnMut(usize) -> usize, out: &mut String) {
    out.push_str(["", "", "", " ", "\n\t"][dice(5)]);
}

/// What of this leaves it as it is as a merge patch, in which null removes.
fn without_nulls(tree: &Tree) -> Tree {
    match tree {
        Tree::Object(members) => {
            let members = members
                .iter()
                .filter(|(_, member)| !matches!(member, Tree::Literal(text) if &**text == "null"));
            Tree::Object(members.map(|(name, member)| (name.clone(), without_nulls(member))).collect())
        }
        other => other.clone(),
    }
}

fn write_text(text: &str, dice: &mut impl FnMut(usize) -> usize, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '/' if dice(2) == 0 => out.push_str("\\/"),
            '\\' | '"' => out.extend(['\\', character]),
            plain if plain >= ' ' && dice(4) > 0 => out.push(plain),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").unwrap();
                }
            }
        }
    }
    out.push('"');
}

#[tokio::test]
async fn what_was_shown_can_be_sent_back_written_in_any_way_in_every_state() {
    const ROUNDS: usize = 25;
    let stack = Stack::start().await;
    let anna = &User::new(&stack, "anna");
    let secret =
        r#"{"name":"s","type":"API_KEY","value":{"key":"k"},"owners":[{"id":"anna","type":"USER"}]}"#;
    let secret = anna.send(("create-secret", "POST /secrets"), "", &[], secret).await.json();
    let secret = secret["data"]["id"].as_str().unwrap();
    let bert = &User::new(&stack, "bert");
    let mut runner = TestRunner::default();
    let parts = (prop::collection::vec(free_json(), 5), prop::collection::vec(any::<usize>(), 64));
    for _ in 0..ROUNDS {
        let (json, seeds) = parts.new_tree(&mut runner).unwrap().current();
        let mut seeds = seeds.into_iter().cycle();
        let mut dice = |sides: usize| seeds.next().unwrap() % sides;
        let node = |id: &str, json: &str| {
            format!(
                r#"{{"id":"{id}","componentId":"5ca5c44c187c040010a9bb8b","function":"f","fields":{json}}}"#
            )
        };
        let body = format!(
            r#"{{"name":"n/\u00e4","description":null,"cron":"0 6 * * *","flowSettings":{},"graph":{{"nodes":[{},{}],
            "edges":[{{"source":"a","target":"b","config":{{"condition":"c","mapper":{}}}}},{{"id":"1","source":"a","target":"b"}}]}}}}"#,
            json[0],
            node("a", &json[1]).replace(
                r#""function""#,
                &format!(r#""credentials_id":"{secret}","nodeSettings":{},"function""#, json[2])
            ),
            node("b", &json[3]),
            json[4],
        );
        let id = anna.create(&body).await;
        let control = async |what: &str| {
            let function = format!("{what}-flow");
            anna.send((function.as_str(), &format!("POST /flows/{{id}}/{what}")), &id, &[], "").await
        };
        for state in ["inactive", "starting", "active", "stopping"] {
            match state {
                "starting" => assert_eq!(control("start").await.status, 200),
                "active" => stack
                    .deliver("on-flow-status", "flow.started", json!({"id": id}))
                    .await
                    .map(drop)
                    .unwrap(),
                "stopping" => assert_eq!(control("stop").await.status, 200),
                _ => {}
            }
            let shown = anna.get(&id).await;
            assert_eq!(shown.json()["data"]["status"], state);
            let tree = Tree::read(&shown.data()).unwrap();
            // Whoever sends it: what is no change needs no right to what is in it.
            for user in [anna, bert] {
                for (route, media) in [
                    (PUT, "application/json"),
                    (PATCH, "application/json"),
                    (PATCH, MERGE),
                    (PATCH, OPERATIONS),
                ] {
                    let mut written = String::new();
                    if media == MERGE {
                        rewrite(&without_nulls(&tree), &mut dice, &mut written);
                    } else {
                        rewrite(&tree, &mut dice, &mut written);
                        assert!(are_equal(&written, &shown.data()), "{written}\n{}", shown.data());
                    }
                    let sent = match media {
                        OPERATIONS => format!(
                            r#"[{{"op":"test","path":"","value":{written}}},{{"op":"replace","path":"","value":{written}}}]"#
                        ),
                        _ => written,
                    };
                    // Of a state that is long gone: a change would be refused.
                    let headers = [("content-type", media), ("if-match", "\"0-x\"")];
                    let answer = user.send(route, &id, &headers, &sent).await;
                    assert_eq!(answer.status, 200, "{state} {route:?} {media} {sent}: {}", answer.text);
                    assert_eq!((answer.data(), answer.etag()), (shown.data(), shown.etag()));
                }
            }
        }
        // And with a change: what is only written anew is no part of it.
        stack.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();
        let shown = anna.get(&id).await;
        let mut tree = Tree::read(&shown.data()).unwrap();
        let Tree::Object(members) = &mut tree else { panic!("no flow") };
        let name = ("name".to_owned(), Tree::Text("m".into()));
        *members = members.clone().into_iter().chain([name]).collect();
        let mut written = String::new();
        rewrite(&tree, &mut dice, &mut written);
        let headers = [("content-type", "application/json"), ("if-match", shown.etag())];
        let answer = bert.send(PUT, &id, &headers, &written).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(anna.difference(&id).await["summary"], "Name changed");
        assert_eq!(anna.operations(&id).await, r#"[{"op":"replace","path":"/name","value":"m"}]"#);
    }
}
