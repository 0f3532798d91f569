//! Patches in the two standard languages: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902). Both are
//! of the flow as clients see it.

use json_patch::PatchOperation;
use serde_json::Value;

use super::diff::Pairs;
use super::document::{Document, Edge, Field, Json};
use super::{ComponentCheck, EditError, Flow, FlowView, read_fields};
use crate::identity::Caller;

/// As much as a body may be, twice: for the result, and for all that operations bring somewhere.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// As deep as a body may be.
const MAX_DEPTH: usize = 100;
/// Operations of one patch.
const MAX_OPERATIONS: usize = 1000;
/// Why an operation fails is told in as many characters.
const MAX_MESSAGE: usize = 300;

/// A change of a flow in a standard language.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7396: what the flow is to look like where it is to change; `null` removes.
    Merge(Value),
    /// RFC 6902: operations, all or none.
    Operations(Vec<PatchOperation>),
}

/// Why a patch makes no flow.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// An operation has no place in the flow, or its test fails.
    #[error("{0}")]
    NotApplicable(String),
    /// The result is larger or deeper than a flow may be, or the operations are too many.
    #[error("the patch is too large")]
    TooLarge,
    /// The result is no valid flow.
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl Flow {
    /// The flow after a patch; `None` when it changes nothing. The flow must be inactive.
    ///
    /// # Errors
    /// See [`PatchError`].
    pub fn patched(
        &self,
        caller: &Caller,
        patch: &Patch,
        check: ComponentCheck,
    ) -> Result<Option<Self>, PatchError> {
        let mut view = serde_json::to_value(FlowView::from(self)).unwrap_or_default();
        match patch {
            Patch::Merge(changes) => json_patch::merge(&mut view, changes),
            Patch::Operations(operations) => apply(&mut view, operations)?,
        }
        if depth(&view) > MAX_DEPTH {
            return Err(PatchError::TooLarge);
        }
        let text = view.to_string();
        if text.len() > MAX_BYTES {
            return Err(PatchError::TooLarge);
        }
        let raw = serde_json::from_str(&text).ok().and_then(read_fields);
        let fields = raw.ok_or_else(|| PatchError::NotApplicable("the flow would be no object".into()))?;
        let mut document = self.read(caller, fields, check).map_err(EditError::Invalid)?;
        document.keep_texts_of(&self.document);
        Ok(self.with_document(caller, document)?)
    }
}

/// One operation after the other, each only if what it brings stays small and flat: copies could make
/// any size of little, and any depth, which no thread has the stack to walk.
fn apply(view: &mut Value, operations: &[PatchOperation]) -> Result<(), PatchError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge);
    }
    let mut bytes = view.to_string().len();
    for operation in operations {
        let brought = match operation {
            PatchOperation::Add(add) => Some(&add.value),
            PatchOperation::Replace(replace) => Some(&replace.value),
            PatchOperation::Copy(copy) => copy.from.resolve(view).ok(),
            PatchOperation::Move(moved) => moved.from.resolve(view).ok(),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
        };
        if let Some(value) = brought {
            bytes += value.to_string().len();
            if bytes > MAX_BYTES || operation.path().tokens().count() + depth(value) > MAX_DEPTH {
                return Err(PatchError::TooLarge);
            }
        }
        // By value (RFC 6902, 4.6): 1 is 1.0.
        if let PatchOperation::Test(test) = operation
            && test.path.resolve(view).is_ok_and(|value| are_equal(value, &test.value))
        {
            continue;
        }
        json_patch::patch_unsafe(view, std::slice::from_ref(operation)).map_err(|error| {
            PatchError::NotApplicable(error.to_string().chars().take(MAX_MESSAGE).collect())
        })?;
    }
    Ok(())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Whether two values are the same; of numbers, whatever they are written as.
fn are_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| are_equal(a, b)))
        }
        _ => a == b,
    }
}

impl Document {
    /// Gives back the texts of what a patch has left as it was: on its way through a patch JSON loses
    /// the order of its members and digits beyond a double.
    fn keep_texts_of(&mut self, stored: &Self) {
        keep(&mut self.flow_settings, &stored.flow_settings);
        // A node may have another id now, and edges may have the same ends, or other ones: then what free JSON they
        // have says which they were.
        let (nodes, before) = (&mut self.graph.nodes, &stored.graph.nodes);
        let origins =
            Pairs::of(before, nodes, &[|node| Some(node.id.clone()), |node| value(&node.fields)]).origins;
        for (node, origin) in nodes.iter_mut().zip(origins) {
            if let Some(stored) = origin.and_then(|origin| before.get(origin)) {
                keep(&mut node.fields, &stored.fields);
                keep(&mut node.node_settings, &stored.node_settings);
            }
        }
        let (Field::Value(edges), Field::Value(before)) = (&mut self.graph.edges, &stored.graph.edges) else {
            return;
        };
        let origins = Pairs::of(
            before,
            edges,
            &[
                |edge| Some((Some((&edge.source, &edge.target)), mapper(edge)?)),
                |edge| Some((None, mapper(edge)?)),
            ],
        )
        .origins;
        for (edge, origin) in edges.iter_mut().zip(origins) {
            let found = origin.and_then(|origin| before.get(origin)?.config.value());
            if let (Field::Value(config), Some(stored)) = (&mut edge.config, found) {
                config.mapper.clone_from(&stored.mapper);
            }
        }
    }
}

/// The mapper of an edge by its value alone.
fn mapper(edge: &Edge) -> Option<String> {
    value(&edge.config.value()?.mapper)
}

/// Free JSON by its value alone, if there is any.
fn value(json: &Field<Json>) -> Option<String> {
    Some(serde_json::from_str::<Value>(json.value()?.0.get()).ok()?.to_string())
}

fn keep(json: &mut Field<Json>, stored: &Field<Json>) {
    if value(json).is_some_and(|now| Some(now) == value(stored)) {
        json.clone_from(stored);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Role, StoredDocument};
    use super::*;

    const FIELDS: &str = r#"{"z":1.0,"a":12345678901234567890123,"b":[ 1 ]}"#;

    fn caller() -> Caller {
        Caller::new("anna", Some("acme"), [])
    }

    fn flow() -> Flow {
        let body = format!(
            r#"{{"name":"n","description":"d","graph":{{"nodes":[{{"id":"a","fields":{FIELDS}}},{{"id":"b"}}],"edges":[{{"source":"a","target":"b","config":{{"mapper":{FIELDS}}}}}]}},"flowSettings":{FIELDS}}}"#
        );
        Flow::create(&caller(), serde_json::from_str(&body).unwrap(), ComponentCheck::AtStart, Role::Owner)
            .unwrap()
    }

    fn merged(changes: Value) -> Result<Option<Flow>, PatchError> {
        flow().patched(&caller(), &Patch::Merge(changes), ComponentCheck::AtStart)
    }

    fn operated(operations: Value) -> Result<Option<Flow>, PatchError> {
        let operations = serde_json::from_value(operations).unwrap();
        flow().patched(&caller(), &Patch::Operations(operations), ComponentCheck::AtStart)
    }

    #[test]
    fn a_merge_changes_what_it_names_and_null_removes() {
        let next = merged(json!({"name": "m", "description": null, "graph": {"edges": []}}));
        assert!(matches!(next, Err(PatchError::Edit(EditError::Invalid(_)))), "two nodes need an edge");
        let next = merged(json!({"name": "m", "description": null})).unwrap().unwrap();
        assert_eq!((next.document.name.value().unwrap().as_str(), next.revision), ("m", 2));
        assert!(next.document.description.is_absent());
        assert!(merged(json!({"name": "n", "id": "other", "createdAt": "1"})).unwrap().is_none());
        assert!(matches!(merged(json!([1])), Err(PatchError::NotApplicable(_))));
        assert!(matches!(merged(json!({"status": "active"})), Err(PatchError::Edit(EditError::Invalid(_)))));
    }

    #[test]
    fn operations_are_done_in_order_and_all_or_none() {
        let next = operated(json!([
            {"op": "test", "path": "/status", "value": "inactive"},
            {"op": "add", "path": "/graph/nodes/-", "value": {"id": "c"}},
            {"op": "replace", "path": "/graph/edges/0/target", "value": "c"},
            {"op": "remove", "path": "/description"},
            {"op": "copy", "from": "/name", "path": "/type"},
        ]));
        let document = next.unwrap().unwrap().document;
        assert_eq!((document.graph.nodes.len(), document.kind.value().unwrap().as_str()), (3, "n"));
        for refused in [
            json!([{"op": "test", "path": "/name", "value": "other"}]),
            json!([{"op": "remove", "path": "/nowhere"}]),
            json!([{"op": "add", "path": "/graph/nodes/9", "value": {}}]),
        ] {
            assert!(matches!(operated(refused.clone()), Err(PatchError::NotApplicable(_))), "{refused}");
        }
        let invalid = operated(json!([{"op": "remove", "path": "/graph"}]));
        assert!(matches!(invalid, Err(PatchError::Edit(EditError::Invalid(_)))));
    }

    #[test]
    fn what_a_patch_leaves_keeps_its_text() {
        for next in [
            merged(
                json!({"name": "m", "graph": {"edges": [{"source": "a", "target": "b", "config": {"mapper": serde_json::from_str::<Value>(FIELDS).unwrap()}}]}}),
            ),
            operated(json!([{"op": "replace", "path": "/name", "value": "m"}])),
        ] {
            let document = next.unwrap().unwrap().document;
            let text = document.json().unwrap();
            assert_eq!(text.matches(FIELDS).count(), 3, "{text}");
        }
        assert!(operated(json!([{"op": "test", "path": "/name", "value": "n"}])).unwrap().is_none());
    }

    #[test]
    fn a_node_with_another_id_and_an_edge_with_other_ends_keep_theirs() {
        const MAPPERS: [&str; 2] = [r#"{"z":1.0,"a":12345678901234567890123}"#, r#"{"z":2.0,"a":[ 1 ]}"#];
        let body = format!(
            r#"{{"graph":{{"nodes":[{{"id":"a","fields":{FIELDS}}},{{"id":"b"}}],"edges":[
                {{"source":"a","target":"b","config":{{"mapper":{}}}}},{{"source":"a","target":"b","config":{{"mapper":{}}}}}]}}}}"#,
            MAPPERS[0], MAPPERS[1],
        );
        let fields = serde_json::from_str(&body).unwrap();
        let flow = Flow::create(&caller(), fields, ComponentCheck::AtStart, Role::Owner).unwrap();
        let patched = |operations: Value| {
            let patch = Patch::Operations(serde_json::from_value(operations).unwrap());
            flow.patched(&caller(), &patch, ComponentCheck::AtStart).unwrap().unwrap().document
        };
        let renamed = json!([
            {"op": "replace", "path": "/graph/nodes/0/id", "value": "c"},
            {"op": "replace", "path": "/graph/edges/0/source", "value": "c"},
            {"op": "replace", "path": "/graph/edges/1", "value": {"source": "b", "target": "c"}},
        ]);
        let text = patched(renamed).json().unwrap().to_owned();
        assert!(text.contains(FIELDS) && text.contains(MAPPERS[0]) && !text.contains(MAPPERS[1]), "{text}");
        for (gone, left) in [(0, MAPPERS[1]), (1, MAPPERS[0])] {
            let path = format!("/graph/edges/{gone}");
            let text = patched(json!([{"op": "remove", "path": path}])).json().unwrap().to_owned();
            assert!(text.contains(left), "{text}");
        }
        let text = patched(json!([{"op": "add", "path": "/name", "value": "n"}])).json().unwrap().to_owned();
        assert!(MAPPERS.iter().all(|mapper| text.contains(mapper)), "{text}");
    }

    #[test]
    fn a_number_is_tested_by_its_value() {
        let tested = |value: &str| {
            let value: Value = serde_json::from_str(value).unwrap();
            operated(json!([{"op": "test", "path": "/flowSettings", "value": value}]))
        };
        let stored = FIELDS.replace("1.0", "1").replace("[ 1 ]", "[1.0]");
        assert!(tested(&stored).unwrap().is_none());
        for other in ["[1.5]", "[]", "[1,1]", "[\"1\"]"] {
            let refused = tested(&FIELDS.replace("[ 1 ]", other));
            assert!(matches!(refused, Err(PatchError::NotApplicable(_))), "{other}");
        }
    }

    #[test]
    fn a_flow_as_deep_as_a_body_may_be_can_be_patched() {
        let inner = "[".repeat(MAX_DEPTH - 1) + "1" + &"]".repeat(MAX_DEPTH - 1);
        let body = format!(r#"{{"graph":{{"nodes":[{{"id":"a"}}]}},"flowSettings":{inner}}}"#);
        let fields = serde_json::from_str(&body).unwrap();
        let flow = Flow::create(&caller(), fields, ComponentCheck::AtStart, Role::Owner).unwrap();
        let patch = Patch::Merge(json!({"name": "m"}));
        assert!(flow.patched(&caller(), &patch, ComponentCheck::AtStart).unwrap().is_some());
    }

    #[test]
    fn no_patch_makes_more_than_a_flow_may_be() {
        let bomb: Vec<_> = (0..40)
            .map(|n| json!({"op": "copy", "from": "/flowSettings", "path": format!("/flowSettings/x{n}")}))
            .collect();
        assert!(matches!(operated(json!(bomb)), Err(PatchError::TooLarge)));
        // Into its own innermost, again and again: twice as deep each time.
        let mut leaf = "/flowSettings/x".to_owned();
        let mut doubling = vec![json!({"op": "add", "path": leaf, "value": {}})];
        for _ in 0..16 {
            doubling.push(json!({"op": "copy", "from": "/flowSettings", "path": format!("{leaf}/y")}));
            leaf = format!("{leaf}/y{}", leaf.replace("/flowSettings", ""));
        }
        assert!(matches!(operated(json!(doubling)), Err(PatchError::TooLarge)));
        let many = vec![json!({"op": "test", "path": "/name", "value": "n"}); MAX_OPERATIONS + 1];
        assert!(matches!(operated(json!(many)), Err(PatchError::TooLarge)));
        let deep = (0..90).fold(json!(1), |inner, _| json!({"x": inner}));
        let mut operations = vec![json!({"op": "add", "path": "/flowSettings/x", "value": deep.clone()})];
        let below = "/x".repeat(60);
        operations.push(json!({"op": "add", "path": format!("/flowSettings/x{below}"), "value": deep}));
        assert!(matches!(operated(json!(operations)), Err(PatchError::TooLarge)));
    }
}
