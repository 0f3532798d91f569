//! What has changed from one document to another, for people and for programs.

mod operations;
mod pairs;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;

use serde::Serialize;

use super::cast::shorten;
use super::document::{Document, Edge, EdgeConfig, Field, Graph, Json, Node, Owner};
use super::pointer::cut;
use crate::json::{are_equal, elements_of, members_of};

pub use operations::json_patch;
use pairs::Pairs;

/// Members of `nodeSettings` that only say where and how an editor draws the node.
const NODE_LAYOUT: &[&str] = &["position", "x", "y", "width", "height", "layout", "color", "collapsed"];
/// Members of `flowSettings` that only say how an editor draws the flow.
const FLOW_LAYOUT: &[&str] = &["layout", "viewport"];

/// Entries of one list.
const MAX_ENTRIES: usize = 1000;
/// All entries in JSON; the rest of 200 KB is for what is around them.
const MAX_BYTES: usize = 199_000;

/// What has changed from one document to another. It takes less than 200 KB of JSON whatever the
/// documents are: what is too much is left out, and `truncated` says so.
///
/// JSON is compared by value: neither whitespace nor the order of members is a change, nor how a number or a
/// text is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    nodes: Changes<NodeName>,
    edges: Changes<EdgeName>,
    /// Where something has changed outside the graph; there too when only `null` has become no edges.
    members: List<String>,
    /// Where something has changed that only an editor draws.
    layout: List<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// What people call the changed members.
    #[serde(skip)]
    words: Vec<&'static str>,
}

/// What was added points into the later document, what was removed into the earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Changes<T> {
    added: List<Place<T>>,
    removed: List<Place<T>>,
    changed: List<Changed<T>>,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self { added: List::default(), removed: List::default(), changed: List::default() }
    }
}

/// The first of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct List<T> {
    entries: Vec<T>,
    /// How many there are.
    #[serde(skip)]
    total: usize,
    /// Whether some are missing.
    #[serde(skip)]
    is_cut: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), total: 0, is_cut: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Place<T> {
    #[serde(flatten)]
    name: T,
    pointer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Changed<T> {
    #[serde(flatten)]
    name: T,
    /// Into the later document; what was removed, where it would be there.
    pointers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct NodeName {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl From<&Node> for NodeName {
    fn from(node: &Node) -> Self {
        Self { id: node.id.clone(), name: node.name.value().map(|name| shorten(name)) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct EdgeName {
    source: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl From<&Edge> for EdgeName {
    fn from(edge: &Edge) -> Self {
        Self { source: edge.source.clone(), target: edge.target.clone(), id: edge.id.value().cloned() }
    }
}

impl Difference {
    /// What has changed from `from` to `to`.
    #[must_use]
    pub fn between(from: &Document, to: &Document) -> Self {
        let mut comparison = Comparison { room: MAX_BYTES, ..Comparison::default() };
        comparison.document(from, to);
        comparison.found
    }

    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.edges.is_empty() && self.members.total == 0 && self.layout.total == 0
    }

    /// A line for people, with the layout only when nothing else has changed.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut parts = self.nodes.counts("node");
        parts.extend(self.edges.counts("edge"));
        match self.words.as_slice() {
            [] => {}
            [word] => parts.push(format!("{word} changed")),
            [words @ .., last] => parts.push(format!("{} and {last} changed", words.join(", "))),
        }
        if parts.is_empty() {
            return if self.layout.total > 0 { "Layout changed" } else { "Nothing changed" }.into();
        }
        let mut summary = parts.join(", ");
        if let Some(first) = summary.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        summary
    }
}

impl<T> Changes<T> {
    const fn is_empty(&self) -> bool {
        self.added.total + self.removed.total + self.changed.total == 0
    }

    fn counts(&self, what: &str) -> Vec<String> {
        let counts =
            [(self.added.total, "added"), (self.removed.total, "removed"), (self.changed.total, "changed")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, verb)| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural} {verb}")
        });
        counts.collect()
    }
}

impl List<String> {
    fn note(&mut self, pointer: &str) {
        self.total += 1;
        let pointer = cut(pointer);
        if self.entries.last().is_some_and(|last| last == pointer) {
            return;
        }
        if self.entries.len() < MAX_ENTRIES {
            self.entries.push(pointer.to_owned());
        } else {
            self.is_cut = true;
        }
    }
}

/// Collects what has changed, as much of it as there is room for.
#[derive(Default)]
struct Comparison {
    found: Difference,
    pointers: Pointers,
    room: usize,
}

/// Where something has changed.
#[derive(Default)]
struct Pointers {
    /// In the part of the documents that is being compared.
    changed: List<String>,
    /// In all parts.
    layout: List<String>,
}

impl Comparison {
    fn document(&mut self, from: &Document, to: &Document) {
        self.members(from, to);
        self.owners(&from.owners, &to.owners);
        if edges_of(&from.graph).is_empty()
            && edges_of(&to.graph).is_empty()
            && from.graph.edges != to.graph.edges
        {
            self.pointers.changed.note("/graph/edges");
            self.found.words.push("edges");
        }
        let changed = mem::take(&mut self.pointers.changed);
        self.found.members = self.keep_all(changed);
        self.graph(&from.graph, &to.graph);
        let layout = mem::take(&mut self.pointers.layout);
        self.found.layout = self.keep_all(layout);
    }

    fn members(&mut self, from: &Document, to: &Document) {
        let Document {
            name,
            description,
            graph: _,
            kind,
            tenant,
            owners: _,
            cron,
            from_template,
            flow_settings,
        } = from;
        for (is_same, pointer, word) in [
            (*name == to.name, "/name", "name"),
            (*description == to.description, "/description", "description"),
            (*kind == to.kind, "/type", "type"),
            (*tenant == to.tenant, "/tenant", "tenant"),
            (*cron == to.cron, "/cron", "cron"),
            (*from_template == to.from_template, "/fromTemplate", "template"),
        ] {
            if !is_same {
                self.pointers.changed.note(pointer);
                self.found.words.push(word);
            }
        }
        let before = self.pointers.changed.total;
        self.pointers.json("/flowSettings".into(), flow_settings, &to.flow_settings, FLOW_LAYOUT);
        if self.pointers.changed.total > before {
            self.found.words.push("settings");
        }
    }

    fn owners(&mut self, from: &[Owner], to: &[Owner]) {
        let pairs = Pairs::of(
            from,
            to,
            &[
                |owner| Some((owner.id.as_str(), Some(owner.kind.as_str()))),
                |owner| Some((owner.id.as_str(), None)),
            ],
        );
        let changed = &mut self.pointers.changed;
        let before = changed.total;
        let indexes: BTreeSet<_> = pairs.added().chain(pairs.removed()).collect();
        for index in indexes {
            changed.note(&format!("/owners/{index}"));
        }
        for (index, old, new) in pairs.matched(from, to) {
            if old.kind != new.kind {
                changed.note(&format!("/owners/{index}/type"));
            }
            if old.role != new.role {
                changed.note(&format!("/owners/{index}/role"));
            }
        }
        if !pairs.keep_order() {
            changed.note("/owners");
        }
        if changed.total > before {
            self.found.words.push("owners");
        }
    }

    fn graph(&mut self, from: &Graph, to: &Graph) {
        let pairs = Pairs::of(&from.nodes, &to.nodes, &[|node| Some(node.id.as_str())]);
        self.found.nodes = self.elements("/graph/nodes", &from.nodes, &to.nodes, &pairs, Pointers::node);
        let (old, new) = (edges_of(from), edges_of(to));
        let is_plain = !are_side_by_side(old) && !are_side_by_side(new);
        let keys: &[_] = if is_plain { &[EdgeKey::ENDS] } else { &EdgeKey::ALL };
        let pairs = Pairs::of(old, new, keys);
        self.found.edges = self.elements("/graph/edges", old, new, &pairs, Pointers::edge);
    }

    fn elements<'a, T, N: From<&'a T> + Serialize>(
        &mut self,
        list: &str,
        from: &'a [T],
        to: &'a [T],
        pairs: &Pairs,
        compare: fn(&mut Pointers, &str, &T, &T),
    ) -> Changes<N> {
        let mut changes = Changes::default();
        for (index, old, new) in pairs.matched(from, to) {
            let pointer = format!("{list}/{index}");
            compare(&mut self.pointers, &pointer, old, new);
            let found = mem::take(&mut self.pointers.changed);
            if found.total > 0 {
                self.keep_changed(&mut changes.changed, new.into(), found, pointer);
            }
        }
        for (index, new) in pairs.added().filter_map(|index| Some((index, to.get(index)?))) {
            self.keep(&mut changes.added, Place { name: new.into(), pointer: format!("{list}/{index}") });
        }
        for (index, old) in pairs.removed().filter_map(|index| Some((index, from.get(index)?))) {
            self.keep(&mut changes.removed, Place { name: old.into(), pointer: format!("{list}/{index}") });
        }
        if !pairs.keep_order() {
            self.pointers.layout.note(list);
        }
        changes
    }

    fn keep_all(&mut self, pointers: List<String>) -> List<String> {
        self.found.truncated |= pointers.is_cut;
        let mut kept = List::default();
        for pointer in pointers.entries {
            self.keep(&mut kept, pointer);
        }
        kept
    }

    fn keep_changed<N: Serialize>(
        &mut self,
        list: &mut List<Changed<N>>,
        name: N,
        pointers: List<String>,
        pointer: String,
    ) {
        self.found.truncated |= pointers.is_cut;
        let mut entry = Changed { name, pointers: pointers.entries };
        if size(&entry) > self.room {
            self.found.truncated = true;
            entry.pointers = vec![pointer];
        }
        self.keep(list, entry);
    }

    fn keep<E: Serialize>(&mut self, list: &mut List<E>, entry: E) {
        list.total += 1;
        let left = if list.entries.len() < MAX_ENTRIES { self.room.checked_sub(size(&entry)) } else { None };
        match left {
            Some(left) => {
                self.room = left;
                list.entries.push(entry);
            }
            None => self.found.truncated = true,
        }
    }
}

/// By what edges are known again: all that they say, or else less and less of it. The operations know them by the
/// same.
#[derive(PartialEq, Eq, Hash)]
enum EdgeKey<'a> {
    Whole(&'a Edge),
    /// Also of those without an id, if they have a condition.
    Condition(&'a str, &'a str, Option<&'a str>, &'a str),
    Id(&'a str, &'a str, Option<&'a str>),
    Ends(&'a str, &'a str),
}

impl<'a> EdgeKey<'a> {
    const ENDS: fn(&'a Edge) -> Option<Self> = |edge| Some(Self::Ends(&edge.source, &edge.target));
    const ALL: [fn(&'a Edge) -> Option<Self>; 4] = [
        |edge| Some(Self::Whole(edge)),
        |edge| {
            let condition = edge.config.value()?.condition.value()?;
            Some(Self::Condition(&edge.source, &edge.target, edge.id.value().map(String::as_str), condition))
        },
        |edge| Some(Self::Id(&edge.source, &edge.target, edge.id.value().map(String::as_str))),
        Self::ENDS,
    ];
}

/// Whether some of them have the same ends.
fn are_side_by_side(edges: &[Edge]) -> bool {
    let mut seen = HashSet::with_capacity(edges.len());
    !edges.iter().all(|edge| seen.insert((&edge.source, &edge.target)))
}

fn edges_of(graph: &Graph) -> &[Edge] {
    graph.edges.value().map(Vec::as_slice).unwrap_or_default()
}

/// In a list, with the comma.
fn size(entry: &impl Serialize) -> usize {
    serde_json::to_vec(entry).map_or(usize::MAX, |json| json.len() + 1)
}

impl Pointers {
    fn node(&mut self, pointer: &str, from: &Node, to: &Node) {
        if from == to {
            return;
        }
        let Node { id: _, component_id, function, name, description, credentials_id, fields, node_settings } =
            from;
        for (is_same, member) in [
            (*component_id == to.component_id, "componentId"),
            (*function == to.function, "function"),
            (*name == to.name, "name"),
            (*description == to.description, "description"),
            (*credentials_id == to.credentials_id, "credentials_id"),
        ] {
            if !is_same {
                self.changed.note(&format!("{pointer}/{member}"));
            }
        }
        self.json(format!("{pointer}/fields"), fields, &to.fields, &[]);
        self.json(format!("{pointer}/nodeSettings"), node_settings, &to.node_settings, NODE_LAYOUT);
    }

    fn edge(&mut self, pointer: &str, from: &Edge, to: &Edge) {
        let Edge { id, config, source: _, target: _ } = from;
        if *id != to.id {
            self.changed.note(&format!("{pointer}/id"));
        }
        match (config, &to.config) {
            (Field::Value(EdgeConfig { condition, mapper }), Field::Value(to)) => {
                if *condition != to.condition {
                    self.changed.note(&format!("{pointer}/config/condition"));
                }
                self.json(format!("{pointer}/config/mapper"), mapper, &to.mapper, &[]);
            }
            (from, to) if from == to => {}
            _ => self.changed.note(&format!("{pointer}/config")),
        }
    }

    fn json(&mut self, mut pointer: String, from: &Field<Json>, to: &Field<Json>, layout: &[&str]) {
        let (old, new) = (from.value().map(Json::text), to.value().map(Json::text));
        match (old, new) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => {
                let (Some(old), Some(new)) = (members_of(old), members_of(new)) else {
                    return differences(Some(old), Some(new), &mut pointer, &mut self.changed);
                };
                for (name, old, new) in members(&old, &new) {
                    let is_layout = layout.contains(&name);
                    let found = if is_layout { &mut self.layout } else { &mut self.changed };
                    below(&mut pointer, name, |pointer| {
                        differences(old.copied(), new.copied(), pointer, found);
                    });
                }
            }
            (Some(only), None) | (None, Some(only)) if is_layout(only, layout) => self.layout.note(&pointer),
            _ if from == to => {}
            _ => self.changed.note(&pointer),
        }
    }
}

/// Whether all members are layout.
fn is_layout(json: &str, layout: &[&str]) -> bool {
    members_of(json)
        .is_some_and(|members| !members.is_empty() && members.keys().all(|name| layout.contains(&&**name)))
}

/// Notes the innermost differences of two values. Arrays that do not have the same length differ as a
/// whole. What has the same text is not read.
fn differences(from: Option<&str>, to: Option<&str>, pointer: &mut String, found: &mut List<String>) {
    let (Some(old), Some(new)) = (from, to) else { return found.note(pointer) };
    if old == new {
        return;
    }
    if let (Some(old), Some(new)) = (members_of(old), members_of(new)) {
        for (name, old, new) in members(&old, &new) {
            below(pointer, name, |pointer| differences(old.copied(), new.copied(), pointer, found));
        }
    } else if let (Some(old), Some(new)) = (elements_of(old), elements_of(new))
        && old.clone().count() == new.clone().count()
    {
        for (index, (old, new)) in old.zip(new).enumerate() {
            let name = index.to_string();
            below(pointer, &name, |pointer| differences(Some(old), Some(new), pointer, found));
        }
    } else if !are_equal(old, new) {
        found.note(pointer);
    }
}

/// With the pointer of the member `name`.
fn below(pointer: &mut String, name: &str, act: impl FnOnce(&mut String)) {
    let length = pointer.len();
    pointer.push('/');
    for character in name.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
    act(pointer);
    pointer.truncate(length);
}

/// All members of two objects, each with what it is in the one and in the other.
fn members<'a, K: Ord + Borrow<str>, V>(
    from: &'a BTreeMap<K, V>,
    to: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a str, Option<&'a V>, Option<&'a V>)> {
    fn text<K: Borrow<str>>(name: &K) -> &str {
        name.borrow()
    }

    let kept = to.iter().map(|(name, new)| (text(name), from.get(text(name)), Some(new)));
    let removed = from.iter().filter(|(name, _)| !to.contains_key(text(*name)));
    kept.chain(removed.map(|(name, old)| (text(name), Some(old), None)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    pub(super) fn document(value: &Value) -> Document {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    /// A flow of three nodes in a row.
    fn flow() -> Value {
        json!({
            "name": "n",
            "graph": {
                "nodes": [
                    {"id": "a", "name": "Start"},
                    {"id": "b", "fields": {"url": "u", "list": [1, 2, {"x": 1}], "a/b~c": 1, "old": 1}},
                    {"id": "c", "nodeSettings": {"position": {"x": 1, "y": 2}, "retries": 1}},
                ],
                "edges": [
                    {"source": "a", "target": "b", "config": {"condition": "c", "mapper": {"m": 1}}},
                    {"source": "b", "target": "c"},
                ],
            },
            "owners": [{"id": "anna", "type": "user"}, {"id": "acme", "type": "tenant"}],
            "cron": "* * * * *",
            "flowSettings": {"timeout": 1, "viewport": {"zoom": 1}},
        })
    }

    /// From the flow to what these operations make of it.
    fn after(operations: Value) -> Difference {
        let mut to = flow();
        json_patch::patch(&mut to, &serde_json::from_value::<Vec<_>>(operations).unwrap()).unwrap();
        let (from, to) = (document(&flow()), document(&to));
        let difference = Difference::between(&from, &to);
        assert_eq!(difference.is_empty(), from == to);
        difference
    }

    fn replaced(pointer: &str, value: &Value) -> Difference {
        after(json!([{"op": "add", "path": pointer, "value": value}]))
    }

    /// The lists that are not empty.
    fn shown(difference: &Difference) -> Value {
        let mut value = serde_json::to_value(difference).unwrap();
        for part in ["nodes", "edges"] {
            value[part].as_object_mut().unwrap().retain(|_, list| *list != json!([]));
        }
        value.as_object_mut().unwrap().retain(|_, part| *part != json!([]) && *part != json!({}));
        value
    }

    #[test]
    fn nodes_are_added_removed_and_changed() {
        let difference = after(json!([
            {"op": "add", "path": "/graph/nodes/0", "value": {"id": "d", "name": "x".repeat(200)}},
            {"op": "remove", "path": "/graph/nodes/1"},
            {"op": "add", "path": "/graph/nodes/1/fields/url", "value": "v"},
            {"op": "remove", "path": "/graph/nodes/1/fields/old"},
            {"op": "add", "path": "/graph/nodes/1/fields/a~1b~0c", "value": 2},
            {"op": "add", "path": "/graph/nodes/1/fields/list/2/x", "value": 2},
            {"op": "add", "path": "/graph/nodes/1/name", "value": null},
            {"op": "add", "path": "/graph/nodes/2/nodeSettings/position/x", "value": 2},
            {"op": "add", "path": "/graph/nodes/2/nodeSettings/retries", "value": 2},
        ]));
        let name = format!("{}…", "x".repeat(100));
        assert_eq!(
            shown(&difference),
            json!({
                "nodes": {
                    "added": [{"id": "d", "name": name, "pointer": "/graph/nodes/0"}],
                    "removed": [{"id": "a", "name": "Start", "pointer": "/graph/nodes/0"}],
                    "changed": [
                        {"id": "b", "pointers": [
                            "/graph/nodes/1/name",
                            "/graph/nodes/1/fields/a~1b~0c",
                            "/graph/nodes/1/fields/list/2/x",
                            "/graph/nodes/1/fields/url",
                            "/graph/nodes/1/fields/old",
                        ]},
                        {"id": "c", "pointers": ["/graph/nodes/2/nodeSettings/retries"]},
                    ],
                },
                "layout": ["/graph/nodes/2/nodeSettings/position/x"],
            })
        );
        assert_eq!(difference.summary(), "1 node added, 1 node removed, 2 nodes changed");
    }

    #[test]
    fn a_change_is_of_the_smallest_member() {
        for (path, value, expected) in [
            ("/graph/nodes/1/fields/list", json!([1, 2]), "/graph/nodes/1/fields/list"),
            ("/graph/nodes/1/fields/list/0", json!(9), "/graph/nodes/1/fields/list"),
            ("/graph/nodes/1/fields", json!("text"), "/graph/nodes/1/fields"),
            ("/graph/nodes/1/fields", Value::Null, "/graph/nodes/1/fields"),
            ("/graph/nodes/0/fields", json!({"position": 1}), "/graph/nodes/0/fields"),
            ("/graph/nodes/0/nodeSettings", json!({"x": 1, "retries": 1}), "/graph/nodes/0/nodeSettings"),
            ("/graph/nodes/0/nodeSettings", json!({}), "/graph/nodes/0/nodeSettings"),
            ("/graph/nodes/2/nodeSettings/retries", json!({"x": 1}), "/graph/nodes/2/nodeSettings/retries"),
            ("/graph/nodes/0/componentId", json!("5ca5c44c187c040010a9bb8b"), "/graph/nodes/0/componentId"),
            (
                "/graph/nodes/0/credentials_id",
                json!("5ca5c44c187c040010a9bb8b"),
                "/graph/nodes/0/credentials_id",
            ),
            ("/graph/nodes/0/function", json!("f"), "/graph/nodes/0/function"),
            ("/graph/nodes/0/description", json!("d"), "/graph/nodes/0/description"),
        ] {
            let difference = replaced(path, &value);
            assert_eq!(shown(&difference)["nodes"]["changed"][0]["pointers"], json!([expected]), "{path}");
            assert_eq!(difference.summary(), "1 node changed");
            assert_eq!(difference.layout.total, 0);
        }
    }

    #[test]
    fn edges_are_known_by_their_ends_and_then_by_their_ids() {
        let difference = after(json!([
            {"op": "add", "path": "/graph/edges/0", "value": {"source": "a", "target": "c", "id": "1"}},
            {"op": "remove", "path": "/graph/edges/2"},
            {"op": "add", "path": "/graph/edges/1/config/mapper/m", "value": 2},
            {"op": "remove", "path": "/graph/edges/1/config/condition"},
            {"op": "add", "path": "/graph/edges/1/id", "value": "2"},
        ]));
        assert_eq!(
            shown(&difference),
            json!({"edges": {
                "added": [{"source": "a", "target": "c", "id": "1", "pointer": "/graph/edges/0"}],
                "removed": [{"source": "b", "target": "c", "pointer": "/graph/edges/1"}],
                "changed": [{"source": "a", "target": "b", "id": "2", "pointers": [
                    "/graph/edges/1/id",
                    "/graph/edges/1/config/condition",
                    "/graph/edges/1/config/mapper/m",
                ]}],
            }})
        );
        assert_eq!(difference.summary(), "1 edge added, 1 edge removed, 1 edge changed");
        let difference = after(json!([{"op": "remove", "path": "/graph/edges/0/config"}]));
        assert_eq!(difference.edges.changed.entries[0].pointers, ["/graph/edges/0/config"]);

        let edges = |ids: &[Value]| {
            let mut flow = flow();
            let edges = ids.iter().map(|id| json!({"source": "a", "target": "b", "id": id}));
            flow["graph"]["edges"] = edges.collect();
            document(&flow)
        };
        let between = |from: &[Value], to: &[Value]| {
            shown(&Difference::between(&edges(from), &edges(to)))["edges"].clone()
        };
        let place =
            |id: &str, pointer: &str| json!([{"source": "a", "target": "b", "id": id, "pointer": pointer}]);
        assert_eq!(
            between(&[json!("1"), json!("2")], &[json!("2")]),
            json!({"removed": place("1", "/graph/edges/0")})
        );
        assert_eq!(
            between(&[json!("1"), json!("2")], &[json!("2"), json!("3"), json!("4")]),
            json!({
                "added": place("4", "/graph/edges/2"),
                "changed": [{"source": "a", "target": "b", "id": "3", "pointers": ["/graph/edges/1/id"]}],
            })
        );
        assert_eq!(between(&[Value::Null, Value::Null], &[Value::Null, Value::Null]), Value::Null);
    }

    #[test]
    fn what_changes_outside_the_graph() {
        for (path, value, expected, summary) in [
            ("/name", json!("m"), "/name", "Name changed"),
            ("/name", Value::Null, "/name", "Name changed"),
            ("/description", json!("d"), "/description", "Description changed"),
            ("/type", json!("t"), "/type", "Type changed"),
            ("/tenant", json!("t"), "/tenant", "Tenant changed"),
            ("/cron", json!(""), "/cron", "Cron changed"),
            ("/fromTemplate", json!("5ca5c44c187c040010a9bb8b"), "/fromTemplate", "Template changed"),
            ("/flowSettings/timeout", json!(2), "/flowSettings/timeout", "Settings changed"),
            ("/flowSettings/x", json!(2), "/flowSettings/x", "Settings changed"),
            ("/owners/0/type", json!("tenant"), "/owners/0/type", "Owners changed"),
            ("/owners/1", json!({"id": "b", "type": "user"}), "/owners/1", "Owners changed"),
            ("/owners/2", json!({"id": "b", "type": "user"}), "/owners/2", "Owners changed"),
            (
                "/owners",
                json!([{"id": "acme", "type": "tenant"}, {"id": "anna", "type": "user"}]),
                "/owners",
                "Owners changed",
            ),
            ("/owners", json!([{"id": "acme", "type": "tenant"}]), "/owners/0", "Owners changed"),
        ] {
            let difference = replaced(path, &value);
            assert_eq!(shown(&difference), json!({"members": [expected]}), "{path}");
            assert_eq!(difference.summary(), summary);
        }
        let no_edges = |edges: Value| {
            document(&json!({"graph": {"nodes": [{"id": "a"}], "edges": edges}, "owners": []}))
        };
        let difference = Difference::between(&no_edges(Value::Null), &no_edges(json!([])));
        assert_eq!(shown(&difference), json!({"members": ["/graph/edges"]}));
    }

    #[test]
    fn what_only_an_editor_draws_is_layout() {
        let (nodes, edges) = (flow()["graph"]["nodes"].clone(), flow()["graph"]["edges"].clone());
        let turned = |list: &Value| list.as_array().unwrap().iter().rev().cloned().collect::<Value>();
        for (path, value, expected) in [
            ("/graph/nodes/2/nodeSettings/position/y", json!(3), "/graph/nodes/2/nodeSettings/position/y"),
            ("/graph/nodes/2/nodeSettings/color", json!("red"), "/graph/nodes/2/nodeSettings/color"),
            ("/graph/nodes/0/nodeSettings", json!({"x": 1}), "/graph/nodes/0/nodeSettings"),
            ("/flowSettings/viewport/zoom", json!(2), "/flowSettings/viewport/zoom"),
            ("/flowSettings/layout", json!("auto"), "/flowSettings/layout"),
            ("/graph/nodes", turned(&nodes), "/graph/nodes"),
            ("/graph/edges", turned(&edges), "/graph/edges"),
        ] {
            let difference = replaced(path, &value);
            assert_eq!(shown(&difference), json!({"layout": [expected]}), "{path}");
            assert_eq!(difference.summary(), "Layout changed");
        }
    }

    #[test]
    fn the_text_of_json_is_no_change() {
        let settings = |text: &str| -> Document {
            let text = format!(
                r#"{{"graph":{{"nodes":[{{"id":"a","fields":{text}}}],"edges":[]}},"owners":[],"flowSettings":{text}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let between = |from: &str, to: &str| Difference::between(&settings(from), &settings(to));
        let same = between(
            r#"{"a":1.0,"b":[123456789012345678901,1e999]}"#,
            r#"{ "b": [123456789012345678901.0,10E998], "\u0061": 1e0 }"#,
        );
        assert!(same.is_empty());
        assert_eq!(same.summary(), "Nothing changed");
        assert_eq!(shown(&same), json!({}));
        let other = between(r#"{"a":1e999}"#, r#"{"a":1e998}"#);
        assert_eq!(
            shown(&other),
            json!({
                "nodes": {"changed": [{"id": "a", "pointers": ["/graph/nodes/0/fields/a"]}]},
                "members": ["/flowSettings/a"],
            })
        );
        let patch = super::json_patch(&settings("1e999"), &settings("123456789012345678901"));
        assert_eq!(
            serde_json::to_string(&patch.unwrap()).unwrap(),
            r#"[{"op":"replace","path":"/flowSettings","value":123456789012345678901},{"op":"replace","path":"/graph/nodes/0/fields","value":123456789012345678901}]"#
        );
    }

    #[test]
    fn a_summary_is_one_line() {
        let difference = after(json!([
            {"op": "add", "path": "/graph/nodes/-", "value": {"id": "d"}},
            {"op": "add", "path": "/graph/nodes/-", "value": {"id": "e"}},
            {"op": "add", "path": "/graph/nodes/0/name", "value": "End"},
            {"op": "remove", "path": "/graph/edges/1"},
            {"op": "remove", "path": "/name"},
            {"op": "remove", "path": "/cron"},
            {"op": "add", "path": "/flowSettings/timeout", "value": 2},
            {"op": "add", "path": "/flowSettings/layout", "value": 2},
        ]));
        assert_eq!(
            difference.summary(),
            "2 nodes added, 1 node changed, 1 edge removed, name, cron and settings changed"
        );
        let difference = after(json!([{"op": "remove", "path": "/name"}, {"op": "remove", "path": "/cron"}]));
        assert_eq!(difference.summary(), "Name and cron changed");
    }

    #[test]
    fn a_difference_is_bounded() {
        let large = |name: &str, value: u32| {
            let members: Map<_, _> =
                (0..3000).map(|n| (format!("{}{n}", "\u{1}/\"".repeat(n % 80)), json!(value))).collect();
            let nodes: Vec<_> = (0..9000)
                .map(|n| {
                    let id = if n < 3000 { format!("{name}{n}") } else { format!("kept{n}") };
                    let position = if n % 2 == 0 { json!(value) } else { json!([value]) };
                    json!({"id": id, "name": "\u{1}".repeat(200), "nodeSettings": {"x": position}, "fields": [n % 3 * value]})
                })
                .collect();
            let edges: Vec<_> = (0..9000)
                .map(|n| json!({"source": format!("{name}{}", n % 4000), "target": "\"".repeat(300), "id": n.to_string(), "config": {"condition": name}}))
                .collect();
            let mut flow = flow();
            flow["graph"] = json!({"nodes": nodes, "edges": edges});
            flow["graph"]["nodes"][8999]["fields"] = json!(members);
            flow["flowSettings"] = json!({"k".repeat(100_000): vec![value; 3000], "l": members, "x": value});
            flow["flowSettings"]["layout"] = json!(members);
            for member in ["name", "description", "type", "tenant", "cron"] {
                flow[member] = json!(name);
            }
            flow["fromTemplate"] = json!(format!("5ca5c44c187c040010a9bb8{value}"));
            flow["owners"] = json!([{"id": name, "type": "user"}]);
            document(&flow)
        };
        let (from, to) = (large("a", 1), large("b", 2));
        let difference = Difference::between(&from, &to);
        let text = serde_json::to_string(&difference).unwrap();
        assert!(text.len() < 200_000 && text.ends_with(r#""truncated":true}"#), "{}", text.len());
        assert!(!text.contains("kkk"));
        assert_eq!(difference.nodes.added.total, 3000);
        assert_eq!(
            difference.summary(),
            "3000 nodes added, 3000 nodes removed, 4000 nodes changed, 9000 edges added, 9000 edges removed, name, description, type, tenant, cron, template, settings and owners changed"
        );
        assert!(difference.summary().len() < 200);

        // Few that are large.
        let mut flow = flow();
        let fields =
            |value| -> Map<_, _> { (0..600).map(|n| (format!("{n:0>200}"), json!(value))).collect() };
        let mut nodes = |value: u32| {
            flow["graph"]["nodes"] =
                json!([{"id": "a", "fields": fields(value)}, {"id": "b", "fields": fields(value)}]);
            document(&flow)
        };
        let difference = Difference::between(&nodes(1), &nodes(2));
        let pointers: Vec<_> =
            difference.nodes.changed.entries.iter().map(|entry| entry.pointers.len()).collect();
        assert_eq!((pointers, difference.truncated), (vec![600, 1], true));
    }

    pub(super) fn documents() -> impl Strategy<Value = Document> {
        let text = prop::option::of(prop::option::of(prop::sample::select(vec!["", "x", "y"])));
        let node = (0..9u8, text.clone(), json(), json());
        let edge = (0..3u8, 0..3u8, text.clone(), json());
        (
            prop::collection::vec(node, 0..9),
            prop::option::of(prop::collection::vec(edge, 0..9)),
            prop::collection::vec((0..4u8, 0..2u8), 0..4),
            text,
            json(),
        )
            .prop_map(|(nodes, edges, owners, name, settings)| {
                let mut body = json!({"graph": {"nodes": [], "edges": null}, "owners": []});
                let put = |object: &mut Value, name: &str, member: Option<Option<Value>>| {
                    if let Some(value) = member {
                        object[name] = value.unwrap_or_default();
                    }
                };
                let value = |text: Option<Option<&str>>| text.map(|text| text.map(Value::from));
                for (id, name, fields, settings) in nodes {
                    let mut node = json!({"id": id.to_string()});
                    put(&mut node, "name", value(name));
                    put(&mut node, "fields", fields);
                    put(&mut node, "nodeSettings", settings);
                    body["graph"]["nodes"].as_array_mut().unwrap().push(node);
                }
                if let Some(edges) = edges {
                    let edges = edges.into_iter().map(|(source, target, id, mapper)| {
                        let mut edge = json!({"source": source.to_string(), "target": target.to_string()});
                        put(&mut edge, "id", value(id));
                        if id.is_some() {
                            edge["config"] = json!({});
                            put(&mut edge["config"], "mapper", mapper);
                        }
                        edge
                    });
                    body["graph"]["edges"] = edges.collect();
                }
                let owners = owners
                    .into_iter()
                    .map(|(id, kind)| json!({"id": id.to_string(), "type": kind.to_string()}));
                body["owners"] = owners.collect();
                put(&mut body, "name", value(name));
                put(&mut body, "flowSettings", settings);
                document(&body)
            })
    }

    fn json() -> impl Strategy<Value = Option<Option<Value>>> {
        let leaf = prop_oneof![Just(json!(null)), (0..3u8).prop_map(Value::from), Just(json!("~/"))];
        let names = prop::sample::select(vec!["id", "source", "target", "x", "position", "a/~b", ""]);
        let value = leaf.prop_recursive(4, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(names.clone().prop_map(String::from), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        // What is `null` is no value.
        prop::option::of(value.prop_map(|value| Some(value).filter(|value| !value.is_null())))
    }

    proptest! {
        #[test]
        fn any_documents_have_a_difference_unless_they_are_equal(from in documents(), to in documents()) {
            prop_assert!(Difference::between(&from, &from).is_empty());
            let difference = Difference::between(&from, &to);
            prop_assert_eq!(difference.is_empty(), from == to);
            prop_assert_eq!(difference.summary() == "Nothing changed", from == to);
            let turned = Difference::between(&to, &from);
            prop_assert_eq!(turned.nodes.added.total, difference.nodes.removed.total);
            prop_assert_eq!(turned.edges.added.total, difference.edges.removed.total);
            // All that changed or was added is in the later document, unless it was removed.
            let (before, after) = (serde_json::to_value(&from).unwrap(), serde_json::to_value(&to).unwrap());
            for place in &difference.nodes.added.entries {
                prop_assert_eq!(&after.pointer(&place.pointer).unwrap()["id"], &place.name.id);
            }
            for place in &difference.nodes.removed.entries {
                prop_assert_eq!(&before.pointer(&place.pointer).unwrap()["id"], &place.name.id);
            }
            for pointer in difference.nodes.changed.entries.iter().flat_map(|entry| &entry.pointers) {
                let (holder, _) = pointer.rsplit_once('/').unwrap();
                prop_assert!(after.pointer(holder).is_some(), "{}", pointer);
            }
        }
    }
}
