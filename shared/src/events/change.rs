use serde::Serialize;
use serde_json::{Value, json};

use super::SOURCE;
use crate::flow::{Actor, Fields, Flow, FlowId, FlowView, MAX_REPEATS, SecretId, Status, Timestamp};
use crate::limits::{EVENTBRIDGE_BYTES, LAMBDA_ASYNCHRONOUS_EVENT_BYTES, SQS_MESSAGE_BYTES};
use crate::secrets::Secret;
use crate::store::{Head, SecretHead, SecretRead};

/// Below what EventBridge takes, and so far that the event which becomes of an entry fits a message of a queue and
/// an asynchronous invocation, which take no more: an envelope is around it there.
pub(super) const MAX_ENTRY_BYTES: usize = 1_000_000;
const _: () = assert!(
    MAX_ENTRY_BYTES < EVENTBRIDGE_BYTES
        && MAX_ENTRY_BYTES < SQS_MESSAGE_BYTES
        && MAX_ENTRY_BYTES < LAMBDA_ASYNCHRONOUS_EVENT_BYTES
);
/// Members left out of a flow that does not fit, the largest first.
const DETACHABLE: [&str; 2] = ["graph", "flowSettings"];

/// One event, ready to be put on the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The upstream services' event name.
    pub name: &'static str,
    /// When the change was made.
    pub time: Timestamp,
    /// CloudEvents 1.0 JSON.
    pub detail: String,
}

/// The payload of `flowrepo.flow.*`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeData<'a> {
    tenant: &'a str,
    user: &'a str,
    flow_id: FlowId,
}

impl Event {
    /// How much of an entry's limit the event takes.
    #[must_use]
    pub fn size(&self) -> usize {
        entry_size(self.name, &self.detail)
    }
}

/// By EventBridge's own rule: 14 bytes for the time, and the bytes of the texts.
fn entry_size(name: &str, detail: &str) -> usize {
    14 + SOURCE.len() + name.len() + detail.len()
}

/// The events of one change of a flow's head. They depend on the change alone, so that one that is
/// delivered again has the same ids.
///
/// # Errors
/// When a flow cannot be written as JSON.
pub fn events_of_change(
    before: Option<&Head>,
    after: Option<&Head>,
) -> Result<Vec<Event>, serde_json::Error> {
    let mut events = Vec::new();
    // Whatever else: a run that should not be is told to stop, also when its flow is deleted.
    if let (Some(Head::Live(before) | Head::Deleted(before)), Some(Head::Live(flow) | Head::Deleted(flow))) =
        (before, after)
        && let Some(orphan) = flow.orphan.filter(|orphan| before.orphan != Some(*orphan))
    {
        let orphaned = Flow { run_id: Some(orphan), ..Flow::clone(flow) };
        events.push(run_event(&orphaned, "flow.stopping")?);
    }
    match (before, after) {
        // One that is restored, or put back from a backup, is there again.
        (None | Some(Head::Deleted(_) | Head::Erased(_)), Some(Head::Live(flow))) => {
            events.push(changed("flowrepo.flow.created", flow, &flow.actor)?);
        }
        (Some(Head::Live(before)), Some(Head::Live(flow))) => {
            if flow.revision != before.revision {
                events.push(changed("flowrepo.flow.modified", flow, &flow.actor)?);
            }
            if flow.status != before.status || flow.repeats > before.repeats {
                match flow.status {
                    Status::Starting => events.push(run_event(flow, "flow.starting")?),
                    Status::Stopping => events.push(run_event(flow, "flow.stopping")?),
                    Status::Active | Status::Inactive => {}
                }
            }
            if flow.repeats > MAX_REPEATS && before.status != flow.status {
                let data = FailureData {
                    id: flow.id,
                    run_id: before.run_id.map(|id| id.to_string()),
                    reason: flow.status_reason.as_deref(),
                };
                events.push(Stamp::of(flow).event("flow.failed", &data, None)?);
            }
        }
        (Some(Head::Live(_)), Some(Head::Deleted(flow))) => {
            events.push(changed("flowrepo.flow.deleted", flow, &flow.actor)?);
        }
        (Some(Head::Live(before)), Some(Head::Erased(tombstone))) => {
            let stamp = Stamp::of_flow(before.id, tombstone.sequence, tombstone.deleted_at);
            events.push(stamp.event(
                "flowrepo.flow.deleted",
                &change_data(before.id, &tombstone.actor),
                None,
            )?);
        }
        // Removed by hand: there is nobody else to name.
        (Some(Head::Live(flow)), None) => {
            let stamp = Stamp::of_flow(flow.id, flow.sequence + 1, flow.changed_at);
            events.push(stamp.event("flowrepo.flow.deleted", &change_data(flow.id, &flow.actor), None)?);
        }
        // What is erased or expires after its deletion was announced when it was deleted.
        _ => {}
    }
    Ok(events)
}

fn changed(name: &'static str, flow: &Flow, actor: &Actor) -> Result<Event, serde_json::Error> {
    Stamp::of(flow).event(name, &change_data(flow.id, actor), None)
}

fn change_data(flow_id: FlowId, actor: &Actor) -> Value {
    json!(ChangeData { tenant: actor.tenant.as_deref().unwrap_or_default(), user: &actor.user, flow_id })
}

fn run_event(flow: &Flow, name: &'static str) -> Result<Event, serde_json::Error> {
    let data = FlowView::from(flow).with(&RunData {
        started_by: flow.started_by.as_deref().filter(|_| flow.status == Status::Starting),
    })?;
    let stamp = Stamp::of(flow);
    let whole = stamp.event(name, &data, None)?;
    if whole.size() < MAX_ENTRY_BYTES {
        return Ok(whole);
    }
    // The claim check: whoever needs the rest fetches it.
    let mut reduced: Fields<'_> = serde_json::from_str(data.get())?;
    let dataref = format!("/flows/{}", flow.id);
    let mut event = whole;
    for member in DETACHABLE {
        reduced.remove(member);
        event = stamp.event(name, &reduced, Some(&dataref))?;
        if event.size() < MAX_ENTRY_BYTES {
            break;
        }
    }
    Ok(event)
}

/// The payload of `flow.failed`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureData<'a> {
    id: FlowId,
    run_id: Option<String>,
    reason: Option<&'a str>,
}

/// What the payload of `flow.starting` and `flow.stopping` says beside the flow.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    started_by: Option<&'a str>,
}

/// The payload of `secrets.secret.*`.
#[derive(Serialize)]
struct SecretData<'a> {
    id: SecretId,
    user: &'a str,
    tenant: &'a str,
}

impl<'a> SecretData<'a> {
    fn new(id: SecretId, actor: &'a Actor) -> Self {
        Self { id, user: &actor.user, tenant: actor.tenant.as_deref().unwrap_or_default() }
    }
}

/// The event of one change of a secret's head, if it is one; see [`events_of_change`].
///
/// # Errors
/// When it cannot be written as JSON.
pub fn event_of_secret(
    before: Option<&SecretHead>,
    after: Option<&SecretHead>,
) -> Result<Option<Event>, serde_json::Error> {
    let changed = |name, secret: &Secret| {
        let stamp = Stamp::of_secret(secret.id, secret.sequence, secret.updated_at);
        stamp.event(name, &SecretData::new(secret.id, &secret.actor), None).map(Some)
    };
    match (before, after) {
        (None, Some(SecretHead::Live(secret))) => changed("secrets.secret.created", secret),
        (Some(SecretHead::Live(before)), Some(SecretHead::Live(secret)))
            if before.sequence != secret.sequence =>
        {
            changed("secrets.secret.updated", secret)
        }
        (Some(SecretHead::Live(_)), Some(SecretHead::Deleted(tombstone))) => {
            let stamp = Stamp::of_secret(tombstone.id, tombstone.sequence, tombstone.deleted_at);
            let data = SecretData::new(tombstone.id, &tombstone.actor);
            stamp.event("secrets.secret.deleted", &data, None).map(Some)
        }
        // Removed by hand: there is nobody else to name.
        (Some(SecretHead::Live(secret)), None) => {
            let stamp = Stamp::of_secret(secret.id, secret.sequence + 1, secret.updated_at);
            let data = SecretData::new(secret.id, &secret.actor);
            stamp.event("secrets.secret.deleted", &data, None).map(Some)
        }
        _ => Ok(None),
    }
}

/// The event of somebody being given a value. It has no place in the sequence of changes.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn event_of_read(reading: &SecretRead) -> Result<Event, serde_json::Error> {
    let stamp = Stamp {
        subject: format!("secrets/{}", reading.secret),
        change: format!("{}.{}", reading.secret, reading.id),
        sequence: None,
        time: reading.read_at,
    };
    stamp.event("secrets.secret.read", &SecretData::new(reading.secret, &reading.actor), None)
}

/// Which change of what.
struct Stamp {
    subject: String,
    /// Names the change among all.
    change: String,
    sequence: Option<u64>,
    time: Timestamp,
}

impl Stamp {
    fn of(flow: &Flow) -> Self {
        Self::of_flow(flow.id, flow.sequence, flow.changed_at)
    }

    fn of_flow(id: FlowId, sequence: u64, time: Timestamp) -> Self {
        let (subject, change) = (format!("flows/{id}"), format!("{id}.{sequence}"));
        Self { subject, change, sequence: Some(sequence), time }
    }

    fn of_secret(id: SecretId, sequence: u64, time: Timestamp) -> Self {
        let (subject, change) = (format!("secrets/{id}"), format!("{id}.{sequence}"));
        Self { subject, change, sequence: Some(sequence), time }
    }

    /// The envelope of CloudEvents 1.0 with the extensions `sequence` and `dataref`.
    fn event(
        &self,
        name: &'static str,
        data: &impl Serialize,
        dataref: Option<&str>,
    ) -> Result<Event, serde_json::Error> {
        #[derive(Serialize)]
        struct CloudEvent<'a, D> {
            specversion: &'a str,
            id: String,
            source: &'a str,
            #[serde(rename = "type")]
            name: &'a str,
            subject: &'a str,
            time: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            sequence: Option<String>,
            datacontenttype: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            dataref: Option<&'a str>,
            data: &'a D,
        }
        let event = CloudEvent {
            specversion: "1.0",
            id: format!("{}.{name}", self.change),
            source: SOURCE,
            name,
            subject: &self.subject,
            time: self.time.to_string(),
            // Digits enough for any count, so that they also compare as text.
            sequence: self.sequence.map(|sequence| format!("{sequence:020}")),
            datacontenttype: "application/json",
            dataref,
            data,
        };
        let detail = serde_json::to_string(&event)?;
        Ok(Event { name, time: self.time, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{ComponentCheck, Role};
    use crate::identity::{Caller, OwnerKey};

    fn flow(settings: &str) -> Flow {
        let body = format!(
            r#"{{"graph":{{"nodes":[{{"id":"a","componentId":"5ca5c44c187c040010a9bb8b","function":"f"}}]}},"flowSettings":"{settings}"}}"#
        );
        let caller = Caller::new("anna", Some("acme"), []);
        Flow::create(&caller, serde_json::from_str(&body).unwrap(), ComponentCheck::AtStart, Role::Owner)
            .unwrap()
    }

    fn live(flow: &Flow) -> Head {
        Head::Live(Box::new(flow.clone()))
    }

    fn detail(event: &Event) -> Value {
        serde_json::from_str(&event.detail).unwrap()
    }

    #[test]
    fn a_new_flow_is_created_by_its_caller() {
        let flow = flow("");
        let events = events_of_change(None, Some(&live(&flow))).unwrap();
        assert_eq!(events.len(), 1);
        let detail = detail(&events[0]);
        assert_eq!(detail["type"], "flowrepo.flow.created");
        assert_eq!(detail["data"], json!({"tenant": "acme", "user": "anna", "flowId": flow.id.to_string()}));
        assert_eq!(
            events,
            events_of_change(None, Some(&live(&flow))).unwrap(),
            "a second delivery is the same"
        );
    }

    #[test]
    fn a_flow_is_deleted_once_and_created_again_when_it_is_restored() {
        let caller = Caller::new("anna", Some("acme"), []);
        let flow = flow("");
        let gone = flow.deleted(&caller, std::time::Duration::from_mins(1));
        let back = gone.restored(&caller).unwrap();
        let deleted = Head::Deleted(Box::new(gone));
        let names = |before: Option<&Head>, after: Option<&Head>| -> Vec<&str> {
            events_of_change(before, after).unwrap().iter().map(|event| event.name).collect()
        };
        assert_eq!(names(Some(&live(&flow)), Some(&deleted)), ["flowrepo.flow.deleted"]);
        assert_eq!(names(Some(&deleted), Some(&live(&back))), ["flowrepo.flow.created"]);
        assert!(names(Some(&deleted), None).is_empty(), "it was announced when it was deleted");
        let events = events_of_change(Some(&live(&flow)), Some(&deleted)).unwrap();
        assert_eq!(detail(&events[0])["data"]["user"], "anna");
        assert_eq!(detail(&events[0])["sequence"], "00000000000000000002");
    }

    #[test]
    fn a_start_carries_the_whole_flow_and_who_started_it() {
        let flow = flow("x");
        let started = flow.start(&Caller::new("bert", Some("acme"), [])).unwrap().unwrap();
        let events = events_of_change(Some(&live(&flow)), Some(&live(&started))).unwrap();
        assert_eq!(events.len(), 1);
        let detail = detail(&events[0]);
        assert_eq!(detail["data"]["startedBy"], "bert");
        assert_eq!(detail["data"]["status"], "starting");
        assert_eq!(detail["data"]["graph"]["nodes"][0]["function"], "f");
        assert_eq!(detail["data"]["runId"], started.run_id.unwrap().to_string());
        assert_eq!(detail["sequence"], "00000000000000000002");
    }

    #[test]
    fn a_flow_too_large_for_an_entry_is_referred_to() {
        let flow = flow(&"x".repeat(MAX_ENTRY_BYTES));
        let started = flow.start(&Caller::new("bert", Some("acme"), [])).unwrap().unwrap();
        let events = events_of_change(Some(&live(&flow)), Some(&live(&started))).unwrap();
        assert!(events[0].size() < MAX_ENTRY_BYTES);
        let detail = detail(&events[0]);
        assert_eq!(detail["dataref"], format!("/flows/{}", flow.id));
        assert_eq!(detail["data"]["graph"], Value::Null);
        assert_eq!(detail["data"]["id"], flow.id.to_string());
    }

    #[test]
    fn what_nobody_confirms_is_announced_again_for_the_same_run_and_failed_in_the_end() {
        let flow = flow("");
        let mut now = flow.start(&Caller::new("bert", Some("acme"), [])).unwrap().unwrap();
        let run = now.run_id.unwrap().to_string();
        let mut ids = std::collections::BTreeSet::new();
        for repeat in 1..=4 {
            let limit = std::time::Duration::ZERO;
            let next = now.overdue(Timestamp::from_millis(u64::MAX), limit).unwrap();
            let events = events_of_change(Some(&live(&now)), Some(&live(&next))).unwrap();
            assert_eq!(events.len(), 1);
            let detail = detail(&events[0]);
            assert_eq!(detail["data"]["runId"], run);
            assert!(ids.insert(detail["id"].to_string()), "another event, not the same again");
            if repeat < 4 {
                assert_eq!((events[0].name, &detail["data"]["startedBy"]), ("flow.starting", &json!("bert")));
            } else {
                assert_eq!(events[0].name, "flow.failed");
                assert!(detail["data"]["reason"].as_str().unwrap().contains("did not confirm the start"));
            }
            now = next;
        }
    }

    #[test]
    fn an_orphaned_run_is_modified_and_stopping() {
        let mut flow = flow("");
        flow.status = Status::Active;
        let orphan = flow
            .without_owner(&OwnerKey::user("anna"))
            .unwrap()
            .without_owner(&OwnerKey::tenant("acme"))
            .unwrap();
        let names: Vec<_> = events_of_change(Some(&live(&flow)), Some(&live(&orphan)))
            .unwrap()
            .iter()
            .map(|event| event.name)
            .collect();
        assert_eq!(names, ["flowrepo.flow.modified", "flow.stopping"]);
    }
}
