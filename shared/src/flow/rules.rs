//! Every rule of a flow document as data: its reason, how bad it is to break it, and what to do then.

mod diagnose;
mod page;
mod shape;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

pub(super) use diagnose::MAX_OF_RULE;
pub use diagnose::{Diagnostic, NodeIds};
pub use page::rules_page;

/// How bad it is when a rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is said.
    Off,
    /// Nothing is wrong: it is only worth knowing.
    Info,
    /// The flow is stored.
    Warning,
    /// The flow is refused.
    Error,
}

impl Level {
    /// The name clients and operators know.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The text is none of `off`, `warning` and `error`, the levels that a rule can be given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("none of off, warning and error")]
pub struct InvalidLevel;

impl FromStr for Level {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLevel> {
        [Self::Off, Self::Warning, Self::Error]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or(InvalidLevel)
    }
}

/// One rule of flow documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For programs; stable.
    pub reason: &'static str,
    /// How bad it is to break it, where nothing else is set.
    pub level: Level,
    /// Whether `RULE_LEVELS` can give it another level.
    pub is_adjustable: bool,
    /// What it is about, in one sentence.
    pub summary: &'static str,
    /// What to do, in one sentence.
    pub fix: Option<&'static str>,
    /// A body that breaks it, and as far as possible only it.
    pub example: &'static str,
}

impl Rule {
    /// The rule with this reason.
    #[must_use]
    pub fn find(reason: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.reason == reason)
    }

    /// The setting that decides how bad it is, if there is one.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self.reason {
            "node.function.required" | "node.componentId.required" => Some("COMPONENT_CHECK"),
            "node.fields.credential" => Some("CREDENTIAL_CHECK"),
            _ => self.is_adjustable.then_some("RULE_LEVELS"),
        }
    }

    /// One without which there is no flow.
    const fn fixed(
        reason: &'static str,
        summary: &'static str,
        fix: &'static str,
        example: &'static str,
    ) -> Self {
        Self { reason, level: Level::Error, is_adjustable: false, summary, fix: Some(fix), example }
    }

    /// One of good taste: flows that break it have always been stored.
    const fn adjustable(
        reason: &'static str,
        summary: &'static str,
        fix: &'static str,
        example: &'static str,
    ) -> Self {
        let rule = Self::fixed(reason, summary, fix, example);
        Self { level: Level::Warning, is_adjustable: true, ..rule }
    }

    /// One that has a setting of its own.
    const fn checked(
        reason: &'static str,
        summary: &'static str,
        fix: &'static str,
        example: &'static str,
    ) -> Self {
        let rule = Self::fixed(reason, summary, fix, example);
        Self { level: Level::Warning, ..rule }
    }
}

/// A node that can run.
macro_rules! node {
    ($id:literal) => {
        concat!(r#"{"id":""#, $id, r#"","componentId":"5ca5c44c187c040010a9bb8b","function":"run"}"#)
    };
}

macro_rules! edge {
    ($source:literal, $target:literal) => {
        concat!(r#"{"source":""#, $source, r#"","target":""#, $target, r#""}"#)
    };
}

/// A flow of nodes that can run, and these edges.
macro_rules! flow {
    ([$node:literal $(, $nodes:literal)*], $edge:expr $(, $edges:expr)*) => {
        concat!(
            r#"{"graph":{"nodes":["#, node!($node) $(, ",", node!($nodes))*,
            r#"],"edges":["#, $edge $(, ",", $edges)*, "]}}"
        )
    };
}

/// A flow of one node that can run, and this cron expression.
macro_rules! scheduled {
    ($cron:literal) => {
        concat!(r#"{"cron":""#, $cron, r#"","graph":{"nodes":["#, node!("orders"), "]}}")
    };
}

macro_rules! owners {
    ($id:literal $(, $ids:literal)*) => {
        concat!(
            r#"{"graph":{"nodes":[{"id":"orders"}]},"owners":[{"id":""#, $id, r#"","type":"user"}"#
            $(, r#",{"id":""#, $ids, r#"","type":"user"}"#)*, "]}"
        )
    };
}

/// Nodes with secrets whose ids end so.
macro_rules! secrets {
    ($end:literal $(, $ends:literal)*) => {
        concat!(
            r#"{"graph":{"nodes":[{"id":"n"#, $end, r#"","credentials_id":"5ca5c44c187c040010a9bb"#, $end, r#""}"#
            $(, r#",{"id":"n"#, $ends, r#"","credentials_id":"5ca5c44c187c040010a9bb"#, $ends, r#""}"#)*,
            r#"],"edges":["#, edge!("n00", "n01"), "]}}"
        )
    };
}

/// All rules: first what no flow may break, then what it lacks to run, then what is only unusual.
pub const RULES: &[Rule] = &[
    Rule::fixed(
        "cast",
        "A value has a type that cannot be read as the field's.",
        "Send a value of the field's type; `message` names it.",
        r#"{"name":{"en":"Orders"},"graph":{"nodes":[{"id":"orders"}]}}"#,
    ),
    Rule::fixed(
        "too_long",
        "A text is longer than the field allows.",
        "Shorten it to what `message` allows.",
        r#"{"graph":{"nodes":[{"id":"orders-of-all-regions-and-years"}]}}"#,
    ),
    Rule::fixed(
        "flow.graph.required",
        "A flow has a graph.",
        "Add a `graph` with at least one node.",
        r#"{"name":"Orders"}"#,
    ),
    Rule::fixed(
        "graph.nodes.required",
        "A graph has at least one node.",
        "Add a node.",
        r#"{"graph":{"nodes":[]}}"#,
    ),
    Rule::fixed(
        "graph.edges.required",
        "A graph with more than one node has edges.",
        "Connect the nodes with edges.",
        r#"{"graph":{"nodes":[{"id":"orders"},{"id":"invoices"}]}}"#,
    ),
    Rule::fixed(
        "node.id.required",
        "A node has an id.",
        "Give the node an `id`.",
        r#"{"graph":{"nodes":[{"function":"run"}]}}"#,
    ),
    Rule::fixed(
        "node.id.duplicate",
        "No two nodes have the same id.",
        "Give one of them another `id`, and name it in the edges that mean it.",
        r#"{"graph":{"nodes":[{"id":"orders"},{"id":"orders"}],"edges":[{"source":"orders","target":"orders"}]}}"#,
    ),
    Rule::fixed(
        "edge.source.required",
        "An edge has a source.",
        "Name the node that it comes from as `source`.",
        r#"{"graph":{"nodes":[{"id":"orders"},{"id":"invoices"}],"edges":[{"target":"invoices"}]}}"#,
    ),
    Rule::fixed(
        "edge.source.unknown",
        "The source of an edge is a node of the graph.",
        "Name a node of the graph as `source`, or remove the edge.",
        r#"{"graph":{"nodes":[{"id":"orders"}],"edges":[{"source":"invoices","target":"orders"}]}}"#,
    ),
    Rule::fixed(
        "edge.target.required",
        "An edge has a target.",
        "Name the node that it leads to as `target`.",
        r#"{"graph":{"nodes":[{"id":"orders"},{"id":"invoices"}],"edges":[{"source":"orders"}]}}"#,
    ),
    Rule::fixed(
        "edge.target.unknown",
        "The target of an edge is a node of the graph.",
        "Name a node of the graph as `target`, or remove the edge.",
        r#"{"graph":{"nodes":[{"id":"orders"}],"edges":[{"source":"orders","target":"invoices"}]}}"#,
    ),
    Rule::fixed(
        "owner.type.required",
        "An owner has a type.",
        "Give the owner a `type`, by convention `user` or `tenant`.",
        r#"{"graph":{"nodes":[{"id":"orders"}]},"owners":[{"id":"anna"}]}"#,
    ),
    Rule::fixed(
        "owner.id.required",
        "An owner has an id.",
        "Give the owner the `id` of a user or a tenant.",
        r#"{"graph":{"nodes":[{"id":"orders"}]},"owners":[{"type":"user"}]}"#,
    ),
    Rule::fixed(
        "owner.role.unknown",
        "The role of an owner is `viewer`, `operator`, `editor` or `owner`.",
        "Give the owner one of these, or leave `role` out.",
        r#"{"graph":{"nodes":[{"id":"orders"}]},"owners":[{"id":"anna","type":"user","role":"boss"}]}"#,
    ),
    Rule::fixed(
        "owner.tenant.foreign",
        "Only administrators make another tenant than their own an owner.",
        "Name a user of that tenant, or ask an administrator.",
        r#"{"graph":{"nodes":[{"id":"orders"}]},"owners":[{"id":"globex","type":"tenant"}]}"#,
    ),
    Rule::fixed(
        "owner.deleted",
        "Nobody becomes an owner who was deleted less than 30 days ago.",
        "Take the user or the tenant off the owners.",
        r#"{"graph":{"nodes":[{"id":"orders"}]},"owners":[{"id":"anna","type":"user"}]}"#,
    ),
    Rule::fixed(
        "flow.owners.steward",
        "The role `owner` is given by users of the flow's tenant who have it themselves, and other roles by their tenant's users too.",
        "Ask one of them, or give a lower role.",
        r#"{"graph":{"nodes":[{"id":"orders"}]},"owners":[{"id":"bert","type":"user","role":"owner"}]}"#,
    ),
    Rule {
        reason: "flow.owners.kept",
        level: Level::Warning,
        is_adjustable: false,
        summary: "Owners that a document leaves out or lowers stay as they are, unless their sender is of the flow's tenant and has the role `owner` by name, or is an administrator.",
        fix: Some("Leave `owners` out, or ask one of them."),
        example: r#"{"graph":{"nodes":[{"id":"orders"}]},"owners":[]}"#,
    },
    Rule {
        reason: "flow.owner.none",
        level: Level::Warning,
        is_adjustable: false,
        summary: "Somebody of the flow's tenant has the role `owner`, and so may delete and share the flow.",
        fix: Some("Ask an administrator to name an owner."),
        example: r#"{"graph":{"nodes":[{"id":"orders","componentId":"5ca5c44c187c040010a9bb8b","function":"run"}]},"owners":[{"id":"anna","type":"user","role":"editor"}]}"#,
    },
    Rule::fixed(
        "flow.owners.too_many",
        "A flow has at most 20 owners, whoever creates it and their tenant included.",
        "Name a tenant instead of its users.",
        owners!(
            "u01", "u02", "u03", "u04", "u05", "u06", "u07", "u08", "u09", "u10", "u11", "u12", "u13", "u14",
            "u15", "u16", "u17", "u18", "u19", "u20", "u21"
        ),
    ),
    Rule::fixed(
        "flow.credentials.too_many",
        "The nodes of a flow use at most 16 secrets.",
        "Let nodes share secrets, or make several flows of it.",
        secrets!(
            "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15",
            "16"
        ),
    ),
    Rule::fixed(
        "node.credentials.unknown",
        "`credentials_id` of a new or changed node names a secret of whoever makes the change.",
        "Refer to another secret, or let its owner share it.",
        r#"{"graph":{"nodes":[{"id":"orders","credentials_id":"5ca5c44c187c040010a9bb8b"}]}}"#,
    ),
    Rule::fixed(
        "flow.status.read_only",
        "Only start and stop change the status; in a body it may be `inactive`.",
        "Leave `status` out, and start the flow when it is stored.",
        r#"{"status":"active","graph":{"nodes":[{"id":"orders"}]}}"#,
    ),
    Rule::fixed(
        "flow.cron.invalid",
        "A cron expression has five fields, or six with seconds first, as [schedules.md](schedules.md) has them.",
        "Write it as minute, hour, day of the month, month and day of the week.",
        r#"{"cron":"@daily","graph":{"nodes":[{"id":"orders"}]}}"#,
    ),
    Rule::checked(
        "node.function.required",
        "To run, a node needs a function.",
        "Give the node the `function` of its component that it is to run.",
        r#"{"graph":{"nodes":[{"id":"orders","componentId":"5ca5c44c187c040010a9bb8b"}]}}"#,
    ),
    Rule::checked(
        "node.componentId.required",
        "To run, a node needs a component.",
        "Give the node the `componentId` of the component that it is to run.",
        r#"{"graph":{"nodes":[{"id":"orders","function":"run"}]}}"#,
    ),
    Rule::checked(
        "node.fields.credential",
        "`fields` hold nothing that looks like a credential.",
        "Store it as a secret and refer to that by `credentials_id`.",
        r#"{"graph":{"nodes":[{"id":"orders","componentId":"5ca5c44c187c040010a9bb8b","function":"run","fields":{"password":"hunter2"}}]}}"#,
    ),
    Rule::adjustable(
        "member.unknown",
        "Every member of the flow, of its graph, nodes, edges, their `config` and its owners is one that flows have; what `fields`, `nodeSettings`, `flowSettings` and `mapper` hold is free.",
        "Correct the name, or leave the member out: it is not stored.",
        r#"{"graph":{"nodes":[{"id":"orders","componentId":"5ca5c44c187c040010a9bb8b","function":"run","comand":"run"}]}}"#,
    ),
    Rule::adjustable(
        "edge.self",
        "An edge leads from one node to another.",
        "Remove the edge, or let it lead to another node.",
        flow!(["orders", "invoices"], edge!("orders", "invoices"), edge!("invoices", "invoices")),
    ),
    Rule::adjustable(
        "edge.duplicate",
        "No two edges have the same ends and the same condition.",
        "Remove one of them, or give them different conditions.",
        flow!(["orders", "invoices"], edge!("orders", "invoices"), edge!("orders", "invoices")),
    ),
    Rule::adjustable(
        "edge.id.duplicate",
        "No two edges have the same id.",
        "Give one of them another `id`, or none.",
        flow!(
            ["orders", "invoices", "reports"],
            r#"{"id":"e1","source":"orders","target":"invoices"}"#,
            r#"{"id":"e1","source":"orders","target":"reports"}"#
        ),
    ),
    Rule::adjustable(
        "graph.cycle",
        "No node feeds itself by way of others, unless that is meant, as in a loop that polls or pages until a condition on one of its edges ends it.",
        "Leave it where nodes are to run again and a condition ends that, with `RULE_LEVELS=graph.cycle=off` where such flows are usual, and otherwise remove the edge that leads back.",
        flow!(
            ["orders", "invoices", "reports"],
            edge!("orders", "invoices"),
            edge!("invoices", "reports"),
            edge!("reports", "invoices")
        ),
    ),
    Rule::adjustable(
        "graph.no_start",
        "Some node has no incoming edge and starts the flow.",
        "Remove the edges that lead to the node that is to start the flow.",
        flow!(["orders", "invoices"], edge!("orders", "invoices"), edge!("invoices", "orders")),
    ),
    Rule::adjustable(
        "graph.several_starts",
        "Only one node has no incoming edge: the Open Integration Hub starts the first such node of the list, and no other.",
        "Lead edges to the others, remove them, or make flows of their own of them.",
        flow!(["orders", "returns", "invoices"], edge!("orders", "invoices"), edge!("returns", "invoices")),
    ),
    Rule::adjustable(
        "graph.unreachable",
        "Edges lead from a node that starts the flow to every other node.",
        "Lead an edge to the node from one that is reached, or remove it.",
        flow!(
            ["orders", "invoices", "returns", "reports"],
            edge!("orders", "invoices"),
            edge!("returns", "reports"),
            edge!("reports", "returns")
        ),
    ),
    Rule::adjustable(
        "flow.cron.never",
        "A cron expression names days that exist.",
        "Correct the day of the month, or the month.",
        scheduled!("0 6 30 2 *"),
    ),
    Rule::adjustable(
        "flow.cron.portable",
        "The scheduler of the Open Integration Hub (cron-parser 2.7.3) reads a cron expression as [schedules.md](schedules.md) does.",
        "Write it in rising order, without names that wrap around, `L`, `W` and `#`, or turn the rule off where another scheduler runs flows.",
        scheduled!("0 22-23,0-6 * * *"),
    ),
    Rule::adjustable(
        "flow.size",
        "A flow has less than 512 KiB of JSON: a body of more than 1 MiB is refused.",
        "Make several flows of it, or keep data out of `fields` and `mapper`.",
        r#"{"graph":{"nodes":[{"id":"orders","componentId":"5ca5c44c187c040010a9bb8b","function":"run","fields":{"template":"half a megabyte of text"}}]}}"#,
    ),
    Rule::fixed(
        "flow.too_large",
        "A flow fits an item of the table: 390 KiB when it is compressed, with the ids of its owners, as usual ones of 1 MiB do many times over.",
        "Make several flows of it, or keep data that does not compress out of `fields` and `mapper`.",
        r#"{"graph":{"nodes":[{"id":"orders","componentId":"5ca5c44c187c040010a9bb8b","function":"run","fields":{"image":"half a megabyte of Base64"}}]}}"#,
    ),
    Rule {
        reason: "flow.cron.schedule",
        level: Level::Info,
        is_adjustable: false,
        summary: "When the flow runs next by its cron expression, which is read as [schedules.md](schedules.md) says, in UTC.",
        fix: None,
        example: scheduled!("0 6 * * MON"),
    },
    Rule::fixed(
        "more_faults",
        "There is more to say than is listed.",
        "Correct what is listed, and ask again.",
        r#"{"graph":{"nodes":["and","a","thousand","more","that","are","no","objects"]}}"#,
    ),
];

/// The levels of rules in this installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleLevels(BTreeMap<&'static str, Level>);

impl RuleLevels {
    /// The level of this rule.
    #[must_use]
    pub fn of(&self, rule: &Rule) -> Level {
        self.0.get(rule.reason).copied().unwrap_or(rule.level)
    }
}

/// The text gives no levels to rules.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidLevels(String);

impl fmt::Display for InvalidLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; adjustable are", self.0)?;
        let adjustable = RULES.iter().filter(|rule| rule.is_adjustable);
        for (index, rule) in adjustable.enumerate() {
            write!(f, "{} {}", if index == 0 { "" } else { "," }, rule.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidLevels {}

impl FromStr for RuleLevels {
    type Err = InvalidLevels;

    /// Reads `graph.cycle=error,edge.self=off`.
    fn from_str(text: &str) -> Result<Self, InvalidLevels> {
        let mut levels = BTreeMap::new();
        if text.trim().is_empty() {
            return Ok(Self(levels));
        }
        for item in text.split(',') {
            let wrong = |problem: fmt::Arguments<'_>| InvalidLevels(problem.to_string());
            let Some((reason, level)) = item.split_once('=') else {
                return Err(wrong(format_args!("has \"{}\", which is not like edge.self=off", item.trim())));
            };
            let (reason, level) = (reason.trim(), level.trim());
            let rule = Rule::find(reason).filter(|rule| rule.is_adjustable);
            let rule = rule.ok_or_else(|| wrong(format_args!("has no adjustable rule in \"{reason}\"")))?;
            let level = level.parse().map_err(|error: InvalidLevel| {
                wrong(format_args!("gives {reason} the level \"{level}\", which is {error}"))
            })?;
            if levels.insert(rule.reason, level).is_some() {
                return Err(wrong(format_args!("gives {reason} more than one level")));
            }
        }
        Ok(Self(levels))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use serde_json::value::RawValue;

    use super::*;
    use crate::flow::{
        ComponentCheck, CredentialCheck, Document, FinalDocument, Parsed, Timestamp, read_fields,
    };

    /// What no example of this length breaks, or no document by itself.
    const WITHOUT_EXAMPLE: [&str; 8] = [
        "flow.size",
        "flow.too_large",
        "node.credentials.unknown",
        "more_faults",
        "owner.deleted",
        "owner.tenant.foreign",
        "flow.owners.steward",
        "flow.owners.kept",
    ];

    /// What cannot be broken alone.
    const COMPANIONS: [(&str, &str); 5] = [
        ("flow.cron.portable", "flow.cron.schedule"),
        ("edge.source.required", "edge.source.unknown"),
        ("edge.target.required", "edge.target.unknown"),
        ("graph.no_start", "graph.cycle"),
        ("graph.unreachable", "graph.cycle"),
    ];

    fn said_of(example: &str) -> BTreeSet<&'static str> {
        let raw: &RawValue = serde_json::from_str(example).unwrap();
        match Document::parse(read_fields(raw).unwrap(), ComponentCheck::AtStart.into()) {
            Err(invalid) => invalid.faults.iter().map(|fault| fault.reason).collect(),
            Ok(Parsed { document, notes }) => {
                let said = FinalDocument::from(document).diagnose(
                    &RuleLevels::default(),
                    ComponentCheck::AtStart,
                    CredentialCheck::Warn,
                    Level::Info,
                    Timestamp::from_millis(1_800_000_000_000),
                );
                for diagnostic in &said {
                    assert_eq!(diagnostic.severity, Rule::find(diagnostic.reason).unwrap().level);
                }
                let notes = notes.iter().map(|note| note.reason);
                said.iter().map(|diagnostic| diagnostic.reason).chain(notes).collect()
            }
        }
    }

    #[test]
    fn every_example_breaks_its_rule_and_no_other() {
        for rule in RULES.iter().filter(|rule| !WITHOUT_EXAMPLE.contains(&rule.reason)) {
            let companions = COMPANIONS.iter().filter(|(reason, _)| *reason == rule.reason);
            let expected: BTreeSet<_> =
                companions.map(|(_, companion)| *companion).chain([rule.reason]).collect();
            assert_eq!(said_of(rule.example), expected, "{}", rule.reason);
        }
        for reason in WITHOUT_EXAMPLE {
            let raw: &RawValue = serde_json::from_str(Rule::find(reason).unwrap().example).unwrap();
            assert!(read_fields(raw).is_some(), "{reason}");
        }
    }

    #[test]
    fn rules_are_told_in_whole_sentences_and_have_their_own_reasons() {
        let reasons: BTreeSet<_> = RULES.iter().map(|rule| rule.reason).collect();
        assert_eq!(reasons.len(), RULES.len());
        for rule in RULES {
            for sentence in [Some(rule.summary), rule.fix].into_iter().flatten() {
                assert!(sentence.ends_with('.') && !sentence.contains(['|', '\n']), "{sentence}");
                assert!(!sentence.contains(". "), "more than one: {sentence}");
            }
            assert!(!rule.is_adjustable || rule.level == Level::Warning, "{}", rule.reason);
        }
    }

    /// The text literal that `source` begins with.
    fn literal(source: &str) -> Option<&str> {
        source.strip_prefix('"')?.split('"').next()
    }

    /// The texts in a file that are reasons: what is given to a fault, and everything with dots.
    fn reasons_in(source: &str) -> Vec<&str> {
        let code = source.split("#[cfg(test)]").next().unwrap();
        let fields = code.split("reason: ").skip(1).filter_map(literal);
        let calls = code.split(".fault(").skip(1);
        let arguments =
            calls.filter_map(|call| call.split_once(',')).filter_map(|(_, rest)| literal(rest.trim_start()));
        let is_dotted = |text: &&str| {
            text.contains('.')
                && text
                    .split('.')
                    .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphabetic() || c == '_'))
        };
        let dotted = code.split('"').filter(is_dotted);
        fields.chain(arguments).chain(dotted).collect()
    }

    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_reason_in_the_sources_has_a_rule() {
        // A place in a message of upstream's.
        let no_reasons = ["config.condition"];
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/flow"), &mut files);
        let found: BTreeSet<_> = files.iter().flat_map(|source| reasons_in(source)).collect();
        for reason in found.iter().filter(|reason| !no_reasons.contains(reason)) {
            assert!(Rule::find(reason).is_some(), "{reason} has no rule");
        }
        for known in ["cast", "too_long", "more_faults", "edge.source.unknown", "owner.id.required"] {
            assert!(found.contains(known), "{known} is not found");
        }
    }

    #[test]
    fn levels_are_read_as_an_operator_writes_them() {
        assert_eq!("".parse(), Ok(RuleLevels::default()));
        assert_eq!(" ".parse(), Ok(RuleLevels::default()));
        let levels: RuleLevels = "graph.cycle=error, edge.self = off".parse().unwrap();
        let level = |reason| levels.of(Rule::find(reason).unwrap());
        assert_eq!(
            (level("graph.cycle"), level("edge.self"), level("edge.duplicate"), level("cast")),
            (Level::Error, Level::Off, Level::Warning, Level::Error)
        );
        for (wrong, problem) in [
            ("graph.circle=off", "has no adjustable rule in \"graph.circle\""),
            ("cast=off", "has no adjustable rule in \"cast\""),
            ("node.function.required=off", "has no adjustable rule in \"node.function.required\""),
            ("flow.cron.schedule=off", "has no adjustable rule in \"flow.cron.schedule\""),
            ("edge.self=info", "gives edge.self the level \"info\", which is none of off, warning and error"),
            ("edge.self=Off", "gives edge.self the level \"Off\", which is none of off, warning and error"),
            ("edge.self=off,edge.self=off", "gives edge.self more than one level"),
            ("edge.self", "has \"edge.self\", which is not like edge.self=off"),
            ("edge.self=off,", "has \"\", which is not like edge.self=off"),
        ] {
            let message = wrong.parse::<RuleLevels>().unwrap_err().to_string();
            assert_eq!(
                message,
                format!(
                    "{problem}; adjustable are member.unknown, edge.self, edge.duplicate, edge.id.duplicate, graph.cycle, \
                     graph.no_start, graph.several_starts, graph.unreachable, flow.cron.never, flow.cron.portable, \
                     flow.size"
                ),
                "{wrong}"
            );
        }
    }
}
