use serde::Serialize;

use super::{Document, Flow, FlowId, Status, Timestamp};

/// A function answers at most 6 MB of JSON, in which the body is one string; the rest is for headers.
pub const MAX_ANSWER_BYTES: usize = 5_500_000;

impl Flow {
    /// How many of [`MAX_ANSWER_BYTES`] the flow takes in an answer, where its JSON is escaped once more.
    #[must_use]
    pub fn answer_size(&self) -> usize {
        let json = serde_json::to_vec(&FlowView::from(self)).unwrap_or_default();
        json.len() + json.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count()
    }
}

/// A flow as clients and events show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowView<'a> {
    #[serde(flatten)]
    document: &'a Document,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    /// When there is more to say than that the flow does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_since: Option<String>,
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

impl<'a> From<&'a Flow> for FlowView<'a> {
    fn from(flow: &'a Flow) -> Self {
        Self {
            document: &flow.document,
            status: flow.status,
            status_reason: flow.status_reason.as_deref(),
            status_since: (flow.status != Status::Inactive || flow.status_reason.is_some())
                .then(|| flow.status_since.to_string()),
            created_at: flow.created_at,
            updated_at: flow.updated_at,
            deleted_at: flow.deletion.map(|deletion| deletion.at.to_string()),
            expires_at: flow.deletion.map(|deletion| deletion.expires_at.to_string()),
            id: flow.id,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn as_text<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
