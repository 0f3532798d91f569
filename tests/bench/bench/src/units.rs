//! Capacity units by the rules that AWS documents:
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html> and
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// An item as JSON of the protocol.
pub(crate) type Item = Map<String, Value>;

/// The size of an item: its names and values, as UTF-8.
pub(crate) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => text.len(),
        // A byte for two digits, and one.
        ("N", Value::String(text)) => text.bytes().filter(u8::is_ascii_digit).count().div_ceil(2) + 1,
        ("B", Value::String(text)) => STANDARD.decode(text).map_or(0, |bytes| bytes.len()),
        // Three bytes, and one for each element.
        ("L", Value::Array(list)) => 3 + list.iter().map(|value| 1 + value_size(value)).sum::<usize>(),
        ("M", Value::Object(map)) => 3 + map.len() + size(map),
        _ => 1,
    }
}

/// Reading this many bytes: a unit for each 4 KB that has begun, half of it if it need not be consistent.
pub(crate) fn read(bytes: usize, consistent: bool) -> f64 {
    units(bytes, 4096) * if consistent { 1.0 } else { 0.5 }
}

/// Writing an item of this size: a unit for each KB that has begun, two in a transaction.
pub(crate) fn write(bytes: usize, transaction: bool) -> f64 {
    units(bytes, 1024) * if transaction { 2.0 } else { 1.0 }
}

fn units(bytes: usize, unit: usize) -> f64 {
    u32::try_from(bytes.div_ceil(unit).max(1)).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
#[allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "units are whole or half; a test that cannot go on fails"
)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_units_are_those_of_the_documentation() {
        let item = serde_json::json!({
            "name": {"S": "ä"}, "n": {"N": "-123"}, "b": {"B": "AAAA"}, "l": {"L": [{"BOOL": true}]}, "m": {"M": {"a": {"S": ""}}}
        });
        assert_eq!(size(item.as_object().unwrap()), (4 + 2) + (1 + 3) + (1 + 3) + (1 + 3 + 2) + (1 + 3 + 2));
        assert_eq!([read(0, true), read(4096, true), read(4097, true), read(1, false)], [1.0, 1.0, 2.0, 0.5]);
        assert_eq!([write(1024, true), write(1025, true), write(1, false)], [2.0, 4.0, 1.0]);
    }
}
