use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::identity::Caller;
use crate::store::{ListQuery, Position};

/// A place in one list: opaque to clients, and of no use in any other list.
#[derive(Serialize, Deserialize)]
struct Cursor {
    #[serde(rename = "v")]
    version: u8,
    /// Which list.
    #[serde(rename = "l")]
    list: String,
    #[serde(rename = "p")]
    position: Position,
}

const VERSION: u8 = 1;

/// The cursor that continues `query` after `position`.
pub(super) fn encode(
    caller: &Caller,
    query: &ListQuery,
    position: &Position,
) -> Result<String, serde_json::Error> {
    let cursor = Cursor { version: VERSION, list: fingerprint(caller, query), position: position.clone() };
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor)?))
}

/// The position of a cursor, if it is one of this caller's list.
pub(super) fn decode(text: &str, caller: &Caller, query: &ListQuery) -> Option<Position> {
    let cursor: Cursor = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    (cursor.version == VERSION && cursor.list == fingerprint(caller, query)).then_some(cursor.position)
}

/// Tells lists apart by caller, filter and order. It keeps no secret: whoever forges a cursor gets
/// to another place of a list that is its own.
fn fingerprint(caller: &Caller, query: &ListQuery) -> String {
    let list = format!("{:?}", (&caller.sub, &caller.tenant, caller.is_admin(), &query.filter, &query.order));
    let hash = digest(&SHA256, list.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..9).unwrap_or_default())
}
