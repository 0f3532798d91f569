use std::fmt::Debug;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A place in one list: opaque to clients, and of no use in any other list.
#[derive(Serialize, Deserialize)]
struct Cursor<P> {
    #[serde(rename = "v")]
    version: u8,
    /// Which list.
    #[serde(rename = "l")]
    list: String,
    #[serde(rename = "p")]
    position: P,
}

const VERSION: u8 = 1;

/// The cursor that continues the list of this fingerprint after `position`.
pub(super) fn encode(position: &impl Serialize, list: &str) -> Result<String, serde_json::Error> {
    let cursor = Cursor { version: VERSION, list: list.to_owned(), position };
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor)?))
}

/// The position of a cursor, if it is one of the list of this fingerprint.
pub(super) fn decode<P: DeserializeOwned>(text: &str, list: &str) -> Option<P> {
    let cursor: Cursor<P> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    (cursor.version == VERSION && cursor.list == list).then_some(cursor.position)
}

/// Tells lists apart by whatever makes them: caller, filter, order. It keeps no secret: whoever forges
/// a cursor gets to another place of a list that is its own.
pub(super) fn fingerprint(list: &impl Debug) -> String {
    let hash = digest(&SHA256, format!("{list:?}").as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..9).unwrap_or_default())
}
