use std::borrow::Cow;
use std::cell::LazyCell;
use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::shape::Shape;
use super::{Level, Rule, RuleLevels};
use crate::flow::cast::{Reader, shorten};
use crate::flow::parse::more_faults;
use crate::flow::unknown::Unknown;
use crate::flow::{
    ComponentCheck, CredentialCheck, Document, Edge, Fault, Fields, FinalDocument, Help, Schedule,
    StoredDocument, Timestamp, read_fields,
};

/// Diagnostics of one rule.
pub(in crate::flow) const MAX_OF_RULE: usize = 100;
/// Diagnostics of one document.
const MAX_DIAGNOSTICS: usize = 1000;
/// Nodes of a cycle that are named.
const MAX_NAMED: usize = 10;
/// What to do with a schedule that cannot be written so that all read it alike.
const NOT_PORTABLE: &str = "No expression is read alike by both. Use several flows with simpler ones, or turn the rule off where another scheduler runs flows.";
/// Runs of a schedule that are named.
const MAX_RUNS: usize = 5;
/// Half of what a body may be.
const LARGE_BYTES: usize = 512 * 1024;

/// One thing to say about a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// For programs; stable. That of a [`Rule`].
    pub reason: &'static str,
    /// How bad it is.
    pub severity: Level,
    /// Where in the document (RFC 6901).
    pub pointer: String,
    /// The id of the node that this is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// For people.
    pub message: String,
    /// What exactly is wrong, where the message does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Cow<'static, str>>,
    /// When a schedule runs next, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_runs: Option<Vec<String>>,
    /// Where these times are as the schedule says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<&'static str>,
}

impl Diagnostic {
    /// Says this fault, with what to do by its rule.
    #[must_use]
    pub fn of_fault(fault: &Fault, severity: Level, node_id: Option<String>) -> Self {
        Self::new(fault.clone(), severity, node_id)
    }

    fn new(fault: Fault, severity: Level, node_id: Option<String>) -> Self {
        let Fault { message, reason, pointer, help } = fault;
        let Help { detail, fix } = help.map(|help| *help).unwrap_or_default();
        let of_rule = || Rule::find(reason).and_then(|rule| rule.fix).map(Cow::Borrowed);
        let fix = fix.map(Cow::Owned).or_else(of_rule);
        Self { reason, severity, pointer, node_id, message, detail, fix, next_runs: None, time_zone: None }
    }

    /// The same as what refuses a flow.
    #[must_use]
    pub fn into_fault(self) -> Fault {
        let Self { reason, pointer, message, detail, fix, .. } = self;
        // What its rule says is on the rule's page.
        let fix = fix.and_then(|fix| if let Cow::Owned(fix) = fix { Some(fix) } else { None });
        let help = (detail.is_some() || fix.is_some()).then(|| Box::new(Help { detail, fix }));
        Fault { message, reason, pointer, help }
    }

    /// Whether a body's faults have said this already, or leave it open.
    fn is_covered_by(&self, faults: &[Fault]) -> bool {
        faults.iter().any(|fault| {
            let below = self.pointer.strip_prefix(&fault.pointer);
            let is_inside = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (fault.reason == "cast" && is_inside)
                || (fault.reason == self.reason && fault.pointer == self.pointer)
                || (self.reason == "flow.owner.none"
                    && fault.reason != "member.unknown"
                    && fault.pointer.starts_with(&self.pointer))
        })
    }
}

/// The ids of the nodes of a body, which need not be valid.
#[derive(Clone, Debug, Default)]
pub struct NodeIds<'a> {
    nodes: Vec<&'a RawValue>,
    /// Whether the only node is not in a list.
    is_bare: bool,
}

impl<'a> NodeIds<'a> {
    /// Of the body with these members.
    #[must_use]
    pub fn read(body: &Fields<'a>) -> Self {
        let nodes =
            body.get("graph").copied().and_then(read_fields).and_then(|graph| graph.get("nodes").copied());
        let Some(nodes) = nodes else { return Self::default() };
        match serde_json::from_str(nodes.get()) {
            Ok(nodes) => Self { nodes, is_bare: false },
            Err(_) => Self { nodes: vec![nodes], is_bare: true },
        }
    }

    /// The id of the node that a pointer such as `/graph/nodes/3/function` leads into.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<String> {
        let inside = pointer.strip_prefix("/graph/nodes/")?;
        let place = if self.is_bare { 0 } else { inside.split('/').next()?.parse().ok()? };
        node_id(self.nodes.get(place)?)
    }
}

/// The id of a node as it is taken in, if it is one; the beginning of one that is too long.
fn node_id(node: &RawValue) -> Option<String> {
    let fields = read_fields(node)?;
    // What is no id is not worth a message here.
    if fields.get("id")?.get().starts_with(['{', '[']) {
        return None;
    }
    let (faults, unknown) = (&mut Vec::new(), &mut Unknown::default());
    let mut reader = Reader { fields, pointer: String::new(), faults, unknown };
    reader.string("id", usize::MAX).value().filter(|id| !id.is_empty()).map(|id| shorten(id))
}

impl FinalDocument {
    /// The id of the node that a pointer into the body leads into, of which this is the document.
    #[must_use]
    pub fn node_at(&self, pointer: &str) -> Option<&str> {
        let place = pointer.strip_prefix("/graph/nodes/")?.split('/').next()?;
        // The only node may stand without a list.
        let node = self.graph.nodes.get(place.parse::<usize>().unwrap_or_default())?;
        Some(node.id.as_str()).filter(|id| !id.is_empty())
    }

    /// Everything to say about a valid document: what it lacks to run, in the document's order; then rule by
    /// rule, each in the document's order, literal credentials, the shape of its graph, and its schedule.
    /// At most 100 of a rule and 1,000 in all, and then that there are more. What is less bad than `at_least`
    /// is not looked for.
    #[must_use]
    pub fn diagnose(
        &self,
        levels: &RuleLevels,
        component_check: ComponentCheck,
        credential_check: CredentialCheck,
        at_least: Level,
        now: Timestamp,
    ) -> Vec<Diagnostic> {
        let mut said = Said { document: self, levels, at_least, found: Vec::new(), left_out: Level::Off };
        let lacking = match component_check {
            ComponentCheck::AtStart => Level::Warning,
            ComponentCheck::AtSave => Level::Error,
        };
        let nodes = self.graph.nodes.iter().enumerate();
        said.say(
            lacking,
            nodes.flat_map(|(place, node)| {
                node.missing_to_run(&node_pointer(place)).map(move |fault| (fault, Some(place)))
            }),
        );
        said.say(Level::Warning, self.lacks_owner().then(|| (no_owner(), None)));
        let credentials = match credential_check {
            CredentialCheck::Warn => Level::Warning,
            CredentialCheck::Refuse => Level::Error,
        };
        said.say(
            credentials,
            std::iter::once_with(|| self.literal_credentials()).flatten().map(|fault| {
                let place = fault.pointer.split('/').nth(3).and_then(|place| place.parse().ok());
                (fault, place)
            }),
        );
        said.say_edges();
        said.say_shape();
        said.say_cron_and_size(now);
        said.all()
    }

    /// The same of a draft: what rules that can still be looked at find beside the faults of its body.
    #[must_use]
    pub fn diagnose_beside(
        &self,
        faults: &[Fault],
        levels: &RuleLevels,
        (component_check, credential_check): (ComponentCheck, CredentialCheck),
        at_least: Level,
        now: Timestamp,
    ) -> Vec<Diagnostic> {
        if faults.iter().any(|fault| fault.reason == "more_faults") {
            return Vec::new();
        }
        let mut found = self.diagnose(levels, component_check, credential_check, at_least, now);
        found.retain(|found| !found.is_covered_by(faults));
        found
    }
}

/// What is said about a document so far.
struct Said<'a> {
    document: &'a FinalDocument,
    levels: &'a RuleLevels,
    at_least: Level,
    found: Vec<Diagnostic>,
    /// The worst of what is left out.
    left_out: Level,
}

impl<'a> Said<'a> {
    /// Says these, of the node in this place, until there are too many of a rule.
    fn say(&mut self, severity: Level, faults: impl IntoIterator<Item = (Fault, Option<usize>)>) {
        if severity < self.at_least {
            return;
        }
        let mut counts = HashMap::new();
        for (fault, node) in faults {
            let count = counts.entry(fault.reason).or_insert(0);
            *count += 1;
            if *count > MAX_OF_RULE {
                self.left_out = self.left_out.max(severity);
                return;
            }
            let node_id = node.and_then(|place| self.node_id(place)).map(Into::into);
            self.found.push(Diagnostic::new(fault, severity, node_id));
        }
    }

    /// Says what this adjustable rule finds, which is looked for only if anybody wants to know.
    fn say_of<I>(&mut self, reason: &'static str, find: impl FnOnce(&'a FinalDocument) -> I)
    where
        I: IntoIterator<Item = (String, Option<usize>, String)>,
    {
        let Some(severity) = self.wanted(reason) else { return };
        let found = find(self.document).into_iter();
        let fault = |pointer, message| Fault { message, reason, pointer, help: None };
        self.say(severity, found.map(|(pointer, node, message)| (fault(pointer, message), node)));
    }

    /// The level of this adjustable rule, if anybody wants to know.
    fn wanted(&self, reason: &'static str) -> Option<Level> {
        let level = Rule::find(reason).map_or(Level::Off, |rule| self.levels.of(rule));
        (level >= self.at_least).then_some(level)
    }

    fn node_id(&self, place: usize) -> Option<&'a str> {
        self.document.graph.nodes.get(place).map(|node| node.id.as_str()).filter(|id| !id.is_empty())
    }

    fn say_edges(&mut self) {
        self.say_of("edge.self", |document| {
            let looped = edges(document).filter(|(_, edge)| edge.has_ends() && edge.source == edge.target);
            looped.map(|(place, edge)| {
                let message = format!("Edge leads from node \"{}\" to itself.", edge.source);
                (edge_pointer(place), None, message)
            })
        });
        self.say_of("edge.duplicate", |document| {
            let mut firsts = HashMap::new();
            edges(document).filter(|(_, edge)| edge.has_ends()).filter_map(move |(place, edge)| {
                let first = *firsts.entry((&edge.source, &edge.target, condition(edge))).or_insert(place);
                let Edge { source, target, .. } = edge;
                let message = || {
                    let first = edge_pointer(first);
                    format!("Edge from \"{source}\" to \"{target}\" is there already, at {first}.")
                };
                (first != place).then(|| (edge_pointer(place), None, message()))
            })
        });
        self.say_of("edge.id.duplicate", |document| {
            let mut firsts = HashMap::new();
            edges(document).filter_map(move |(place, edge)| {
                let id = edge.id.value().filter(|id| !id.is_empty())?;
                let first = *firsts.entry(id).or_insert(place);
                let pointer = || format!("{}/id", edge_pointer(place));
                (first != place)
                    .then(|| (pointer(), None, format!("Flow edge id \"{id}\" is used more than once.")))
            })
        });
    }

    fn say_shape(&mut self) {
        let document = self.document;
        let shape = LazyCell::new(|| Shape::of(&document.graph));
        let starts = LazyCell::new(|| shape.starts());
        let id =
            |place: usize| document.graph.nodes.get(place).map(|node| node.id.as_str()).unwrap_or_default();
        let at = |place: usize, message| (node_pointer(place), Some(place), message);
        self.say_of("graph.cycle", |_| {
            shape.cycles().into_iter().filter_map(move |cycle| {
                let first = *cycle.first()?;
                let mut names: Vec<_> = cycle.iter().take(MAX_NAMED).map(|place| id(*place)).collect();
                if cycle.len() > MAX_NAMED {
                    names.push("…");
                }
                names.push(id(first));
                let message = format!("{} nodes feed each other: {}.", cycle.len(), names.join(" → "));
                Some(at(first, message))
            })
        });
        self.say_of("graph.no_start", |_| {
            let has_none = starts.is_empty() && !document.graph.nodes.is_empty();
            has_none.then(|| {
                let message = "Every node has an incoming edge, so none starts the flow.";
                ("/graph/nodes".into(), None, message.into())
            })
        });
        self.say_of("graph.several_starts", |_| {
            // An edge to itself is one that comes in, to who looks for the node to start.
            let started = starts.iter().find(|place| !shape.is_looped(**place)).or(starts.first());
            let others: Vec<_> = starts.iter().filter(|place| Some(*place) != started).collect();
            let mut names: Vec<_> =
                others.iter().take(MAX_NAMED).map(|place| format!("\"{}\"", id(**place))).collect();
            if others.len() > MAX_NAMED {
                names.push(format!("{} more", others.len() - MAX_NAMED));
            }
            let first = others.first().map(|place| **place).filter(|_| shape.is_whole());
            first.zip(started).map(|(first, started)| {
                let message = format!(
                    "Only node \"{}\" is started. No edge leads to these either: {}.",
                    id(*started),
                    names.join(", ")
                );
                at(first, message)
            })
        });
        self.say_of("graph.unreachable", |_| {
            let is_known = !starts.is_empty() && shape.is_whole();
            let unreachable = if is_known { shape.unreachable(&starts) } else { Vec::new() };
            unreachable.into_iter().map(move |place| {
                at(place, format!("No node that starts the flow leads to node \"{}\".", id(place)))
            })
        });
    }

    fn say_cron_and_size(&mut self, now: Timestamp) {
        let document = self.document;
        let schedule = document.cron.value();
        let never = LazyCell::new(|| schedule.is_some_and(Schedule::never_runs));
        let of_cron = |message: &str, reason, help: Option<Help>| {
            let help = help.map(Box::new);
            (Fault { message: message.into(), reason, pointer: "/cron".into(), help }, None)
        };
        if let Some(level) = self.wanted("flow.cron.never") {
            let fix = schedule.filter(|_| *never).map(Schedule::fix_of_never);
            let fault = fix.map(|fix| {
                let help = fix.map(|fix| Help { detail: None, fix: Some(fix.into()) });
                of_cron("Cron expression is valid, but has no next run.", "flow.cron.never", help)
            });
            self.say(level, fault);
        }
        if let Some(level) = self.wanted("flow.cron.portable") {
            let help = schedule.and_then(Schedule::elsewhere).filter(|_| !*never).map(|mut help| {
                help.fix.get_or_insert_with(|| NOT_PORTABLE.into());
                help
            });
            let message = "Another scheduler reads the cron expression otherwise.";
            self.say(level, help.map(|help| of_cron(message, "flow.cron.portable", Some(help))));
        }
        self.say_of("flow.size", |document| {
            let bytes = document.json().map_or(0, str::len);
            (bytes > LARGE_BYTES).then(|| {
                let message = format!("Flow has {} KiB, and a body at most 1024.", bytes / 1024);
                (String::new(), None, message)
            })
        });
        if Level::Info < self.at_least || *never {
            return;
        }
        let runs = schedule.map(|schedule| schedule.next_runs(now, MAX_RUNS)).unwrap_or_default();
        if let Some(next) = runs.first() {
            let message = format!("Runs next at {next}.");
            let (fault, _) = of_cron(&message, "flow.cron.schedule", None);
            self.found.push(Diagnostic {
                next_runs: Some(runs),
                time_zone: Some("UTC"),
                ..Diagnostic::new(fault, Level::Info, None)
            });
        }
    }

    fn all(mut self) -> Vec<Diagnostic> {
        let beyond = self.found.drain(MAX_DIAGNOSTICS.min(self.found.len())..);
        let left_out =
            beyond.map(|diagnostic| diagnostic.severity).max().unwrap_or(Level::Off).max(self.left_out);
        if left_out > Level::Off {
            self.found.push(Diagnostic::new(more_faults(), left_out, None));
        }
        self.found
    }
}

fn no_owner() -> Fault {
    Fault {
        message: "Nobody has the role owner any more.".into(),
        reason: "flow.owner.none",
        pointer: "/owners".into(),
        help: None,
    }
}

fn node_pointer(place: usize) -> String {
    format!("/graph/nodes/{place}")
}

fn edge_pointer(place: usize) -> String {
    format!("/graph/edges/{place}")
}

fn edges(document: &Document) -> impl Iterator<Item = (usize, &Edge)> {
    document.graph.edges.value().into_iter().flatten().enumerate()
}

fn condition(edge: &Edge) -> Option<&str> {
    edge.config.value()?.condition.value().map(String::as_str).filter(|condition| !condition.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::Field;

    /// 2026-07-28T10:20:30.400Z
    const NOW: Timestamp = Timestamp::from_millis(1_785_234_030_400);

    fn document(body: &serde_json::Value) -> FinalDocument {
        let text = body.to_string();
        Document::parse(serde_json::from_str(&text).unwrap(), ComponentCheck::AtStart.into())
            .unwrap()
            .document
            .into()
    }

    /// A flow of nodes that can run and of edges such as `ab`.
    fn graph(nodes: &str, edges: &[&str]) -> FinalDocument {
        let nodes: Vec<_> = nodes
            .chars()
            .map(|id| json!({"id": id, "function": "run", "componentId": "5ca5c44c187c040010a9bb8b"}))
            .collect();
        let edges: Vec<_> =
            edges.iter().map(|ends| json!({"source": ends[..1], "target": ends[1..]})).collect();
        document(&json!({"graph": {"nodes": nodes, "edges": edges}}))
    }

    fn scheduled(cron: &str) -> FinalDocument {
        let mut document = (*graph("a", &[])).clone();
        document.cron = Field::Value(cron.to_owned().into());
        document.into()
    }

    fn diagnose(document: &FinalDocument, levels: &str) -> Vec<Diagnostic> {
        let levels = levels.parse().unwrap();
        document.diagnose(&levels, ComponentCheck::AtStart, CredentialCheck::Warn, Level::Info, NOW)
    }

    fn said(document: &FinalDocument) -> Vec<(&'static str, String, Option<String>, String)> {
        let all = diagnose(document, "").into_iter();
        all.map(|said| (said.reason, said.pointer, said.node_id, said.message)).collect()
    }

    fn line(
        reason: &'static str,
        pointer: &str,
        node: Option<&str>,
        message: &str,
    ) -> (&'static str, String, Option<String>, String) {
        (reason, pointer.into(), node.map(Into::into), message.into())
    }

    #[test]
    fn what_is_said_comes_in_the_order_of_rules_with_the_nodes_it_is_in() {
        let document = document(&json!({
            "cron": "0 6 * * *",
            "graph": {
                "nodes": [{"id": "a", "fields": {"list": [{"pwd": "hunter2"}]}}, {"id": "b", "function": "f"}],
                "edges": [{"source": "a", "target": "b"}],
            },
        }));
        let seen = said(&document);
        let seen: Vec<_> = seen
            .iter()
            .map(|(reason, pointer, node, _)| (*reason, pointer.as_str(), node.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("node.function.required", "/graph/nodes/0/function", Some("a")),
                ("node.componentId.required", "/graph/nodes/0/componentId", Some("a")),
                ("node.componentId.required", "/graph/nodes/1/componentId", Some("b")),
                ("node.fields.credential", "/graph/nodes/0/fields/list/0/pwd", Some("a")),
                ("flow.cron.schedule", "/cron", None),
            ]
        );
        let strict = document.diagnose(
            &RuleLevels::default(),
            ComponentCheck::AtSave,
            CredentialCheck::Refuse,
            Level::Info,
            NOW,
        );
        let severities: Vec<_> = strict.iter().map(|said| said.severity.as_str()).collect();
        assert_eq!(severities, ["error", "error", "error", "error", "info"]);
        // What is less bad is not looked for.
        for (at_least, wanted) in [(Level::Info, 5), (Level::Warning, 4), (Level::Error, 4)] {
            let said = document.diagnose(
                &RuleLevels::default(),
                ComponentCheck::AtSave,
                CredentialCheck::Refuse,
                at_least,
                NOW,
            );
            assert_eq!(said, strict[..wanted], "{at_least:?}");
        }
        let lenient = |at_least| {
            document.diagnose(
                &RuleLevels::default(),
                ComponentCheck::AtStart,
                CredentialCheck::Warn,
                at_least,
                NOW,
            )
        };
        assert_eq!([Level::Info, Level::Warning, Level::Error].map(|level| lenient(level).len()), [5, 4, 0]);
        assert_eq!(
            serde_json::to_value(&strict[0]).unwrap(),
            json!({
                "reason": "node.function.required",
                "severity": "error",
                "pointer": "/graph/nodes/0/function",
                "nodeId": "a",
                "message": "Flow nodes require a function.",
                "fix": "Give the node the `function` of its component that it is to run.",
            })
        );
    }

    #[test]
    fn edges_are_looked_at_one_by_one() {
        let document = document(&json!({"graph": {
            "nodes": [{"id": "a", "function": "f", "componentId": "5ca5c44c187c040010a9bb8b"}],
            "edges": [
                {"id": "1", "source": "a", "target": "a"},
                {"id": "", "source": "a", "target": "a", "config": {"condition": "x"}},
                {"id": "", "source": "a", "target": "a", "config": {"condition": ""}},
                {"id": "1", "source": "a", "target": "a", "config": {"condition": "x"}},
            ],
        }}));
        let itself = "Edge leads from node \"a\" to itself.";
        assert_eq!(
            said(&document),
            [
                line("edge.self", "/graph/edges/0", None, itself),
                line("edge.self", "/graph/edges/1", None, itself),
                line("edge.self", "/graph/edges/2", None, itself),
                line("edge.self", "/graph/edges/3", None, itself),
                line(
                    "edge.duplicate",
                    "/graph/edges/2",
                    None,
                    "Edge from \"a\" to \"a\" is there already, at /graph/edges/0."
                ),
                line(
                    "edge.duplicate",
                    "/graph/edges/3",
                    None,
                    "Edge from \"a\" to \"a\" is there already, at /graph/edges/1."
                ),
                line(
                    "edge.id.duplicate",
                    "/graph/edges/3/id",
                    None,
                    "Flow edge id \"1\" is used more than once."
                ),
            ]
        );
    }

    #[test]
    fn the_shape_of_a_graph_is_judged() {
        assert!(said(&graph("a", &[])).is_empty());
        assert!(said(&graph("abcd", &["ab", "ac", "bd", "cd"])).is_empty());
        assert_eq!(
            said(&graph("bca", &["ab", "bc", "ca"])),
            [
                line("graph.cycle", "/graph/nodes/0", Some("b"), "3 nodes feed each other: b → c → a → b."),
                line(
                    "graph.no_start",
                    "/graph/nodes",
                    None,
                    "Every node has an incoming edge, so none starts the flow."
                ),
            ]
        );
        assert_eq!(
            said(&graph("abcdxy", &["ab", "cb", "dd", "xy", "yx"])),
            [
                line("edge.self", "/graph/edges/2", None, "Edge leads from node \"d\" to itself."),
                line("graph.cycle", "/graph/nodes/4", Some("x"), "2 nodes feed each other: x → y → x."),
                line(
                    "graph.several_starts",
                    "/graph/nodes/2",
                    Some("c"),
                    "Only node \"a\" is started. No edge leads to these either: \"c\", \"d\"."
                ),
                line(
                    "graph.unreachable",
                    "/graph/nodes/4",
                    Some("x"),
                    "No node that starts the flow leads to node \"x\"."
                ),
                line(
                    "graph.unreachable",
                    "/graph/nodes/5",
                    Some("y"),
                    "No node that starts the flow leads to node \"y\"."
                ),
            ]
        );
        let ring =
            graph("abcdefghijkl", &["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi", "ij", "jk", "kl", "la"]);
        assert_eq!(
            said(&ring)[0].3,
            "12 nodes feed each other: a → b → c → d → e → f → g → h → i → j → … → a."
        );
    }

    #[test]
    fn levels_turn_rules_off_or_into_errors() {
        let document = graph("ab", &["ab", "ba", "aa"]);
        let seen = diagnose(&document, "edge.self=off,graph.cycle=error");
        let seen: Vec<_> = seen.iter().map(|said| (said.reason, said.severity)).collect();
        assert_eq!(seen, [("graph.cycle", Level::Error), ("graph.no_start", Level::Warning)]);
    }

    #[test]
    fn a_schedule_tells_its_next_runs() {
        let seen = diagnose(&scheduled("30 6 * * MON-FRI"), "");
        assert_eq!(
            serde_json::to_value(&seen).unwrap(),
            json!([{
                "reason": "flow.cron.schedule",
                "severity": "info",
                "pointer": "/cron",
                "message": "Runs next at 2026-07-29T06:30:00Z.",
                "nextRuns": [
                    "2026-07-29T06:30:00Z",
                    "2026-07-30T06:30:00Z",
                    "2026-07-31T06:30:00Z",
                    "2026-08-03T06:30:00Z",
                    "2026-08-04T06:30:00Z",
                ],
                "timeZone": "UTC",
            }])
        );
        assert_eq!(
            diagnose(&scheduled("30 20 10 * * *"), "")[0].message,
            "Runs next at 2026-07-29T10:20:30Z."
        );
        assert_eq!(diagnose(&scheduled("* * * * * *"), "")[0].message, "Runs next at 2026-07-28T10:20:31Z.");
        assert!(diagnose(&scheduled(""), "").is_empty());
        // A leap day on a Monday, of which there is none for 40 years around 2100.
        let seen = diagnose(&scheduled("0 0 29 2 +1"), "flow.cron.portable=off");
        assert_eq!(
            seen[0].next_runs.as_ref().unwrap()[..3],
            ["2044-02-29T00:00:00Z", "2072-02-29T00:00:00Z", "2112-02-29T00:00:00Z"]
        );
    }

    #[test]
    fn a_schedule_without_runs_is_told() {
        for never in ["0 6 30 2 *", "0 0 31 4,6,9,11 ?", "* * * 30-31 2 *", "0 0 1-7 * +5#2", "0 0 1 1 +0#5"]
        {
            assert_eq!(
                said(&scheduled(never)),
                [line("flow.cron.never", "/cron", None, "Cron expression is valid, but has no next run.")],
                "{never}"
            );
            assert!(diagnose(&scheduled(never), "flow.cron.never=off").is_empty(), "{never}");
        }
        assert_eq!(diagnose(&scheduled("0 6 30 2 *"), "flow.cron.never=error")[0].severity, Level::Error);
    }

    #[test]
    fn a_large_flow_is_told() {
        let with = |bytes: usize| {
            document(&json!({
                "graph": {"nodes": [{
                    "id": "a",
                    "function": "f",
                    "componentId": "5ca5c44c187c040010a9bb8b",
                    "fields": {"text": "x".repeat(bytes)},
                }]},
            }))
        };
        assert!(said(&with(LARGE_BYTES - 1000)).is_empty());
        assert_eq!(
            said(&with(LARGE_BYTES)),
            [line("flow.size", "", None, "Flow has 512 KiB, and a body at most 1024.")]
        );
    }

    #[test]
    fn so_much_is_said_and_no_more() {
        let mut body = json!({"graph": {"nodes": [], "edges": []}});
        for node in 0..500 {
            let fields = json!({"password": "hunter2"});
            body["graph"]["nodes"]
                .as_array_mut()
                .unwrap()
                .push(json!({"id": node.to_string(), "fields": fields}));
            let edge = json!({"id": "e", "source": "0", "target": "0"});
            body["graph"]["edges"].as_array_mut().unwrap().push(edge);
        }
        let seen = diagnose(&document(&body), "edge.self=error");
        let count = |reason| seen.iter().filter(|said| said.reason == reason).count();
        for reason in [
            "node.function.required",
            "node.componentId.required",
            "node.fields.credential",
            "edge.self",
            "edge.duplicate",
            "edge.id.duplicate",
        ] {
            assert_eq!(count(reason), MAX_OF_RULE, "{reason}");
        }
        let last = seen.last().unwrap();
        assert_eq!((last.reason, last.severity, count("more_faults")), ("more_faults", Level::Error, 1));
        assert!(last.fix.is_some());
    }

    #[test]
    fn nodes_are_found_in_bodies_that_are_not_valid() {
        fn ids(body: &str) -> NodeIds<'_> {
            NodeIds::read(&serde_json::from_str(body).unwrap())
        }
        let listed = ids(
            r#"{"graph":{"nodes":[{"id":"a"},7,{"id":12.0},null,{"id":{}},{"id":""},{"id":"b","id":"c"}]}}"#,
        );
        for (pointer, id) in [
            ("/graph/nodes/0", Some("a")),
            ("/graph/nodes/0/fields/x/1", Some("a")),
            ("/graph/nodes/1", None),
            ("/graph/nodes/2/id", Some("12")),
            ("/graph/nodes/3/id", None),
            ("/graph/nodes/4/id", None),
            ("/graph/nodes/5/id", None),
            ("/graph/nodes/6/id", Some("c")),
            ("/graph/nodes/7/id", None),
            ("/graph/nodes/x", None),
            ("/graph/nodes", None),
            ("/graph/edges/0/id", None),
            ("", None),
        ] {
            assert_eq!(listed.at(pointer).as_deref(), id, "{pointer}");
        }
        let bare = ids(r#"{"graph":{"nodes":{"id":"a"}}}"#);
        assert_eq!(bare.at("/graph/nodes/function").as_deref(), Some("a"));
        for nothing in [r"{}", r#"{"graph":7}"#, r#"{"graph":{"nodes":"a"}}"#, r#"{"graph":{"nodes":null}}"#]
        {
            assert_eq!(ids(nothing).at("/graph/nodes/0/id"), None, "{nothing}");
        }
    }

    #[test]
    fn faults_are_said_with_what_to_do() {
        let pointer = "/graph/nodes/0/id".into();
        let fault = Fault { message: "m".into(), reason: "node.id.required", pointer, help: None };
        let said = Diagnostic::of_fault(&fault, Level::Error, None);
        assert_eq!(
            (said.reason, said.severity, said.fix.as_deref()),
            (fault.reason, Level::Error, Some("Give the node an `id`."))
        );
    }
}
