use json_patch::PatchOperation;
use json_patch::jsonptr::Pointer;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::flow::{Fault, bounded};

/// Faults reported of one patch.
const MAX_FAULTS: usize = 100;

/// Reads the operations of a JSON Patch (RFC 6902).
///
/// # Errors
/// What each one lacks that is none.
pub(super) fn read_operations(elements: &[&RawValue]) -> Result<Vec<PatchOperation>, Vec<Fault>> {
    let mut faults = Vec::new();
    let operations = elements.iter().enumerate().filter_map(|(number, element)| {
        let operation = serde_json::from_str(element.get()).ok();
        if operation.is_none() {
            faults.extend(faults_of(number, element));
        }
        operation
    });
    let operations = operations.collect();
    if faults.is_empty() { Ok(operations) } else { Err(bounded(faults, MAX_FAULTS)) }
}

/// What is wrong with an operation (RFC 6902, 4), in words of which none is the client's.
fn faults_of(number: usize, element: &RawValue) -> Vec<Fault> {
    let fault = |member: &str, message: String| {
        let message = format!("operation '/{number}' {message}");
        Fault { message, reason: "body.invalid", pointer: format!("/{number}{member}") }
    };
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(element.get()) else {
        return vec![fault("", "is no object".into())];
    };
    let mut faults = Vec::new();
    let operation = members.get("op").and_then(Value::as_str).unwrap_or_default();
    if !["add", "remove", "replace", "move", "copy", "test"].contains(&operation) {
        let message = "requires an op: add, remove, replace, move, copy or test".into();
        faults.push(fault("/op", message));
    }
    for name in ["path", "from"] {
        let is_needed = name == "path" || matches!(operation, "move" | "copy");
        let pointer = members.get(name).and_then(Value::as_str);
        if is_needed && pointer.is_none_or(|text| Pointer::parse(text).is_err()) {
            let message = format!("requires a {name} that is a JSON pointer (RFC 6901)");
            faults.push(fault(&format!("/{name}"), message));
        }
    }
    if matches!(operation, "add" | "replace" | "test") && !members.contains_key("value") {
        faults.push(fault("/value", "requires a value".into()));
    }
    if faults.is_empty() {
        faults.push(fault("", "is none of RFC 6902".into()));
    }
    faults
}
