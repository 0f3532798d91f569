//! The exchanges that were recorded on Open Integration Hub's flow-repository, replayed here. Each is
//! reproduced, apart from ids and times, or it is in `differences.json` with what happens here and
//! the line of the contract that wants it so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ::local::Options;
use serde::Deserialize;
use serde_json::{Map, Value};
use tests::{ALL, Answer, Api};

const EXCHANGES: &str = include_str!("../compatibility/exchanges.jsonl");
const DIFFERENCES: &str = include_str!("../compatibility/differences.json");
const PAGE: &str = include_str!("../../docs/compatibility.md");
/// The line of the contract that adds a member to most answers.
const TENANT: &str = "`tenant` is set from the token unless the caller is an administrator (**fixed**)";
/// Around what is generated in the page.
const BEGIN: &str = "<!-- begin: generated from tests/compatibility/differences.json -->\n";
const END: &str = "<!-- end -->";

/// What problems have beside upstream's members.
const OF_PROBLEMS: [&str; 5] = ["type", "title", "status", "instance", "requestId"];
const OF_ERRORS: [&str; 4] = ["reason", "pointer", "detail", "fix"];
/// Times before this year were sent by a client.
const YEAR_OF_OUR_TIMES: &str = "2020";
/// Of longer texts only the length is compared.
const MAX_TEXT: usize = 20_000;
/// Longer texts are cut in the table.
const MAX_CELL: usize = 140;

/// A step of the replay: a recorded exchange, or one that was added because the recording left out
/// what a later exchange needs.
#[derive(Deserialize)]
struct Step {
    /// Each part was recorded on an empty database.
    part: String,
    /// Its number in the recording.
    n: Option<u32>,
    label: String,
    #[serde(default)]
    added: bool,
    /// An event on the bus; such a step is no exchange.
    event: Option<Value>,
    #[serde(default)]
    method: String,
    #[serde(default)]
    path: String,
    token: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    /// Where in the body a text of this length goes.
    #[serde(default)]
    fill: BTreeMap<String, usize>,
    /// A body that is sent as it is.
    raw: Option<String>,
    /// A number; upstream did not answer when it is a text.
    #[serde(default)]
    status: Value,
    #[serde(default)]
    response: Value,
}

impl Step {
    fn name(&self) -> String {
        let n = self.n.unwrap_or_default();
        format!("{}/{n} {}", self.part, self.label).trim_end().into()
    }

    fn body(&self) -> Option<String> {
        let mut body = self.body.clone()?;
        for (pointer, length) in &self.fill {
            set(&mut body, pointer, &"x".repeat(*length).into());
        }
        Some(body.to_string())
    }
}

/// An exchange that is not reproduced.
#[derive(Deserialize)]
struct Difference {
    part: String,
    n: u32,
    label: String,
    ours: Ours,
    /// Lines of the contract.
    because: Vec<String>,
}

/// Our answer: the recorded one, but for what is here.
#[derive(Deserialize)]
struct Ours {
    status: Option<u16>,
    body: Option<Value>,
    /// Single members of the body, by their pointers; `*` stands for every element.
    #[serde(default)]
    set: Map<String, Value>,
}

impl Difference {
    fn is_in_the_tenant_alone(&self) -> bool {
        self.because == [TENANT]
    }

    fn is_of(&self, step: &Step) -> bool {
        self.part == step.part && Some(self.n) == step.n && self.label == step.label
    }

    fn answer(&self, recorded: &Step) -> (Value, Value) {
        let status = self.ours.status.map(Into::into);
        let mut body = self.ours.body.clone().unwrap_or(recorded.response.clone());
        for (pointer, value) in &self.ours.set {
            set(&mut body, pointer, value);
        }
        (status.unwrap_or(recorded.status.clone()), body)
    }
}

fn steps() -> Vec<Step> {
    EXCHANGES
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn differences() -> Vec<Difference> {
    serde_json::from_str(DIFFERENCES).expect("a list of differences")
}

/// Sets the member at this pointer.
fn set(body: &mut Value, pointer: &str, value: &Value) {
    let (name, rest) = pointer[1..].split_once('/').unwrap_or((&pointer[1..], ""));
    if rest.is_empty() {
        body[name] = value.clone();
    } else if name == "*" {
        for element in body.as_array_mut().expect("an array") {
            set(element, &format!("/{rest}"), value);
        }
    } else {
        let inner = body.pointer_mut(&format!("/{name}"));
        set(inner.expect(pointer), &format!("/{rest}"), value);
    }
}

/// One part of the recording and the server it is replayed on.
struct Replay {
    api: Api,
    /// Recorded ids and ours.
    ids: Vec<(String, String)>,
}

impl Replay {
    async fn start() -> Self {
        // Totals are compared, and the names are those of the recording.
        let api = Api::start_empty(Options {
            settings: vec![("COMPONENT_CHECK".into(), "at-save".into())],
            orchestrator: false,
            ..Options::default()
        });
        Self { api: api.await, ids: Vec::new() }
    }

    fn token(&self, name: &str) -> String {
        let control = "flows.read,flows.write,flows.control";
        let (sub, tenant, permissions) = match name {
            "adminToken" => ("TestAdmin", "", "all"),
            "permitToken" => ("PermitGuy", "testTenant1", "flows.read,flows.write"),
            "ctlToken" => ("PermitGuy", "testTenant1", control),
            "peerToken" => ("PeerGuy", "testTenant1", control),
            "tadminToken" => ("TAdmin", "testTenant1", "tenant.all"),
            "t2Token" => ("T2Guy", "testTenant2", ALL),
            "noTenantToken" => ("NoTen", "", ALL),
            "nopermsToken" => ("NoPerms", "", ""),
            // Known by another claim than `sub`.
            "idToken" => ("", "", "all"),
            unknown => return unknown.into(),
        };
        self.api.token_of(sub, tenant, permissions)
    }

    async fn send(&mut self, step: &Step) -> (Value, Value) {
        let token = step.token.as_deref().map(|name| self.token(name));
        let mut headers: Vec<_> =
            step.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if step.body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = step.body().or(step.raw.clone()).unwrap_or_default();
        let (path, body) = (self.with_our_ids(&step.path), self.with_our_ids(&body));
        let token = token.unwrap_or_default();
        let answer = self.api.send_raw(&step.method, &path, &token, &headers, body);
        let Answer { status, text, body, .. } = answer.await;
        let body = if body.is_null() { text.into() } else { body };
        if step.method == "POST" && step.path == "/flows" {
            self.learn_ids(&step.response["data"], &body["data"]);
        }
        (status.into(), self.comparable(body))
    }

    fn learn_ids(&mut self, recorded: &Value, ours: &Value) {
        if let (Some(recorded), Some(ours)) = (recorded.as_array(), ours.as_array()) {
            for (recorded, ours) in recorded.iter().zip(ours) {
                self.learn_ids(recorded, ours);
            }
        } else if let (Some(recorded), Some(ours)) = (recorded["id"].as_str(), ours["id"].as_str()) {
            self.ids.push((recorded.into(), ours.into()));
        }
    }

    fn with_our_ids(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (recorded, ours)| text.replace(recorded, ours))
    }

    /// A body with recorded ids, and without what differs between any two answers.
    fn comparable(&self, body: Value) -> Value {
        match body {
            Value::String(text) if text.len() > MAX_TEXT => format!("<{} bytes>", text.len()).into(),
            Value::String(text) => {
                self.ids.iter().fold(text, |text, (recorded, ours)| text.replace(ours, recorded)).into()
            }
            Value::Array(items) => items.into_iter().map(|item| self.comparable(item)).collect(),
            Value::Object(members) => self.comparable_object(members).into(),
            scalar => scalar,
        }
    }

    fn comparable_object(&self, mut members: Map<String, Value>) -> Map<String, Value> {
        if let Some(errors) = members.get_mut("errors").and_then(Value::as_array_mut) {
            for error in errors.iter_mut().filter_map(Value::as_object_mut) {
                error.retain(|name, _| !OF_ERRORS.contains(&name.as_str()));
            }
            members.retain(|name, _| !OF_PROBLEMS.contains(&name.as_str()));
        }
        // New, and in the answer to every write of a flow of which there is something to say.
        if let Some(meta) = members.get_mut("meta").and_then(Value::as_object_mut) {
            meta.remove("warnings");
        }
        // New, both, and in the answer of every flow that runs.
        if members.get("statusSince").and_then(Value::as_str).is_some_and(is_time) {
            members.remove("statusSince");
        }
        if members.contains_key("status") && members.get("runId").and_then(Value::as_str).is_some_and(is_id) {
            members.remove("runId");
        }
        let members = members.into_iter().map(|(name, value)| {
            let value = self.comparable(value);
            let text = value.as_str().unwrap_or_default();
            let value = match name.as_str() {
                "createdAt" | "updatedAt" if is_time(text) && text >= YEAR_OF_OUR_TIMES => "<time>".into(),
                "id" if is_id(text) && !self.ids.iter().any(|(recorded, _)| recorded == text) => {
                    "<id>".into()
                }
                "next" if !text.is_empty() => "<cursor>".into(),
                "version" if text == env!("CARGO_PKG_VERSION") => "<version>".into(),
                _ => value,
            };
            (name, value)
        });
        members.collect()
    }

    async fn deliver(&self, event: &Value) {
        let event: Value = serde_json::from_str(&self.with_our_ids(&event.to_string())).expect("an event");
        let kind = event["detail-type"].as_str().expect("a kind of event");
        self.api.deliver(&self.api.token("marker", "", ALL), kind, event["detail"].clone()).await;
    }
}

/// `2026-11-22T00:56:38.095Z`
fn is_time(text: &str) -> bool {
    let pattern = "0000-00-00T00:00:00.000Z";
    text.len() == pattern.len()
        && text
            .chars()
            .zip(pattern.chars())
            .all(|(given, expected)| given == expected || expected == '0' && given.is_ascii_digit())
}

fn is_id(text: &str) -> bool {
    text.len() == 24 && text.chars().all(|digit| digit.is_ascii_hexdigit())
}

#[tokio::test]
async fn at_save_every_exchange_is_reproduced_or_differs_as_listed() {
    let (steps, differences) = (steps(), differences());
    let parts: BTreeSet<_> = steps.iter().map(|step| step.part.as_str()).collect();
    let mut wrong = String::new();
    for part in parts {
        let mut replay = Replay::start().await;
        for step in steps.iter().filter(|step| step.part == part) {
            if let Some(event) = &step.event {
                replay.deliver(event).await;
                continue;
            }
            // A preflight is the gateway's.
            if step.method == "OPTIONS" && !replay.api.is_local() {
                continue;
            }
            let ours = replay.send(step).await;
            if step.added {
                assert_eq!(ours.0, step.status, "{}: {}", step.name(), ours.1);
                continue;
            }
            let comparable = |(status, body)| (status, replay.comparable(body));
            let recorded = comparable((step.status.clone(), step.response.clone()));
            let difference = differences.iter().find(|listed| listed.is_of(step));
            let expected = difference.map_or(recorded.clone(), |listed| comparable(listed.answer(step)));
            let name = step.name();
            if difference.is_some() && ours == recorded {
                writeln!(wrong, "{name}: is listed, but reproduced").unwrap();
            } else if ours != expected {
                let (status, body) = &ours;
                writeln!(
                    wrong,
                    "{name}:\n  expected {} {}\n  answered {status} {body}",
                    expected.0, expected.1
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_difference_is_of_one_exchange_and_has_its_reason() {
    let steps = steps();
    let mut seen = BTreeSet::new();
    for listed in differences() {
        let name = format!("{}/{} {}", listed.part, listed.n, listed.label);
        assert!(steps.iter().any(|step| listed.is_of(step)), "{name}");
        assert!(!listed.because.is_empty(), "{name}");
        assert!(seen.insert((listed.part, listed.n)), "{name} is there twice");
    }
}

#[test]
fn the_page_lists_every_difference() {
    let (steps, differences) = (steps(), differences());
    let expected = table(&steps, &differences);
    let listed = PAGE.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(listed, _)| listed);
    assert!(
        listed == Some(expected.as_str()),
        "between the marks in docs/compatibility.md belongs:\n{BEGIN}{expected}{END}"
    );
}

fn table(steps: &[Step], differences: &[Difference]) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let (mut rows, mut tenant_rows) = (Vec::new(), Vec::new());
    for listed in differences {
        let step = steps.iter().find(|step| listed.is_of(step)).unwrap();
        let (upstream, ours) = cells(step, listed);
        let row = [code(&step.name()), request(step), upstream, ours].join(" | ");
        if listed.is_in_the_tenant_alone() {
            tenant_rows.push(format!("| {row} |\n"));
            continue;
        }
        let numbers = listed.because.iter().map(|line| {
            let known = lines.iter().position(|known| known == line);
            let index = known.unwrap_or_else(|| {
                lines.push(line);
                lines.len() - 1
            });
            (index + 1).to_string()
        });
        let numbers = numbers.collect::<Vec<_>>().join(", ");
        rows.push(format!("| {row} | {numbers} |\n"));
    }
    let recorded = steps.iter().filter(|step| !step.added).count();
    let lines = lines.iter().enumerate();
    let lines: String =
        lines.fold(String::new(), |text, (index, line)| format!("{text}{}. {line}\n", index + 1));
    format!(
        "Of {recorded} exchanges, {} are reproduced, {} more but for the member `tenant`, and {} differ.\n\n\
         {lines}\n\
         | exchange | request | upstream | here | line |\n|---|---|---|---|---|\n{}\n\
         ### In the member `tenant` alone\n\n{TENANT}\n\n\
         | exchange | request | upstream | here |\n|---|---|---|---|\n{}",
        recorded - differences.len(),
        tenant_rows.len(),
        rows.len(),
        rows.concat(),
        tenant_rows.concat(),
    )
}

fn request(step: &Step) -> String {
    let mut body = step.body.clone();
    for (pointer, length) in &step.fill {
        set(body.as_mut().unwrap(), pointer, &format!("<{length} bytes>").into());
    }
    let body = body.as_ref().map(show).or(step.raw.clone());
    let text = format!("{} {} {}", step.method, step.path, body.unwrap_or_default());
    code(text.trim_end())
}

/// What upstream answered, and what is answered here.
fn cells(step: &Step, listed: &Difference) -> (String, String) {
    let ours = listed.answer(step);
    if listed.ours.body.is_none() && !listed.ours.set.is_empty() {
        let pointers = listed.ours.set.keys();
        let members = |status: &Value, body: &Value| {
            let members = pointers.clone().map(|pointer| {
                let value = body.pointer(&pointer.replace('*', "0"));
                value.map_or(format!("no {pointer}"), |value| format!("{pointer} {}", show(value)))
            });
            code(&format!("{status}, {}", members.collect::<Vec<_>>().join(", ")))
        };
        return (members(&step.status, &step.response), members(&ours.0, &ours.1));
    }
    let upstream =
        if step.status.is_number() { code(&brief(&step.status, &step.response)) } else { "no answer".into() };
    (upstream, code(&brief(&ours.0, &ours.1)))
}

fn brief(status: &Value, body: &Value) -> String {
    let total = body.pointer("/meta/total");
    let total = total.map_or(String::new(), |total| format!(", total {total}"));
    let text = match body {
        Value::String(text) => text.clone(),
        body if body["data"].is_array() => brief_items(&body["data"]),
        body if body.is_array() => brief_items(body),
        body if body["data"].is_object() => brief_item(&body["data"]),
        body => brief_errors(status, body).unwrap_or_else(|| show(body)),
    };
    format!("{status} {text}{total}").trim_end().to_owned()
}

/// The messages of errors of the usual form.
fn brief_errors(status: &Value, body: &Value) -> Option<String> {
    let errors = body["errors"].as_array()?.iter();
    let messages = errors.map(|error| error["message"].as_str().filter(|_| error["code"] == *status));
    Some(messages.collect::<Option<Vec<_>>>()?.join(" "))
}

fn brief_items(items: &Value) -> String {
    let items: Vec<_> = items.as_array().unwrap().iter().map(brief_item).collect();
    format!("[{}]", items.join(", "))
}

/// Of a flow only its name.
fn brief_item(item: &Value) -> String {
    if !item["graph"].is_object() {
        show(item)
    } else if item["name"].is_string() {
        format!("flow {}", item["name"])
    } else {
        "flow".into()
    }
}

/// JSON on one line, in one order, without the graphs that are no matter.
fn show(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let members = sorted.into_iter().map(|(name, value)| {
                let mut text = show(value);
                if name == "graph" && text.len() > MAX_CELL {
                    text = "…".into();
                }
                format!("\"{name}\":{text}")
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(show).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// A code span in a table, cut to a readable length.
fn code(text: &str) -> String {
    let cut = text.char_indices().nth(MAX_CELL);
    let cut = cut.map(|(end, _)| format!("{}…", &text[..end]));
    let text = cut.as_deref().unwrap_or(text).replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}
