//! Patches in the two standard languages: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902). Both are
//! of the flow as clients see it, and leave what they do not touch as it is written.

mod draft;

use serde_json::value::RawValue;

use super::{Checks, EditError, Fields, Flow, FlowView, read_fields};
use crate::identity::Caller;
use crate::json::are_equal;
use draft::{Draft, Pointer};

/// As much as a body may be, twice: for the result, and for all that operations bring somewhere or look at.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// As deep as a body may be.
const MAX_DEPTH: usize = 100;
/// Operations of one patch.
const MAX_OPERATIONS: usize = 1000;
/// Why an operation fails is told in as many characters.
const MAX_MESSAGE: usize = 300;
/// What an operation may be.
const OPS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];

/// A change of a flow in a standard language.
#[derive(Clone, Debug)]
pub enum Patch<'a> {
    /// RFC 7396: what the flow is to look like where it is to change; `null` removes.
    Merge(Fields<'a>),
    /// RFC 6902: operations, all or none.
    Operations(Vec<Operation<'a>>),
}

/// One operation of a JSON Patch.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    act: Act<'a>,
    path: Pointer,
}

#[derive(Clone, Debug)]
enum Act<'a> {
    Add(&'a RawValue),
    Remove,
    Replace(&'a RawValue),
    Move(Pointer),
    Copy(Pointer),
    Test(&'a RawValue),
}

/// What something lacks to be an operation.
#[derive(Clone, Debug)]
pub struct Lack {
    /// For people.
    pub message: String,
    /// Where in the patch.
    pub pointer: String,
}

/// Why a patch makes no flow.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// An operation has no place in the flow, or its test fails.
    #[error("{message}")]
    NotApplicable {
        /// Which, and why.
        message: String,
        /// Where in the patch.
        pointer: String,
    },
    /// The result is larger or deeper than a flow may be, or the operations are too many.
    #[error("the patch is too large")]
    TooLarge,
    /// The result is no valid flow.
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl Patch<'_> {
    /// Says so of the operation that did it: the last one whose place is the whole flow.
    fn makes_no_flow(&self) -> PatchError {
        let operations: &[_] = if let Self::Operations(operations) = self { operations } else { &[] };
        let brings = |operation: &Operation<'_>| {
            operation.path.as_str().is_empty() && !matches!(operation.act, Act::Test(_))
        };
        let index = operations.iter().rposition(brings).unwrap_or_default();
        PatchError::of_operation(index, "", "the flow would be no object")
    }
}

impl PatchError {
    fn of_operation(index: usize, path: &str, what: &str) -> Self {
        let message = format!("operation '/{index}' failed at path '{path}': {what}");
        let message = message.chars().take(MAX_MESSAGE).collect();
        Self::NotApplicable { message, pointer: format!("/{index}") }
    }
}

impl<'a> Operation<'a> {
    /// Reads the operations of a patch.
    ///
    /// # Errors
    /// What each one lacks that is none (RFC 6902, 4), in words of which none is the client's.
    pub fn read_all(elements: &[&'a RawValue]) -> Result<Vec<Self>, Vec<Lack>> {
        let mut lacks = Vec::new();
        // More are too many, or more than are told.
        let operations = elements.iter().take(MAX_OPERATIONS + 1).enumerate();
        let operations = operations.filter_map(|(index, raw)| Self::read(index, raw, &mut lacks)).collect();
        if lacks.is_empty() { Ok(operations) } else { Err(lacks) }
    }

    fn read(index: usize, raw: &'a RawValue, lacks: &mut Vec<Lack>) -> Option<Self> {
        let mut lack = |member: &str, message: &str| {
            let message = format!("operation '/{index}' {message}");
            lacks.push(Lack { message, pointer: format!("/{index}{member}") });
        };
        let Some(fields) = read_fields(raw) else {
            lack("", "is no object");
            return None;
        };
        let text = |name: &str| -> Option<String> { serde_json::from_str(fields.get(name)?.get()).ok() };
        let op = text("op");
        let op = op.as_deref().unwrap_or("");
        if !OPS.contains(&op) {
            lack("/op", "requires an op: add, remove, replace, move, copy or test");
        }
        let mut pointer = |name: &str| {
            let pointer = text(name).and_then(Pointer::read);
            if pointer.is_none() {
                lack(&format!("/{name}"), &format!("requires a {name} that is a JSON pointer (RFC 6901)"));
            }
            pointer
        };
        let path = pointer("path");
        let from = if matches!(op, "move" | "copy") { pointer("from") } else { None };
        let value = fields.get("value").copied();
        if value.is_none() && matches!(op, "add" | "replace" | "test") {
            lack("/value", "requires a value");
        }
        let act = match op {
            "add" => Act::Add(value?),
            "remove" => Act::Remove,
            "replace" => Act::Replace(value?),
            "move" => Act::Move(from?),
            "copy" => Act::Copy(from?),
            "test" => Act::Test(value?),
            _ => return None,
        };
        Some(Self { act, path: path? })
    }
}

impl Flow {
    /// The flow after a patch; `None` when it changes nothing. The flow must be inactive.
    ///
    /// # Errors
    /// See [`PatchError`].
    pub fn patched(
        &self,
        caller: &Caller,
        patch: &Patch<'_>,
        checks: impl Into<Checks>,
    ) -> Result<Option<Self>, PatchError> {
        let not_json = |error: serde_json::Error| PatchError::NotApplicable {
            message: error.to_string(),
            pointer: String::new(),
        };
        let view = FlowView::from(self).json().map_err(not_json)?;
        let mut draft = Draft::new(&view);
        match patch {
            Patch::Merge(changes) => draft.merge(changes).map_err(not_json)?,
            Patch::Operations(operations) => apply(&mut draft, operations)?,
        }
        if !draft.is_changed() && draft.to_text() == view {
            return Ok(None);
        }
        if draft.depth() > MAX_DEPTH {
            return Err(PatchError::TooLarge);
        }
        let text = draft.to_text();
        if text.len() > MAX_BYTES {
            return Err(PatchError::TooLarge);
        }
        let fields: Option<Fields<'_>> = serde_json::from_str(&text).ok();
        let fields = fields.ok_or_else(|| patch.makes_no_flow())?;
        let fields = self.without_own_status(fields);
        let parsed = self.read(caller, fields, checks).map_err(EditError::Invalid)?;
        Ok(self.with_document(caller, parsed)?)
    }
}

/// One operation after the other, each only if what it brings stays small and flat: copies could make
/// any size of little, and any depth, which no thread has the stack to walk.
fn apply<'a>(draft: &mut Draft<'a>, operations: &[Operation<'a>]) -> Result<(), PatchError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge);
    }
    let mut bytes = draft.size();
    for (index, Operation { act, path }) in operations.iter().enumerate() {
        let failed = |what: &str| PatchError::of_operation(index, path.as_str(), what);
        let nowhere = |_| failed("path is invalid");
        let from_nowhere = |_| failed("\"from\" path is invalid");
        let mut weigh = |size: usize| {
            bytes += size;
            if bytes > MAX_BYTES { Err(PatchError::TooLarge) } else { Ok(()) }
        };
        let mut bring = |value: Draft<'a>| {
            weigh(value.size())?;
            let depth = path.tokens().count() + value.depth();
            if depth > MAX_DEPTH { Err(PatchError::TooLarge) } else { Ok(value) }
        };
        match act {
            Act::Add(value) => draft.add(path, bring(Draft::new(value.get()))?).map_err(nowhere)?,
            Act::Replace(value) => draft.replace(path, bring(Draft::new(value.get()))?).map_err(nowhere)?,
            Act::Remove => drop(draft.remove(path).map_err(nowhere)?),
            Act::Move(from) if from.holds(path) => {
                return Err(failed("cannot move the value inside itself"));
            }
            Act::Move(from) => {
                let value = bring(draft.remove(from).map_err(from_nowhere)?)?;
                draft.add(path, value).map_err(nowhere)?;
            }
            Act::Copy(from) => {
                let value = bring(draft.at(from).map_err(from_nowhere)?.copy())?;
                draft.add(path, value).map_err(nowhere)?;
            }
            // By value (RFC 6902, 4.6): 1 is 1.0.
            Act::Test(value) => {
                let found = draft.at(path).map_err(nowhere)?;
                weigh(found.size())?;
                if !are_equal(&found.to_text(), value.get()) {
                    return Err(failed("value did not match"));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{ComponentCheck, Role, StoredDocument};
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

    fn merged(changes: &str) -> Result<Option<Flow>, PatchError> {
        let changes = serde_json::from_str(changes).unwrap();
        flow().patched(&caller(), &Patch::Merge(changes), ComponentCheck::AtStart)
    }

    fn operations(text: &str) -> Patch<'_> {
        let operations: Vec<&RawValue> = serde_json::from_str(text).unwrap();
        Patch::Operations(Operation::read_all(&operations).unwrap())
    }

    fn operated(patch: &Value) -> Result<Option<Flow>, PatchError> {
        flow().patched(&caller(), &operations(&patch.to_string()), ComponentCheck::AtStart)
    }

    #[test]
    fn a_merge_changes_what_it_names_and_null_removes() {
        let next = merged(r#"{"name": "m", "description": null, "graph": {"edges": []}}"#);
        assert!(matches!(next, Err(PatchError::Edit(EditError::Invalid(_)))), "two nodes need an edge");
        let next = merged(r#"{"name": "m", "description": null}"#).unwrap().unwrap();
        assert_eq!((next.document.name.value().unwrap().as_str(), next.revision), ("m", 2));
        assert!(next.document.description.is_absent());
        assert!(merged(r#"{"name": "n", "id": "other", "createdAt": "1"}"#).unwrap().is_none());
        assert!(matches!(merged(r#"{"status": "active"}"#), Err(PatchError::Edit(EditError::Invalid(_)))));
    }

    #[test]
    fn operations_are_done_in_order_and_all_or_none() {
        let next = operated(&json!([
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
            assert!(matches!(operated(&refused), Err(PatchError::NotApplicable { .. })), "{refused}");
        }
        let invalid = operated(&json!([{"op": "remove", "path": "/graph"}]));
        assert!(matches!(invalid, Err(PatchError::Edit(EditError::Invalid(_)))));
    }

    #[test]
    fn what_a_patch_leaves_keeps_its_text() {
        for next in [
            merged(&format!(
                r#"{{"name":"m","graph":{{"edges":[{{"source":"a","target":"b","config":{{"mapper":{FIELDS}}}}}]}}}}"#
            )),
            operated(&json!([{"op": "replace", "path": "/name", "value": "m"}])),
            operated(&json!([
                {"op": "move", "from": "/graph/nodes/0", "path": "/graph/nodes/1"},
                {"op": "test", "path": "/graph/nodes/1/fields/b/0", "value": 1.0},
                {"op": "replace", "path": "/graph/nodes/1/id", "value": "c"},
                {"op": "replace", "path": "/graph/edges/0/source", "value": "c"},
            ])),
        ] {
            let document = next.unwrap().unwrap().document;
            let text = document.json().unwrap();
            assert_eq!(text.matches(FIELDS).count(), 3, "{text}");
        }
        assert!(operated(&json!([{"op": "test", "path": "/name", "value": "n"}])).unwrap().is_none());
        let next = operated(&json!([{"op": "replace", "path": "/flowSettings/z", "value": 2}]));
        let text = next.unwrap().unwrap().document.json().unwrap().to_owned();
        assert!(text.contains(r#""flowSettings":{"z":2,"a":12345678901234567890123,"b":[ 1 ]}"#), "{text}");
        let next = merged(r#"{"flowSettings": {"z": null, "c": {"d": null, "e": 1.0}}}"#);
        let text = next.unwrap().unwrap().document.json().unwrap().to_owned();
        assert!(text.contains(r#"{"a":12345678901234567890123,"b":[ 1 ],"c":{"e":1.0}}"#), "{text}");
    }

    #[test]
    fn a_failure_is_of_the_operation_that_fails() {
        let ok = json!({"op": "test", "path": "/name", "value": "n"});
        for (operation, what) in [
            (json!({"op": "test", "path": "/name", "value": "x"}), "value did not match"),
            (json!({"op": "test", "path": "/nowhere", "value": null}), "path is invalid"),
            (json!({"op": "remove", "path": ""}), "path is invalid"),
            (json!({"op": "replace", "path": "/graph/nodes/-", "value": 1}), "path is invalid"),
            (json!({"op": "add", "path": "/graph/nodes/01", "value": 1}), "path is invalid"),
            (json!({"op": "add", "path": "/name/x", "value": 1}), "path is invalid"),
            (json!({"op": "copy", "from": "/x", "path": "/name"}), "\"from\" path is invalid"),
            (
                json!({"op": "move", "from": "/graph", "path": "/graph/x"}),
                "cannot move the value inside itself",
            ),
        ] {
            let refused = operated(&json!([ok, operation])).unwrap_err();
            let path = operation["path"].as_str().unwrap();
            assert_eq!(refused.to_string(), format!("operation '/1' failed at path '{path}': {what}"));
        }
        let faults = |text: &str| -> Vec<String> {
            let operations: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            let faults = Operation::read_all(&operations).err().unwrap_or_default();
            faults.into_iter().map(|fault| fault.pointer).collect()
        };
        for (text, pointers) in [
            ("[1]", vec!["/0"]),
            (r#"[{"op": "remove", "path": ""}, {"op": 1}]"#, vec!["/1/op", "/1/path"]),
            (r#"[{"op": "remove", "path": "/~2"}]"#, vec!["/0/path"]),
            (
                r#"[{"op": "copy", "path": "", "from": "x"}, {"op": "add", "path": ""}]"#,
                vec!["/0/from", "/1/value"],
            ),
            (r#"[{"op": "add", "path": "", "value": null}]"#, vec![]),
        ] {
            assert_eq!(faults(text), pointers, "{text}");
        }
    }

    #[test]
    fn a_number_is_tested_by_its_value() {
        let tested = |value: &str| {
            let text = format!(r#"[{{"op":"test","path":"/flowSettings","value":{value}}}]"#);
            flow().patched(&caller(), &operations(&text), ComponentCheck::AtStart)
        };
        let stored = FIELDS.replace("1.0", "1").replace("[ 1 ]", "[1.0]");
        assert!(tested(&stored).unwrap().is_none());
        for other in ["[1.5]", "[]", "[1,1]", "[\"1\"]"] {
            let refused = tested(&FIELDS.replace("[ 1 ]", other));
            assert!(matches!(refused, Err(PatchError::NotApplicable { .. })), "{other}");
        }
        assert!(tested(&FIELDS.replace("0123,", "0124,")).is_err());
    }

    #[test]
    fn a_flow_as_deep_as_a_body_may_be_can_be_patched() {
        let inner = "[".repeat(MAX_DEPTH - 1) + "1" + &"]".repeat(MAX_DEPTH - 1);
        let body = format!(r#"{{"graph":{{"nodes":[{{"id":"a"}}]}},"flowSettings":{inner}}}"#);
        let fields = serde_json::from_str(&body).unwrap();
        let flow = Flow::create(&caller(), fields, ComponentCheck::AtStart, Role::Owner).unwrap();
        let patch = Patch::Merge(serde_json::from_str(r#"{"name": "m"}"#).unwrap());
        assert!(flow.patched(&caller(), &patch, ComponentCheck::AtStart).unwrap().is_some());
    }

    #[test]
    fn no_patch_makes_more_than_a_flow_may_be() {
        let bomb: Vec<_> = (0..40)
            .map(|n| json!({"op": "copy", "from": "/flowSettings", "path": format!("/flowSettings/x{n}")}))
            .collect();
        assert!(matches!(operated(&json!(bomb)), Err(PatchError::TooLarge)));
        // Into its own innermost, again and again: twice as deep each time.
        let mut leaf = "/flowSettings/x".to_owned();
        let mut doubling = vec![json!({"op": "add", "path": leaf, "value": {}})];
        for _ in 0..16 {
            doubling.push(json!({"op": "copy", "from": "/flowSettings", "path": format!("{leaf}/y")}));
            leaf = format!("{leaf}/y{}", leaf.replace("/flowSettings", ""));
        }
        assert!(matches!(operated(&json!(doubling)), Err(PatchError::TooLarge)));
        let many = vec![json!({"op": "test", "path": "/name", "value": "n"}); MAX_OPERATIONS + 1];
        assert!(matches!(operated(&json!(many)), Err(PatchError::TooLarge)));
        let deep = (0..90).fold(json!(1), |inner, _| json!({"x": inner}));
        let mut operations = vec![json!({"op": "add", "path": "/flowSettings/x", "value": deep.clone()})];
        let below = "/x".repeat(60);
        operations.push(json!({"op": "add", "path": format!("/flowSettings/x{below}"), "value": deep}));
        assert!(matches!(operated(&json!(operations)), Err(PatchError::TooLarge)));
    }

    fn pieces() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(null)), (0..3u8).prop_map(Value::from), Just(json!("~/"))];
        let names = prop::sample::select(vec!["a", "b", "0", "~/", ""]);
        leaf.prop_recursive(3, 12, 3, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(names.clone().prop_map(String::from), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_operation() -> impl Strategy<Value = Value> {
        let token = prop::sample::select(vec!["/a", "/b", "/0", "/1", "/-", "/~0~1", "/"]);
        let path = prop::collection::vec(token, 0..3).prop_map(|tokens| tokens.concat());
        let op = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
        (op, path.clone(), path, pieces())
            .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
    }

    proptest! {
        #[test]
        fn patches_do_what_a_library_does(
            document in pieces(), merge in pieces(), patch in prop::collection::vec(any_operation(), 0..4)
        ) {
            let text = document.to_string();
            let mut merged = document.clone();
            json_patch::merge(&mut merged, &merge);
            let merge = merge.to_string();
            let mut draft = Draft::new(&text);
            if let Ok(merge) = serde_json::from_str(&merge) {
                draft.merge(&merge).unwrap();
                prop_assert_eq!(serde_json::from_str::<Value>(&draft.to_text()).unwrap(), merged);
            }

            let sent = Value::from(patch.clone()).to_string();
            let Patch::Operations(operations) = operations(&sent) else { unreachable!() };
            let mut draft = Draft::new(&text);
            let done = apply(&mut draft, &operations);
            let mut patched = document;
            let patch: json_patch::Patch = serde_json::from_value(patch.into()).unwrap();
            // The other one undoes what it has done when it fails, which is not what is compared.
            match json_patch::patch_unsafe(&mut patched, &patch) {
                Ok(()) => {
                    prop_assert!(done.is_ok(), "{:?}", done);
                    prop_assert_eq!(serde_json::from_str::<Value>(&draft.to_text()).unwrap(), patched);
                }
                Err(error) => prop_assert_eq!(done.unwrap_err().to_string(), error.to_string()),
            }
        }
    }
}
