use serde_json::Value;

use crate::flow::{FlowId, RunEvent};

/// An event from the bus does not have the form the contract gives it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct MalformedEvent(&'static str);

/// The orchestrator reports what became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// Of which flow.
    pub flow: FlowId,
    /// Of which run, if it says so.
    pub run_id: Option<String>,
    /// What it reports.
    pub event: RunEvent,
}

/// A user or a tenant is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerDeleted {
    /// Its id.
    pub id: String,
}

impl StatusReport {
    /// Reads `flow.started`, `flow.stopped` or `flow.failed`.
    ///
    /// # Errors
    /// When it is none of these or names no flow.
    pub fn read(detail_type: &str, detail: &Value) -> Result<Self, MalformedEvent> {
        let data = payload(detail);
        let text = |name| data.get(name).and_then(Value::as_str);
        let event = match detail_type {
            "flow.started" => RunEvent::Started,
            "flow.stopped" => RunEvent::Stopped,
            "flow.failed" => RunEvent::Failed(text("reason").or_else(|| text("error")).map(Into::into)),
            _ => return Err(MalformedEvent("the event is none of the orchestrator's")),
        };
        let flow =
            text("id").and_then(|id| id.parse().ok()).ok_or(MalformedEvent("the event names no flow"))?;
        let run_id = match data.get("runId").or_else(|| detail.get("runId")) {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(MalformedEvent("the run's id is no text")),
        };
        Ok(Self { flow, run_id, event })
    }
}

impl OwnerDeleted {
    /// Reads `iam.user.deleted` or `iam.tenant.deleted`.
    ///
    /// # Errors
    /// When it names nobody.
    pub fn read(detail: &Value) -> Result<Self, MalformedEvent> {
        let id = payload(detail).get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        id.map(|id| Self { id: id.into() }).ok_or(MalformedEvent("the event names nobody"))
    }
}

/// Where a detail keeps its payload: in `payload` (upstream), in `data` (CloudEvents), or itself.
fn payload(detail: &Value) -> &Value {
    let is_cloud_event = detail.get("specversion").is_some() || detail.get("id").is_none();
    let inner = detail.get("payload").or_else(|| detail.get("data").filter(|_| is_cloud_event));
    inner.filter(|inner| inner.is_object()).unwrap_or(detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_read_from_all_three_forms() {
        let payload = json!({"id": "5ca5c44c187c040010a9bb8b", "runId": "r", "reason": "out of memory"});
        for detail in [
            payload.clone(),
            json!({"headers": {}, "payload": payload}),
            json!({"specversion": "1.0", "id": "e", "data": payload}),
        ] {
            let report = StatusReport::read("flow.failed", &detail).unwrap();
            assert_eq!(report.flow.to_string(), "5ca5c44c187c040010a9bb8b");
            assert_eq!(report.run_id.as_deref(), Some("r"));
            assert_eq!(report.event, RunEvent::Failed(Some("out of memory".into())));
        }
    }

    #[test]
    fn what_names_no_flow_is_malformed() {
        for detail in
            [json!({}), json!({"id": 5}), json!({"id": "xx"}), json!(null), json!({"payload": null})]
        {
            assert!(StatusReport::read("flow.started", &detail).is_err(), "{detail}");
            assert!(
                OwnerDeleted::read(&json!({"payload": detail})).is_err() || detail.get("id").is_some(),
                "{detail}"
            );
        }
    }
}
