use std::collections::BTreeMap;
use std::mem;

use serde::{Serialize, ser};

use super::pairs::Pairs;
use super::{below, members};
use crate::flow::Document;
use crate::json::{Object, Tree};

/// As many as a patch that is sent to a flow may have; rather than more, a larger value is replaced.
const MAX_OPERATIONS: usize = 1000;
/// The paths of those operations, for the same reason.
const MAX_PATHS: usize = 256 * 1024;

/// Values and names of both documents: as trees each takes some half a kilobyte, and most functions have 256 MB.
const MAX_VALUES: usize = 100_000;

/// One operation of a JSON Patch (RFC 6902).
#[derive(Clone, Serialize)]
pub struct Operation {
    op: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Tree>,
}

/// The operations (RFC 6902) that turn the one into the other, as clients see flows: at most 1000, and
/// not much larger than the document itself.
///
/// # Errors
/// When a document cannot be written as JSON, or both have too many values.
pub fn json_patch(from: &Document, to: &Document) -> serde_json::Result<Vec<Operation>> {
    let (from, to) = (serde_json::to_string(from)?, serde_json::to_string(to)?);
    if count_values(&from) + count_values(&to) > MAX_VALUES {
        return Err(<serde_json::Error as ser::Error>::custom(
            "there are more values than are compared as operations",
        ));
    }
    let (from, to) = (Tree::read(&from)?, Tree::read(&to)?);
    let (Tree::Object(from), Tree::Object(to)) = (&from, &to) else { return Ok(Vec::new()) };
    let (from, to) = (by_name(from), by_name(to));
    let parts = members(&from, &to).map(|(name, old, new)| {
        let (old, new) = (old.copied(), new.copied());
        let mut writer = Writer::default();
        writer.below(name, old, new);
        (name, new, writer.operations)
    });
    let mut parts: Vec<_> = parts.collect();
    if parts.iter().map(|(_, _, operations)| operations.len()).sum::<usize>() > MAX_OPERATIONS {
        // Only owners, graph and settings need more than one operation.
        for (name, new, operations) in &mut parts {
            if let Some(value) = new.filter(|_| operations.len() > MAX_OPERATIONS / 4) {
                let path = format!("/{name}");
                *operations = vec![Operation { op: "replace", path, value: Some(value.clone()) }];
            }
        }
    }
    Ok(parts.into_iter().flat_map(|(_, _, operations)| operations).collect())
}

fn by_name(object: &Object) -> BTreeMap<&str, &Tree> {
    object.iter().map(|(name, member)| (name.as_str(), member)).collect()
}

/// At least as many as there are values and names in JSON.
fn count_values(json: &str) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (1, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b',' | b':' | b'[' | b'{' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

/// Writes operations, each for the document as those before it have left it.
#[derive(Default)]
struct Writer {
    path: String,
    operations: Vec<Operation>,
    /// The bytes of their paths.
    paths: usize,
}

/// How much was written before.
#[derive(Clone, Copy)]
struct Mark {
    operations: usize,
    paths: usize,
}

impl Writer {
    fn below(&mut self, name: &str, from: Option<&Tree>, to: Option<&Tree>) {
        self.at(name, |writer| writer.change(from, to));
    }

    fn at(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        let mut path = mem::take(&mut self.path);
        below(&mut path, name, |path| {
            self.path = mem::take(path);
            write(self);
            *path = mem::take(&mut self.path);
        });
        self.path = path;
    }

    fn change(&mut self, from: Option<&Tree>, to: Option<&Tree>) {
        let mark = Mark { operations: self.operations.len(), paths: self.paths };
        match (from, to) {
            (Some(Tree::Object(old)), Some(Tree::Object(new))) => {
                for (name, old, new) in members(&by_name(old), &by_name(new)) {
                    self.below(name, old.copied(), new.copied());
                    if self.is_too_much_since(mark) {
                        break;
                    }
                }
            }
            (Some(Tree::Array(old)), Some(Tree::Array(new))) => self.array(old, new, mark),
            _ => return self.whole(from, to),
        }
        if self.is_too_much_since(mark) {
            self.operations.truncate(mark.operations);
            self.paths = mark.paths;
            self.whole(from, to);
        }
    }

    fn whole(&mut self, from: Option<&Tree>, to: Option<&Tree>) {
        if from == to {
            return;
        }
        self.paths += self.path.len();
        let op = match (from, to) {
            (Some(_), Some(_)) => "replace",
            (None, _) => "add",
            (_, None) => "remove",
        };
        self.operations.push(Operation { op, path: self.path.clone(), value: to.cloned() });
    }

    const fn is_too_much_since(&self, mark: Mark) -> bool {
        self.operations.len() - mark.operations > MAX_OPERATIONS || self.paths - mark.paths > MAX_PATHS
    }

    /// Elements that are in both and in the same order stay; between them others are replaced, added
    /// and removed.
    fn array(&mut self, from: &[Tree], to: &[Tree], mark: Mark) {
        let start = if from.len() == to.len() { 0 } else { common(from.iter().zip(to)) };
        let from = from.get(start..).unwrap_or_default();
        let to = to.get(start..).unwrap_or_default();
        let end = if from.len() == to.len() { 0 } else { common(from.iter().rev().zip(to.iter().rev())) };
        let from = from.get(..from.len() - end).unwrap_or_default();
        let to = to.get(..to.len() - end).unwrap_or_default();
        let pairs = Pairs::of(from, to, &Name::ALL);
        let staying = longest_ascending(&pairs.origins);
        let (mut next_old, mut next_new) = (0, 0);
        for (new, old) in staying {
            let between = (from.get(next_old..old), to.get(next_new..new));
            self.run(between.0.unwrap_or_default(), between.1.unwrap_or_default(), start + next_new, mark);
            self.below(&(start + new).to_string(), from.get(old), to.get(new));
            if self.is_too_much_since(mark) {
                return;
            }
            (next_old, next_new) = (old + 1, new + 1);
        }
        let rest = (from.get(next_old..), to.get(next_new..));
        self.run(rest.0.unwrap_or_default(), rest.1.unwrap_or_default(), start + next_new, mark);
    }

    /// Turns some elements, of which the first is at `start`, into others.
    fn run(&mut self, from: &[Tree], to: &[Tree], start: usize, mark: Mark) {
        for index in 0..from.len().max(to.len()) {
            match (from.get(index), to.get(index)) {
                (Some(old), Some(new)) if Name::of(old).or(Name::of(new)).is_some() => {
                    self.at(&(start + index).to_string(), |writer| writer.whole(Some(old), Some(new)));
                }
                // With each that is removed the next one moves to its place.
                (old, None) => self.below(&(start + to.len()).to_string(), old, None),
                (old, new) => self.below(&(start + index).to_string(), old, new),
            }
            if self.is_too_much_since(mark) {
                return;
            }
        }
    }
}

/// How many pairs are of equals before the first that is not.
fn common<'a>(pairs: impl Iterator<Item = (&'a Tree, &'a Tree)>) -> usize {
    pairs.take_while(|(old, new)| old == new).count()
}

/// By what an element is known again: as [`EdgeKey`](super::EdgeKey) knows edges, and anything else by its id.
#[derive(PartialEq, Eq, Hash)]
enum Name<'a> {
    Whole(&'a Tree),
    Condition(Ends<'a>, Option<&'a Tree>, &'a str),
    Id(Option<Ends<'a>>, Option<&'a Tree>),
    Ends(Ends<'a>),
}

type Ends<'a> = (&'a str, &'a str);

impl<'a> Name<'a> {
    const ALL: [fn(&'a Tree) -> Option<Self>; 4] = [Self::whole, Self::condition, Self::of, Self::ends];

    /// What has no name is not known again.
    fn of(element: &'a Tree) -> Option<Self> {
        let (ends, id) = (ends(element), id(element));
        (ends.is_some() || element.get("id").is_some()).then_some(Self::Id(ends, id))
    }

    fn whole(element: &'a Tree) -> Option<Self> {
        ends(element).map(|_| Self::Whole(element))
    }

    fn condition(element: &'a Tree) -> Option<Self> {
        let condition = element.get("config")?.get("condition")?.as_str()?;
        Some(Self::Condition(ends(element)?, id(element), condition))
    }

    fn ends(element: &'a Tree) -> Option<Self> {
        ends(element).map(Self::Ends)
    }
}

fn ends(element: &Tree) -> Option<Ends<'_>> {
    Some((element.get("source")?.as_str()?, element.get("target")?.as_str()?))
}

/// One that is null is none.
fn id(element: &Tree) -> Option<&Tree> {
    element.get("id").filter(|id| !id.is_null())
}

/// The longest ascending subsequence, each with its place.
fn longest_ascending(numbers: &[Option<usize>]) -> Vec<(usize, usize)> {
    // Of each length the one that ends lowest: its last number and the place of that.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut before = vec![None; numbers.len()];
    for (place, number) in numbers.iter().enumerate() {
        let Some(number) = *number else { continue };
        let length = ends.partition_point(|(end, _)| *end < number);
        let shorter = length.checked_sub(1).and_then(|length| ends.get(length));
        if let Some(before) = before.get_mut(place) {
            *before = shorter.map(|(_, place)| *place);
        }
        match ends.get_mut(length) {
            Some(end) => *end = (number, place),
            None => ends.push((number, place)),
        }
    }
    let last = ends.last().map(|(_, place)| *place);
    let places = std::iter::successors(last, |place| before.get(*place).copied().flatten());
    let mut found: Vec<_> =
        places.filter_map(|place| Some((place, numbers.get(place).copied().flatten()?))).collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::tests::{document, documents};
    use super::super::{Difference, Field};
    use super::*;

    fn value(document: &Document) -> Value {
        serde_json::to_value(document).unwrap()
    }

    fn sent(patch: &[Operation]) -> json_patch::Patch {
        serde_json::from_str(&serde_json::to_string(patch).unwrap()).unwrap()
    }

    /// The operations, after a look whether they do what they should.
    fn operations(from: &Value, to: &Value) -> Value {
        let patch = json_patch(&document(from), &document(to)).unwrap();
        let mut patched = from.clone();
        json_patch::patch(&mut patched, &sent(&patch)).unwrap();
        assert_eq!(&patched, to);
        assert!(patch.len() <= MAX_OPERATIONS);
        serde_json::to_value(patch).unwrap()
    }

    fn flow(nodes: impl IntoIterator<Item = Value>, settings: &Value) -> Value {
        let nodes: Value = nodes.into_iter().collect();
        json!({"graph": {"nodes": nodes, "edges": []}, "owners": [], "flowSettings": settings})
    }

    fn nodes(ids: impl IntoIterator<Item = u32>) -> Value {
        let nodes = ids.into_iter().map(|id| json!({"id": format!("n{id}"), "fields": {"id": id}}));
        flow(nodes, &json!({}))
    }

    #[test]
    fn documents_of_too_many_values_are_not_read_as_trees() {
        let of = |count: usize| flow([], &json!({"big": vec![json!({"a,[{": "\",[{\\"}); count]}));
        assert!(json_patch(&document(&of(5)), &document(&of(MAX_VALUES / 4))).is_ok());
        assert!(json_patch(&document(&of(5)), &document(&of(MAX_VALUES / 3))).is_err());
    }

    #[test]
    fn nodes_keep_what_they_are_when_others_come_and_go() {
        let from = nodes(0..2000);
        assert_eq!(operations(&from, &from), json!([]));
        let added = nodes([9999].into_iter().chain(0..2000));
        let node = json!({"id": "n9999", "fields": {"id": 9999}});
        assert_eq!(
            operations(&from, &added),
            json!([{"op": "add", "path": "/graph/nodes/0", "value": node}])
        );
        assert_eq!(operations(&added, &from), json!([{"op": "remove", "path": "/graph/nodes/0"}]));
        // One comes, one goes and one changes.
        let mut changed = nodes([9999].into_iter().chain(0..1999));
        changed["graph"]["nodes"][9]["fields"]["id"] = json!("x");
        assert_eq!(
            operations(&from, &changed),
            json!([
                {"op": "add", "path": "/graph/nodes/0", "value": node},
                {"op": "replace", "path": "/graph/nodes/9/fields/id", "value": "x"},
                {"op": "remove", "path": "/graph/nodes/2000"},
            ])
        );
        let first = &from["graph"]["nodes"][0];
        assert_eq!(
            operations(&from, &nodes((1..2000).chain([0]))),
            json!([
                {"op": "remove", "path": "/graph/nodes/0"},
                {"op": "add", "path": "/graph/nodes/1999", "value": first},
            ])
        );
        let other = nodes((0..7).chain([9999]).chain(8..2000));
        assert_eq!(
            operations(&from, &other),
            json!([{"op": "replace", "path": "/graph/nodes/7", "value": node}])
        );
    }

    #[test]
    fn other_arrays_change_where_they_differ() {
        let settings = |settings| flow([], &settings);
        for (from, to, expected) in [
            (
                json!([1, 2, 3]),
                json!([1, 9, 3]),
                json!([{"op": "replace", "path": "/flowSettings/1", "value": 9}]),
            ),
            (
                json!([1, 2, 3]),
                json!([0, 1, 2, 3]),
                json!([{"op": "add", "path": "/flowSettings/0", "value": 0}]),
            ),
            (
                json!([1, 2, 3, 3]),
                json!([1, 3]),
                json!([
                    {"op": "remove", "path": "/flowSettings/1"}, {"op": "remove", "path": "/flowSettings/1"},
                ]),
            ),
            (
                json!([{"x": 1}, 1]),
                json!([{"x": 2}, 1, 1]),
                json!([
                    {"op": "replace", "path": "/flowSettings/0/x", "value": 2}, {"op": "add", "path": "/flowSettings/1", "value": 1},
                ]),
            ),
            (
                json!({"a/b~": 1}),
                json!({"c": {}}),
                json!([
                    {"op": "add", "path": "/flowSettings/c", "value": {}}, {"op": "remove", "path": "/flowSettings/a~1b~0"},
                ]),
            ),
        ] {
            assert_eq!(operations(&settings(from), &settings(to)), expected);
        }
    }

    #[test]
    fn rather_than_with_many_operations_values_change_as_a_whole() {
        let many = |value: u32, count: usize| {
            let nodes = (0..400).map(|id| json!({"id": id.to_string(), "fields": {"a": value, "b": value}}));
            let mut flow = flow(nodes, &json!({"x": vec![value; count], "y": 1}));
            flow["name"] = json!(value.to_string());
            flow
        };
        let paths = |from: Value, to: Value| {
            let operations = operations(&from, &to);
            operations
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["path"].as_str().unwrap().to_owned())
                .collect()
        };
        let few: Vec<_> = paths(many(1, 199), many(2, 199));
        assert_eq!(few.len(), 1000);
        let whole: Vec<_> = paths(many(1, 2000), many(2, 2000));
        assert_eq!((whole.len(), whole.last().unwrap().as_str()), (802, "/name"));
        assert_eq!(whole[0], "/flowSettings/x");
        // More together than one by one.
        assert_eq!(paths(many(1, 900), many(2, 900)) as Vec<_>, ["/flowSettings", "/graph", "/name"]);
        // Paths can be longer than what is there.
        let long = |value: u32| flow([], &json!({"k".repeat(90_000): vec![value; 9], "y": value}));
        assert_eq!(
            paths(long(1), long(2)) as Vec<_>,
            [&*format!("/flowSettings/{}", "k".repeat(90_000)), "/flowSettings/y"]
        );
        let long = |value: u32| flow([], &json!({"k".repeat(300_000): {"x": [value]}, "y": value}));
        assert_eq!(paths(long(1), long(2)) as Vec<_>, ["/flowSettings"]);
    }

    #[test]
    fn the_longest_ascending_numbers() {
        let of = |numbers: &[Option<usize>]| longest_ascending(numbers);
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[None]), []);
        assert_eq!(
            of(&[Some(5), Some(0), None, Some(1), Some(4), Some(2), Some(3)]),
            [(1, 0), (3, 1), (5, 2), (6, 3)]
        );
        assert_eq!(of(&[Some(2), Some(1), Some(0)]).len(), 1);
    }

    proptest! {
        #[test]
        fn a_patch_turns_any_document_into_any_other_as_the_summary_says(from in documents(), to in documents()) {
            let patch = json_patch(&from, &to).unwrap();
            let mut patched = value(&from);
            json_patch::patch(&mut patched, &sent(&patch)).unwrap();
            prop_assert_eq!(patched, value(&to));
            let difference = Difference::between(&from, &to);
            prop_assert_eq!(patch.is_empty(), from == to);
            prop_assert_eq!(patch.is_empty(), difference.is_empty());
            // What has only moved is layout, and what stays in its order is known again by both.
            if difference.layout.entries.iter().all(|pointer| pointer != "/graph/edges")
                && matches!((&from.graph.edges, &to.graph.edges), (Field::Value(_), Field::Value(_)))
            {
                let count = |op: &str| {
                    let whole = |path: &str| path.starts_with("/graph/edges/") && path.matches('/').count() == 3;
                    patch.iter().filter(|operation| operation.op == op && whole(&operation.path)).count()
                };
                let replaced = count("replace");
                prop_assert_eq!(count("add") + replaced, difference.edges.added.total);
                prop_assert_eq!(count("remove") + replaced, difference.edges.removed.total);
            }
        }
    }
}
