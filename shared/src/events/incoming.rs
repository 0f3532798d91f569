use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::flow::{FlowId, RunEvent};
use crate::secrets::{OwnerType, SecretOwner};

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
    /// Who.
    pub owner: SecretOwner,
}

/// Refuses an event that is not of the service whose it is to tell. The rules of the bus let none through;
/// this holds when a function is invoked in another way.
///
/// # Errors
/// When it is of another source.
pub fn check_source(source: &str, expected: &str) -> Result<(), MalformedEvent> {
    if source == expected { Ok(()) } else { Err(MalformedEvent("the event is of another source")) }
}

impl StatusReport {
    /// Reads `flow.started`, `flow.stopped` or `flow.failed`.
    ///
    /// # Errors
    /// When it is none of these or names no flow.
    pub fn read(detail_type: &str, detail: &Value) -> Result<Self, MalformedEvent> {
        let data = payload(detail)?;
        let text = |name| data.get(name).and_then(Value::as_str);
        let event = match detail_type {
            "flow.started" => RunEvent::Started,
            "flow.stopped" => RunEvent::Stopped,
            "flow.failed" => {
                RunEvent::Failed(data.get("reason").and_then(said).or_else(|| said(data.get("error")?)))
            }
            _ => return Err(MalformedEvent("the event is none of the orchestrator's")),
        };
        let flow =
            text("id").and_then(|id| id.parse().ok()).ok_or(MalformedEvent("the event names no flow"))?;
        let run_id = match data.get("runId") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(MalformedEvent("the run's id is no text")),
        };
        Ok(Self { flow, run_id, event })
    }
}

/// What somebody said: a text, or anything else as JSON. Nothing is no reason.
fn said(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

impl OwnerDeleted {
    /// Reads `iam.user.deleted` or `iam.tenant.deleted`.
    ///
    /// # Errors
    /// When it is neither or names nobody.
    pub fn read(detail_type: &str, detail: &Value) -> Result<Self, MalformedEvent> {
        let kind = match detail_type {
            "iam.user.deleted" => OwnerType::User,
            "iam.tenant.deleted" => OwnerType::Tenant,
            _ => return Err(MalformedEvent("the event is none of the identity service's")),
        };
        let data = payload(detail)?;
        let id = data.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = id.ok_or(MalformedEvent("the event names nobody"))?;
        Ok(Self { owner: SecretOwner { id: id.into(), kind } })
    }
}

/// The one place where a detail names things: `data` (or `data_base64`) of an event with an envelope, upstream's
/// `payload`, or the detail itself. An envelope has an `id` of its own, which is nobody's: one whose payload
/// cannot be read is not read any further.
fn payload(detail: &Value) -> Result<Cow<'_, Value>, MalformedEvent> {
    let [version, data, encoded, payload] =
        ["specversion", "data", "data_base64", "payload"].map(|name| detail.get(name));
    let inner = if version.or(data).or(encoded).is_some() {
        data.map(Cow::Borrowed).or_else(|| decoded(encoded?).map(Cow::Owned))
    } else {
        Some(Cow::Borrowed(payload.unwrap_or(detail)))
    };
    inner.filter(|inner| inner.is_object()).ok_or(MalformedEvent("the event's data is no object"))
}

/// What an envelope has as bytes.
fn decoded(encoded: &Value) -> Option<Value> {
    serde_json::from_slice(&STANDARD.decode(encoded.as_str()?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_read_from_all_forms() {
        let payload = json!({"id": "5ca5c44c187c040010a9bb8b", "runId": "r", "reason": "out of memory"});
        for detail in [
            payload.clone(),
            json!({"headers": {}, "payload": payload}),
            json!({"specversion": "1.0", "id": "e", "data": payload}),
            json!({"specversion": "1.0", "id": "e", "data_base64": STANDARD.encode(payload.to_string())}),
            json!({"data": payload}),
        ] {
            let report = StatusReport::read("flow.failed", &detail).unwrap();
            assert_eq!(report.flow.to_string(), "5ca5c44c187c040010a9bb8b");
            assert_eq!(report.run_id.as_deref(), Some("r"));
            assert_eq!(report.event, RunEvent::Failed(Some("out of memory".into())));
        }
    }

    #[test]
    fn a_reason_is_kept_whatever_it_is() {
        let id = "5ca5c44c187c040010a9bb8b";
        for (said, reason) in [
            (
                json!({"reason": {"code": 137, "message": "killed"}}),
                Some(r#"{"code":137,"message":"killed"}"#),
            ),
            (json!({"reason": ["a", 1]}), Some(r#"["a",1]"#)),
            (json!({"error": {"name": "TypeError"}}), Some(r#"{"name":"TypeError"}"#)),
            (json!({"reason": 137, "error": "e"}), Some("137")),
            (json!({"reason": null, "error": "e"}), Some("e")),
            (json!({"reason": null}), None),
            (json!({}), None),
        ] {
            let mut detail = said.clone();
            detail["id"] = id.into();
            let report = StatusReport::read("flow.failed", &detail).unwrap();
            assert_eq!(report.event, RunEvent::Failed(reason.map(Into::into)), "{said}");
        }
    }

    #[test]
    fn the_envelope_of_a_cloud_event_names_nobody() {
        let (id, run) = ("5ca5c44c187c040010a9bb8b", "r");
        let text = STANDARD.encode("\"acme\"");
        for envelope in [
            json!({"specversion": "1.0"}),
            json!({"specversion": "1.0", "data": "acme"}),
            json!({"specversion": "1.0", "data": null}),
            json!({"specversion": "1.0", "data": [{"id": "acme"}]}),
            json!({"specversion": "1.0", "data": {}}),
            json!({"specversion": "1.0", "data_base64": "{}"}),
            json!({"specversion": "1.0", "data_base64": text}),
            json!({"specversion": "1.0", "payload": {"id": "acme"}}),
            json!({"data": null}),
            json!({"data_base64": {"id": "acme"}}),
            json!({"payload": "acme"}),
            json!({"payload": null}),
        ] {
            let mut event = envelope.clone();
            event["id"] = "acme".into();
            for kind in ["iam.user.deleted", "iam.tenant.deleted"] {
                assert!(OwnerDeleted::read(kind, &event).is_err(), "{kind} {event}");
            }
            (event["id"], event["runId"]) = (id.into(), run.into());
            assert!(StatusReport::read("flow.started", &event).is_err(), "{event}");
        }
        // Nor is a run what only the envelope names.
        let event = json!({"specversion": "1.0", "id": "e", "runId": run, "data": {"id": id}});
        assert_eq!(StatusReport::read("flow.started", &event).unwrap().run_id, None);
    }

    #[test]
    fn what_names_nothing_is_malformed() {
        for detail in [json!({}), json!({"id": 5}), json!({"id": ""}), json!(null), json!("acme")] {
            assert!(StatusReport::read("flow.started", &detail).is_err(), "{detail}");
            assert!(OwnerDeleted::read("iam.user.deleted", &detail).is_err(), "{detail}");
        }
        let named = json!({"id": "5ca5c44c187c040010a9bb8b"});
        assert!(StatusReport::read("iam.user.deleted", &named).is_err());
        assert!(OwnerDeleted::read("flow.started", &named).is_err());
    }
}
