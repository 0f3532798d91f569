//! How an item that is there is written: by what differs, so that attributes of a newer version stay as they
//! are (docs/adr/0026-updates.md).

use std::collections::HashMap;

use aws_sdk_dynamodb::types::Update;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;

use super::Item;

/// The update that makes the one of the other, both as this version writes them and under the same key.
/// Without its table, and without a condition.
pub(super) fn difference(before: &Item, after: Item) -> UpdateBuilder {
    let mut gone: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    gone.sort_unstable();
    let (mut key, mut set) = (HashMap::new(), Vec::new());
    for (name, value) in after {
        if KEY.contains(&name.as_str()) {
            key.insert(name, value);
        } else if before.get(&name) != Some(&value) {
            set.push((name, value));
        }
    }
    set.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut update = Update::builder().set_key(Some(key));
    let (mut sets, mut removes) = (Vec::new(), Vec::new());
    // Names such as `status` and `owners` are words of the language.
    for (number, (name, value)) in set.into_iter().enumerate() {
        sets.push(format!("#s{number} = :s{number}"));
        update = update.expression_attribute_names(format!("#s{number}"), name);
        update = update.expression_attribute_values(format!(":s{number}"), value);
    }
    for (number, name) in gone.into_iter().enumerate() {
        removes.push(format!("#r{number}"));
        update = update.expression_attribute_names(format!("#r{number}"), name);
    }
    let clauses = [("SET", sets), ("REMOVE", removes)];
    let clauses = clauses.into_iter().filter(|(_, parts)| !parts.is_empty());
    let clauses: Vec<_> = clauses.map(|(word, parts)| format!("{word} {}", parts.join(", "))).collect();
    update.update_expression(clauses.join(" "))
}

/// What of an item as the table has it this version knows nothing of, which would write it so.
pub(super) fn unknown(mut stored: Item, known: &Item) -> Item {
    stored.retain(|name, _| !known.contains_key(name));
    stored
}

/// The attributes of every primary key.
const KEY: [&str; 2] = ["pk", "sk"];

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    fn item(attributes: &[(&str, &str)]) -> Item {
        let key = [("pk", "p"), ("sk", "s")];
        let all = key.iter().chain(attributes);
        all.map(|(name, value)| ((*name).to_owned(), AttributeValue::S((*value).to_owned()))).collect()
    }

    #[test]
    fn an_update_says_what_differs_and_nothing_of_the_key() {
        let before = item(&[("same", "1"), ("other", "1"), ("gone", "1")]);
        let after = item(&[("same", "1"), ("other", "2"), ("new", "1")]);
        let update = difference(&before, after).table_name("t").build().unwrap();
        assert_eq!(update.update_expression(), "SET #s0 = :s0, #s1 = :s1 REMOVE #r0");
        let names = update.expression_attribute_names().unwrap();
        let said: Vec<_> = ["#s0", "#s1", "#r0"].map(|name| names[name].as_str()).into();
        assert_eq!(said, ["new", "other", "gone"]);
        assert_eq!(update.expression_attribute_values().unwrap().len(), 2);
        assert_eq!(update.key(), &item(&[]));
    }
}
