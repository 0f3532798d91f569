use memchr::memchr2_iter;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::join;

use super::{FinalDocument, Flow, FlowId, ObjectId, Status, StoredDocument, Timestamp};

/// A function answers at most 6 MB of JSON, in which the body is one string; the rest is for headers.
pub const MAX_ANSWER_BYTES: usize = 5_500_000;

/// More than [`State`] takes without a reason.
const STATE_BYTES: usize = 512;
/// Of one byte of a reason: a control character is six, and its backslash escaped once more.
const REASON_BYTES: usize = 7;

impl<D: StoredDocument> Flow<D> {
    /// How many of [`MAX_ANSWER_BYTES`] the flow takes at most in an answer, where its JSON is escaped once more.
    #[must_use]
    pub fn answer_size(&self) -> usize {
        let json = self.document.json().unwrap_or_default();
        let escaped = memchr2_iter(b'"', b'\\', json.as_bytes()).count();
        let reason = self.status_reason.as_ref().map_or(0, String::len);
        json.len() + escaped + STATE_BYTES + REASON_BYTES * reason
    }
}

/// A flow as clients and events show it: the members of its document as they are stored, and then what the
/// repository says of it.
pub struct FlowView<'a, D = FinalDocument>(&'a Flow<D>);

/// What the repository says of a flow.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    /// When there is more to say than that the flow does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_since: Option<String>,
    /// While it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<ObjectId>,
    #[serde(serialize_with = "as_text")]
    created_at: Timestamp,
    #[serde(serialize_with = "as_text")]
    updated_at: Timestamp,
    /// Of a deleted flow, with the time from which on it cannot be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    id: FlowId,
}

impl<'a, D> From<&'a Flow<D>> for FlowView<'a, D> {
    fn from(flow: &'a Flow<D>) -> Self {
        Self(flow)
    }
}

impl<D: StoredDocument> FlowView<'_, D> {
    /// The flow's JSON with these members too.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn with(&self, members: &impl Serialize) -> Result<Box<RawValue>, serde_json::Error> {
        RawValue::from_string(join(&self.json()?, members)?)
    }

    /// The flow's JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let flow = self.0;
        let state = State {
            status: flow.status,
            status_reason: flow.status_reason.as_deref(),
            status_since: (flow.status != Status::Inactive || flow.status_reason.is_some())
                .then(|| flow.status_since.to_string()),
            run_id: flow.run_id,
            created_at: flow.created_at,
            updated_at: flow.updated_at,
            deleted_at: flow.deletion.map(|deletion| deletion.at.to_string()),
            expires_at: flow.deletion.map(|deletion| deletion.expires_at.to_string()),
            id: flow.id,
        };
        join(flow.document.json()?, &state)
    }
}

impl<D: StoredDocument> Serialize for FlowView<'_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = self.json().and_then(RawValue::from_string).map_err(S::Error::custom)?;
        json.serialize(serializer)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
