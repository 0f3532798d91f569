//! From a request's body to a [`Document`]: every fault is found in one pass, in the order in which
//! upstream's clients know them.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use serde_json::value::RawValue;

use super::cast::{Elements, Reader, shorten};
use super::document::{Document, Edge, EdgeConfig, Field, Graph, Node, Owner};
use super::ownership::Role;
use super::rules::Level;
use super::schedule::Schedule;
use super::unknown::{EDGE, EDGE_CONFIG, FLOW, GRAPH, NODE, OWNER, Unknown};

/// How many owners a flow or a secret may have. A change of all owners and all secrets of a flow must
/// fit the 100 items of one DynamoDB transaction.
pub const MAX_OWNERS: usize = 20;
/// How many secrets the nodes of a flow may use.
pub(super) const MAX_SECRETS: usize = 16;

const MAX_NAME: usize = 256;
const MAX_DESCRIPTION: usize = 4096;
/// Faults reported of one document.
pub(crate) const MAX_FAULTS: usize = 1000;

const MAX_NODE_ID: usize = 30;
const MAX_EDGE_ID: usize = 10;
const MAX_CONDITION: usize = 30;
/// For everything that has no limit of its own but is stored in an index.
pub(super) const MAX_TEXT: usize = 256;
/// The bytes of the smallest node that is one: `{"id":0}`.
const SMALLEST_NODE: usize = 8;
/// The body is limited, and that is enough.
const UNLIMITED: usize = usize::MAX;

/// The members of a JSON object, unread. Of a repeated member the last one counts.
pub type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// The members of `raw`, or `None` when it is not an object.
#[must_use]
pub fn read_fields(raw: &RawValue) -> Option<Fields<'_>> {
    serde_json::from_str(raw.get()).ok()
}

/// One thing that is wrong with a document, or that it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For people; the upstream service's text where it has one.
    pub message: String,
    /// For programs; stable.
    pub reason: &'static str,
    /// Where in the document (RFC 6901).
    pub pointer: String,
    /// What its rule alone cannot say.
    pub help: Option<Box<Help>>,
}

/// What there is to say of one fault beside its message and what its rule says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// What exactly is wrong.
    pub detail: Option<String>,
    /// What to write instead.
    pub fix: Option<String>,
}

/// A document that was read, and what there is to say of the body alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The document.
    pub document: Document,
    /// What is not part of it.
    pub notes: Vec<Fault>,
}

/// A body that is no valid document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// All that is wrong with it.
    pub faults: Vec<Fault>,
    /// What there is to say of it beside.
    pub notes: Vec<Fault>,
    /// What could be read of it all the same, for rules that can still be looked at. It is not to be stored;
    /// elements that could not be read are empty ones in their places.
    pub draft: Option<Box<Document>>,
}

impl From<Vec<Fault>> for Invalid {
    fn from(faults: Vec<Fault>) -> Self {
        Self { faults, notes: Vec::new(), draft: None }
    }
}

/// At most `max` of these faults, and then one that says that there are more: no answer may be larger
/// than what a gateway passes on.
#[must_use]
pub fn bounded(faults: impl IntoIterator<Item = Fault>, max: usize) -> Vec<Fault> {
    let mut faults = faults.into_iter();
    let mut shown: Vec<_> = faults.by_ref().take(max).collect();
    if faults.next().is_some() {
        shown.push(more_faults());
    }
    shown
}

/// Says that a flow does not fit the table.
#[must_use]
pub fn too_large() -> Fault {
    let message = "Flow is too large to be stored.".into();
    Fault { message, reason: "flow.too_large", pointer: String::new(), help: None }
}

/// That there are more faults than are said.
#[must_use]
pub fn more_faults() -> Fault {
    let message = "There are more faults.".into();
    Fault { message, reason: "more_faults", pointer: String::new(), help: None }
}

/// When a node must have a component and a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ComponentCheck {
    /// When the flow is started; until then they are warnings.
    #[default]
    AtStart,
    /// At every write, as upstream does.
    AtSave,
}

/// How bad what is as a body should not be, and yet can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// When a node lacks what it needs to run.
    pub components: ComponentCheck,
    /// When a member is unknown.
    pub unknown: Level,
}

impl From<ComponentCheck> for Checks {
    fn from(components: ComponentCheck) -> Self {
        Self { components, unknown: Level::Warning }
    }
}

impl Document {
    /// Reads a document from the members of a body. Unknown members are dropped; read-only ones are
    /// ignored, but for a `status` that is not `inactive`.
    ///
    /// # Errors
    /// All faults of the body, and what could be read of it.
    pub fn parse(fields: Fields<'_>, checks: Checks) -> Result<Parsed, Invalid> {
        let (mut faults, mut unknown) = (Vec::new(), Unknown::new(checks.unknown));
        let mut reader =
            Reader { fields, pointer: String::new(), faults: &mut faults, unknown: &mut unknown };
        reader.note_unknown(&FLOW);
        let name = reader.string("name", MAX_NAME);
        let description = reader.string("description", MAX_DESCRIPTION);
        let kind = reader.string("type", MAX_TEXT);
        let tenant = reader.string("tenant", MAX_TEXT);
        let cron = reader.string("cron", MAX_TEXT).map(Schedule::from);
        let from_template = reader.id("fromTemplate");
        let flow_settings = reader.json("flowSettings");
        let graph = read_graph(&mut reader, checks.components);
        let owners = read_owners(&mut reader);
        let is_inactive = |status: &RawValue| {
            serde_json::from_str(status.get()).is_ok_and(|text: String| text == "inactive")
        };
        if reader.raw("status").is_some_and(|status| !is_inactive(status)) {
            let message = "Flow status cannot be set manually. Use the flow start/stop end points instead.";
            reader.fault("status", "flow.status.read_only", message);
        }
        let (graph, edge_places) = graph;
        if graph.secrets().count() > MAX_SECRETS {
            let message = format!("Flows can use at most {MAX_SECRETS} secrets.");
            reader.fault("graph/nodes", "flow.credentials.too_many", message);
        }
        check_references(&graph, &edge_places, &mut reader);
        if let Some(help) = cron.value().and_then(Schedule::refusal) {
            let message = "Invalid cron expression.".into();
            let pointer = reader.pointer("cron");
            reader.faults.push(Fault {
                message,
                reason: "flow.cron.invalid",
                pointer,
                help: Some(Box::new(help)),
            });
        }
        let document =
            Self { name, description, graph, kind, tenant, owners, cron, from_template, flow_settings };
        let notes = unknown.settle(&mut faults);
        if faults.is_empty() {
            return Ok(Parsed { document, notes });
        }
        Err(Invalid { faults: bounded(faults, MAX_FAULTS), notes, draft: Some(Box::new(document)) })
    }
}

/// The graph, and where in it its edges are: those that could not be read are nowhere.
fn read_graph(reader: &mut Reader<'_, '_>, check: ComponentCheck) -> (Graph, Vec<Option<EdgePlace>>) {
    let fields = match reader.object("graph") {
        Field::Value(fields) => fields,
        missing => {
            if matches!(missing, Field::Null) || reader.raw("graph").is_none() {
                reader.fault("graph", "flow.graph.required", "Flows require a graph.");
            }
            return (Graph { nodes: Vec::new(), edges: Field::Absent }, Vec::new());
        }
    };
    let pointer = reader.pointer("graph");
    let mut graph = Reader { fields, pointer, faults: reader.faults, unknown: reader.unknown };
    graph.note_unknown(&GRAPH);
    let before = graph.faults.len();
    let nodes = match graph.elements("nodes", true) {
        Field::Value(nodes) => nodes,
        _ => Elements::default(),
    };
    if nodes.len() == 0 && graph.faults.len() == before {
        graph.fault("nodes", "graph.nodes.required", "Flows require at least one node.");
    }
    let several = nodes.len() > 1;
    let nodes = read_nodes(&mut graph, nodes, check);
    let before = graph.faults.len();
    let mut edge_places = Vec::new();
    let edges = match graph.elements("edges", true) {
        Field::Absent => Field::Value(Vec::new()),
        Field::Null => Field::Null,
        Field::Value(edges) => {
            let mut read = Vec::new();
            for (place, raw) in edges.with_places() {
                if graph.faults.len() > MAX_FAULTS {
                    break;
                }
                let (edge, missing) = read_edge(&mut graph, &place, raw).unzip();
                edge_places.push(missing.map(|missing| EdgePlace { place, missing }));
                read.push(edge.unwrap_or_default());
            }
            Field::Value(read)
        }
    };
    if several && graph.faults.len() == before && edges.value().is_none_or(Vec::is_empty) {
        graph.fault("edges", "graph.edges.required", "Flows with more than one node require edges.");
    }
    (Graph { nodes, edges }, edge_places)
}

fn read_nodes(graph: &mut Reader<'_, '_>, elements: Elements<'_>, check: ComponentCheck) -> Vec<Node> {
    // Room for all at once: while they grow, lists and sets are there twice.
    let most = elements.sizes().filter(|bytes| *bytes >= SMALLEST_NODE).count();
    // Of each id the hash: that another one has the same is looked at.
    let (hashes, mut seen) = (RandomState::new(), HashSet::with_capacity(most));
    let mut nodes: Vec<Node> = Vec::with_capacity(most);
    for (place, raw) in elements.with_places() {
        // Nobody reads more; and a body of a megabyte can have a million.
        if graph.faults.len() > MAX_FAULTS {
            break;
        }
        let node = read_node(graph, &place, raw, check).unwrap_or_default();
        if !node.id.is_empty()
            && !seen.insert(hashes.hash_one(&node.id))
            && nodes.iter().any(|other: &Node| other.id == node.id)
        {
            let message = format!("Flow node id \"{}\" is used more than once.", shorten(&node.id));
            graph.fault(&format!("{place}/id"), "node.id.duplicate", message);
        }
        nodes.push(node);
    }
    nodes
}

fn read_node(graph: &mut Reader<'_, '_>, place: &str, raw: &RawValue, check: ComponentCheck) -> Option<Node> {
    let mut reader = graph.element("nodes", place, raw)?;
    reader.note_unknown(&NODE);
    let before = reader.faults.len();
    let node = Node {
        id: reader.string("id", MAX_NODE_ID).value().cloned().unwrap_or_default(),
        component_id: reader.id("componentId"),
        function: reader.string("function", UNLIMITED),
        name: reader.string("name", UNLIMITED),
        description: reader.string("description", UNLIMITED),
        credentials_id: reader.id("credentials_id"),
        fields: reader.json("fields"),
        node_settings: reader.json("nodeSettings"),
    };
    // What could not be cast is there, only wrong: it is not reported as missing too.
    let wrong: Vec<_> = reader.faults.iter().skip(before).map(|fault| fault.pointer.clone()).collect();
    if check == ComponentCheck::AtSave {
        let missing = node.missing_to_run(&reader.pointer);
        reader.faults.extend(missing.filter(|fault| !wrong.contains(&fault.pointer)));
    }
    if node.id.is_empty() && !wrong.contains(&reader.pointer("id")) {
        reader.fault("id", "node.id.required", "Flow nodes require an id.");
    }
    Some(node)
}

/// Where an edge is, and what upstream calls its source and its target if they are missing.
struct EdgePlace {
    place: String,
    missing: [&'static str; 2],
}

fn read_edge(graph: &mut Reader<'_, '_>, place: &str, raw: &RawValue) -> Option<(Edge, [&'static str; 2])> {
    if graph.faults.len() > MAX_FAULTS {
        return None;
    }
    let mut reader = graph.element("edges", place, raw)?;
    reader.note_unknown(&EDGE);
    let id = reader.string("id", MAX_EDGE_ID);
    let config = match reader.object("config") {
        Field::Absent => Field::Absent,
        Field::Null => Field::Null,
        Field::Value(fields) => {
            let pointer = reader.pointer("config");
            let mut config = Reader { fields, pointer, faults: reader.faults, unknown: reader.unknown };
            config.note_unknown(&EDGE_CONFIG);
            Field::Value(EdgeConfig {
                condition: config.string_at("condition", "config.condition", MAX_CONDITION),
                mapper: config.json("mapper"),
            })
        }
    };
    let target =
        required(&mut reader, "target", "edge.target.required", "Flow edges require a target.", UNLIMITED);
    let source =
        required(&mut reader, "source", "edge.source.required", "Flow edges require a source.", UNLIMITED);
    let missing = ["source", "target"].map(|name| match reader.raw(name).map(RawValue::get) {
        Some("null") => "null",
        Some(r#""""#) => "",
        _ => "undefined",
    });
    Some((Edge { id, config, source, target }, missing))
}

fn read_owners(reader: &mut Reader<'_, '_>) -> Vec<Owner> {
    let Field::Value(owners) = reader.elements("owners", false) else { return Vec::new() };
    let before = reader.faults.len();
    let (mut read, mut distinct) = (Vec::new(), Vec::<usize>::new());
    for (place, raw) in owners.with_places() {
        if reader.faults.len() > MAX_FAULTS {
            break;
        }
        let Some(owner) = read_owner(reader, &place, raw) else { continue };
        let is_new =
            distinct.iter().filter_map(|index| read.get(*index)).all(|known: &Owner| !known.is_same(&owner));
        if is_new {
            distinct.push(read.len());
        }
        if distinct.len() > MAX_OWNERS {
            // What is wrong with each of too many is not worth knowing.
            reader.faults.truncate(before);
            reader.faults.push(too_many_owners());
            return Vec::new();
        }
        read.push(owner);
    }
    read
}

fn read_owner(owners: &mut Reader<'_, '_>, place: &str, raw: &RawValue) -> Option<Owner> {
    let mut reader = owners.element("owners", place, raw)?;
    reader.note_unknown(&OWNER);
    let kind = required(&mut reader, "type", "owner.type.required", "Flow owners require a type.", MAX_TEXT);
    let id = required(&mut reader, "id", "owner.id.required", "Flow owners require an id.", MAX_TEXT);
    let name = reader.string("role", MAX_TEXT);
    let role = name.value().and_then(|name| Role::of(name));
    if name.value().is_some() && role.is_none() {
        let message = format!("Owners have one of these roles: {}.", Role::NAMES);
        reader.fault("role", "owner.role.unknown", message);
    }
    Some(Owner { id, kind, role })
}

pub(super) fn too_many_owners() -> Fault {
    let message = format!("Flows can have at most {MAX_OWNERS} owners.");
    Fault { message, reason: "flow.owners.too_many", pointer: "/owners".into(), help: None }
}

/// A string that must be there. One that is empty counts as missing; one that cannot be cast has
/// its fault already.
fn required(
    reader: &mut Reader<'_, '_>,
    name: &str,
    reason: &'static str,
    message: &str,
    max: usize,
) -> String {
    let before = reader.faults.len();
    let text = match reader.string(name, max) {
        Field::Value(text) => text,
        _ => String::new(),
    };
    if text.is_empty() && reader.faults.len() == before {
        reader.fault(name, reason, message);
    }
    text
}

fn check_references(graph: &Graph, edge_places: &[Option<EdgePlace>], reader: &mut Reader<'_, '_>) {
    let ids: HashSet<&str> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
    for (edge, place) in graph.edges.value().into_iter().flatten().zip(edge_places) {
        let Some(EdgePlace { place, missing: [no_source, no_target] }) = place else { continue };
        for (end, name, reason, id, missing) in [
            ("Edge source", "source", "edge.source.unknown", &edge.source, no_source),
            ("Edge target", "target", "edge.target.unknown", &edge.target, no_target),
        ] {
            if id.is_empty() || !ids.contains(id.as_str()) {
                let shown = if id.is_empty() { (*missing).to_owned() } else { shorten(id) };
                let message = format!("{end} with id \"{shown}\" could not be found among nodes.");
                reader.fault(&format!("graph/{place}/{name}"), reason, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &str, check: ComponentCheck) -> Result<Document, Vec<Fault>> {
        let raw: &RawValue = serde_json::from_str(body).unwrap();
        let parsed = Document::parse(read_fields(raw).unwrap(), check.into());
        parsed.map(|parsed| parsed.document).map_err(|invalid| invalid.faults)
    }

    fn messages(body: &str, check: ComponentCheck) -> Vec<String> {
        parse(body, check).unwrap_err().into_iter().map(|fault| fault.message).collect()
    }

    fn with(member: &str) -> String {
        format!(r#"{{"graph":{{"nodes":[{{"id":"a"}}]}},{member}}}"#)
    }

    #[test]
    fn the_documented_minimal_flow_is_kept_as_it_is() {
        let body = r#"{"name":"n","description":"d","graph":{"nodes":[{"id":"a","name":"x"},{"id":"b","name":"y"}],"edges":[{"source":"a","target":"b"}]},"owners":[]}"#;
        let document = parse(body, ComponentCheck::AtStart).unwrap();
        assert_eq!(serde_json::to_string(&document).unwrap(), body);
        let missing: Vec<_> = document.missing_to_run().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(
            missing,
            [
                "/graph/nodes/0/function",
                "/graph/nodes/0/componentId",
                "/graph/nodes/1/function",
                "/graph/nodes/1/componentId"
            ]
        );
    }

    #[test]
    fn at_save_every_node_needs_function_component_and_id_in_this_order() {
        assert_eq!(
            messages(r#"{"graph":{"nodes":[{}]}}"#, ComponentCheck::AtSave),
            [
                "Flow nodes require a function.",
                "Flow nodes require a componentId.",
                "Flow nodes require an id."
            ]
        );
        assert_eq!(
            messages(r#"{"graph":{"nodes":[{}]}}"#, ComponentCheck::AtStart),
            ["Flow nodes require an id."]
        );
    }

    #[test]
    fn all_faults_come_at_once_with_their_pointers() {
        let body = r#"{"name":{"a":1},"graph":{"nodes":[{"id":{"b":[1,"x"]}},{"id":"s"},{"id":"s","componentId":"abc"}],"edges":[{"id":"xxxxxxxxxxx"}]},"owners":[{}],"status":"active","cron":"60 * * * *"}"#;
        let faults = parse(body, ComponentCheck::AtStart).unwrap_err();
        let seen: Vec<_> =
            faults.iter().map(|fault| (fault.pointer.as_str(), fault.message.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("/name", r#"Cast to string failed for value "{ a: 1 }" (type Object) at path "name""#),
                (
                    "/graph/nodes/0/id",
                    r#"Cast to string failed for value "{ b: [ 1, 'x' ] }" (type Object) at path "id""#
                ),
                (
                    "/graph/nodes/2/componentId",
                    r#"Cast to ObjectId failed for value "abc" (type string) at path "componentId" because of "BSONTypeError""#
                ),
                ("/graph/nodes/2/id", "Flow node id \"s\" is used more than once."),
                (
                    "/graph/edges/0/id",
                    "Path `id` (`xxxxxxxxxxx`) is longer than the maximum allowed length (10)."
                ),
                ("/graph/edges/0/target", "Flow edges require a target."),
                ("/graph/edges/0/source", "Flow edges require a source."),
                ("/owners/0/type", "Flow owners require a type."),
                ("/owners/0/id", "Flow owners require an id."),
                (
                    "/status",
                    "Flow status cannot be set manually. Use the flow start/stop end points instead."
                ),
                (
                    "/graph/edges/0/source",
                    "Edge source with id \"undefined\" could not be found among nodes."
                ),
                (
                    "/graph/edges/0/target",
                    "Edge target with id \"undefined\" could not be found among nodes."
                ),
                ("/cron", "Invalid cron expression."),
            ]
        );
    }

    #[test]
    fn crons_are_read_as_documented() {
        for good in [
            "",
            "* * * * *",
            "* * * * * *",
            "*/2 * * * *",
            "0 0 12 * * ?",
            "* * * * MON",
            "* * * JAN *",
            "1,2,3 * * * *",
            "  * * * * *  ",
            "* * * * 5#2",
            "0 0 * * 7",
            "0 0 L * *",
            "0 0 1W * *",
        ] {
            assert!(parse(&with(&format!(r#""cron":"{good}""#)), ComponentCheck::AtStart).is_ok(), "{good}");
        }
        for bad in [
            "abcde",
            "@daily",
            "60 * * * *",
            "* 25 * * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "1",
            "* * * *",
            "a b c d e",
            "0 0 12 1 1 ? 2020",
            "*/0 * * * *",
            "* /2 * * * *",
            "5-1 * * * *",
            ", * * * *",
            "1,,2 * * * *",
        ] {
            assert_eq!(
                messages(&with(&format!(r#""cron":"{bad}""#)), ComponentCheck::AtStart),
                ["Invalid cron expression."],
                "{bad}"
            );
        }
    }

    #[test]
    fn values_are_kept_exactly_as_sent() {
        let body = r#"{"graph":{"nodes":[{"id":"a","fields":{"n":1.0,"big":123456789012345678901234567890,"$set":1,"a.b":[1e400, null]}}],"edges":null},"owners":[],"flowSettings":"str"}"#;
        assert_eq!(serde_json::to_string(&parse(body, ComponentCheck::AtStart).unwrap()).unwrap(), body);
    }

    #[test]
    fn lengths_are_bounded() {
        for (member, max) in
            [("name", MAX_NAME), ("description", MAX_DESCRIPTION), ("type", MAX_TEXT), ("tenant", MAX_TEXT)]
        {
            let fits = "ü".repeat(max);
            assert!(parse(&with(&format!(r#""{member}":"{fits}""#)), ComponentCheck::AtStart).is_ok());
            let faults =
                parse(&with(&format!(r#""{member}":"{fits}x""#)), ComponentCheck::AtStart).unwrap_err();
            assert_eq!(faults[0].reason, "too_long");
            assert!(faults[0].message.len() < 400);
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let names = prop::sample::select(vec![
            "id",
            "name",
            "graph",
            "nodes",
            "edges",
            "source",
            "target",
            "owners",
            "type",
            "cron",
            "status",
            "config",
            "condition",
            "componentId",
            "fields",
            "x",
        ]);
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,40}".prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(names.clone().prop_map(String::from), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_body_is_a_document_or_a_list_of_faults(graph in json(), owners in json(), cron in json()) {
            let body = serde_json::json!({"graph": graph, "owners": owners, "cron": cron}).to_string();
            match parse(&body, ComponentCheck::AtStart) {
                // What was accepted is accepted again, unchanged: a client may send back what it got.
                Ok(document) => {
                    let again = serde_json::to_string(&document).unwrap();
                    prop_assert_eq!(parse(&again, ComponentCheck::AtStart).unwrap(), document);
                }
                Err(faults) => prop_assert!(!faults.is_empty()),
            }
        }
    }
}
