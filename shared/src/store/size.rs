//! How many bytes an item takes, by DynamoDB's rules, and which of them it takes at all.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Error, Item};
use crate::limits::DYNAMODB_ITEM_BYTES;

/// What is left in the head of a flow for [`PASSING`], at most 7 KiB; and for the 19 bytes that an update counts
/// beside each of its attributes, and for attributes of a newer version.
const RESERVE: usize = 10 * 1024;
/// Attributes of a head that come and go with its runs, or depend on who saves it: a reason is 1 KiB, and who did
/// something a user and a tenant of 1 KiB each.
const PASSING: [&str; 8] =
    ["statusReason", "startedBy", "actor", "author", "summary", "orphan", "statusSince", "updatedAt"];

/// What the whole item takes: the names of its attributes and their values in UTF-8.
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
}

fn size_of_value(value: &AttributeValue) -> usize {
    let number = |digits: &String| digits.len().div_ceil(2) + 1;
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => number(digits),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(number).sum(),
        AttributeValue::Bs(many) => many.iter().map(|bytes| bytes.as_ref().len()).sum(),
        AttributeValue::L(values) => 3 + values.iter().map(|value| 1 + size_of_value(value)).sum::<usize>(),
        AttributeValue::M(members) => 3 + members.len() + size(members),
        // True, false and null.
        _ => 1,
    }
}

/// Gives an item back that the table takes.
pub(super) fn fits(item: Item) -> Result<Item, Error> {
    if size(&item) > DYNAMODB_ITEM_BYTES { Err(Error::TooLarge) } else { Ok(item) }
}

/// The same for the head of a flow that somebody saves, with all that may be added to it later: a flow that was
/// saved can go through every state, and be saved again.
pub(super) fn fits_with_reserve(head: Item) -> Result<Item, Error> {
    let passing = PASSING.iter().filter_map(|name| Some(name.len() + size_of_value(head.get(*name)?)));
    let lasting = size(&head) - passing.sum::<usize>();
    if lasting > DYNAMODB_ITEM_BYTES - RESERVE { Err(Error::TooLarge) } else { Ok(head) }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;

    #[test]
    fn an_item_is_weighed_by_the_rules_of_the_table() {
        let text = |text: &str| AttributeValue::S(text.into());
        for (value, bytes) in [
            (text(""), 0),
            (text("ä€😀"), 9),
            (AttributeValue::N("1796056926123".into()), 8),
            (AttributeValue::B(Blob::new([0; 5])), 5),
            (AttributeValue::Bool(true), 1),
            (AttributeValue::L(vec![text("ab"), text("c")]), 3 + 2 + 3),
            (AttributeValue::M([("ab".to_owned(), text("c"))].into()), 3 + 1 + 3),
        ] {
            assert_eq!(size(&[("name".to_owned(), value.clone())].into()), 4 + bytes, "{value:?}");
        }
    }
}
