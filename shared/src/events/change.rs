use serde::Serialize;
use serde_json::{Value, json};

use super::SOURCE;
use crate::flow::{Actor, Fields, Flow, FlowId, FlowView, Status, Timestamp};
use crate::store::Head;

/// EventBridge takes entries below 256 KB.
pub(super) const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// Members left out of a flow that does not fit, the largest first.
const DETACHABLE: [&str; 2] = ["graph", "flowSettings"];

/// One event, ready to be put on the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowEvent {
    /// The upstream service's event name.
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

impl FlowEvent {
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
) -> Result<Vec<FlowEvent>, serde_json::Error> {
    let mut events = Vec::new();
    match (before, after) {
        (None, Some(Head::Live(flow))) => {
            events.push(changed("flowrepo.flow.created", flow, &flow.actor)?);
        }
        (Some(Head::Live(before)), Some(Head::Live(flow))) => {
            if flow.revision != before.revision {
                events.push(changed("flowrepo.flow.modified", flow, &flow.actor)?);
            }
            if flow.status != before.status {
                events.extend(run_event(flow)?);
            }
        }
        (Some(Head::Live(before)), Some(Head::Deleted(tombstone))) => {
            let stamp = Stamp { id: before.id, sequence: tombstone.sequence, time: tombstone.deleted_at };
            events.push(stamp.event(
                "flowrepo.flow.deleted",
                &change_data(before.id, &tombstone.actor),
                None,
            )?);
        }
        // Removed by hand: there is nobody else to name.
        (Some(Head::Live(flow)), None) => {
            let stamp = Stamp { id: flow.id, sequence: flow.sequence + 1, time: flow.changed_at };
            events.push(stamp.event("flowrepo.flow.deleted", &change_data(flow.id, &flow.actor), None)?);
        }
        // A tombstone that expires was announced when it was made.
        _ => {}
    }
    Ok(events)
}

fn changed(name: &'static str, flow: &Flow, actor: &Actor) -> Result<FlowEvent, serde_json::Error> {
    Stamp::of(flow).event(name, &change_data(flow.id, actor), None)
}

fn change_data(flow_id: FlowId, actor: &Actor) -> Value {
    json!(ChangeData { tenant: actor.tenant.as_deref().unwrap_or_default(), user: &actor.user, flow_id })
}

fn run_event(flow: &Flow) -> Result<Option<FlowEvent>, serde_json::Error> {
    let name = match flow.status {
        Status::Starting => "flow.starting",
        Status::Stopping => "flow.stopping",
        Status::Active | Status::Inactive => return Ok(None),
    };
    let data = RunData {
        flow: FlowView::from(flow),
        started_by: flow.started_by.as_deref().filter(|_| flow.status == Status::Starting),
        run_id: flow.run_id.map(|id| id.to_string()),
    };
    let stamp = Stamp::of(flow);
    let whole = stamp.event(name, &data, None)?;
    if whole.size() < MAX_ENTRY_BYTES {
        return Ok(Some(whole));
    }
    // The claim check: whoever needs the rest fetches it.
    let text = serde_json::to_string(&data)?;
    let mut reduced: Fields<'_> = serde_json::from_str(&text)?;
    let dataref = format!("/flows/{}", flow.id);
    let mut event = whole;
    for member in DETACHABLE {
        reduced.remove(member);
        event = stamp.event(name, &reduced, Some(&dataref))?;
        if event.size() < MAX_ENTRY_BYTES {
            break;
        }
    }
    Ok(Some(event))
}

/// The payload of `flow.starting` and `flow.stopping`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunData<'a> {
    #[serde(flatten)]
    flow: FlowView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
}

/// Which change of which flow.
struct Stamp {
    id: FlowId,
    sequence: u64,
    time: Timestamp,
}

impl Stamp {
    const fn of(flow: &Flow) -> Self {
        Self { id: flow.id, sequence: flow.sequence, time: flow.changed_at }
    }

    /// The envelope of CloudEvents 1.0 with the extensions `sequence` and `dataref`.
    fn event(
        &self,
        name: &'static str,
        data: &impl Serialize,
        dataref: Option<&str>,
    ) -> Result<FlowEvent, serde_json::Error> {
        #[derive(Serialize)]
        struct CloudEvent<'a, D> {
            specversion: &'a str,
            id: String,
            source: &'a str,
            #[serde(rename = "type")]
            name: &'a str,
            subject: String,
            time: String,
            sequence: String,
            datacontenttype: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            dataref: Option<&'a str>,
            data: &'a D,
        }
        let event = CloudEvent {
            specversion: "1.0",
            id: format!("{}.{}.{name}", self.id, self.sequence),
            source: SOURCE,
            name,
            subject: format!("flows/{}", self.id),
            time: self.time.to_string(),
            // Digits enough for any count, so that they also compare as text.
            sequence: format!("{:020}", self.sequence),
            datacontenttype: "application/json",
            dataref,
            data,
        };
        let detail = serde_json::to_string(&event)?;
        Ok(FlowEvent { name, time: self.time, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::ComponentCheck;
    use crate::identity::Caller;

    fn flow(settings: &str) -> Flow {
        let body = format!(
            r#"{{"graph":{{"nodes":[{{"id":"a","componentId":"5ca5c44c187c040010a9bb8b","function":"f"}}]}},"flowSettings":"{settings}"}}"#
        );
        let caller = Caller::new("anna", Some("acme"), []);
        Flow::create(&caller, serde_json::from_str(&body).unwrap(), ComponentCheck::AtStart).unwrap()
    }

    fn live(flow: &Flow) -> Head {
        Head::Live(Box::new(flow.clone()))
    }

    fn detail(event: &FlowEvent) -> Value {
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
    fn a_start_carries_the_whole_flow_and_who_started_it() {
        let flow = flow("x");
        let started = flow.start(&Caller::new("bert", None, [])).unwrap().unwrap();
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
        let started = flow.start(&Caller::new("bert", None, [])).unwrap().unwrap();
        let events = events_of_change(Some(&live(&flow)), Some(&live(&started))).unwrap();
        assert!(events[0].size() < MAX_ENTRY_BYTES);
        let detail = detail(&events[0]);
        assert_eq!(detail["dataref"], format!("/flows/{}", flow.id));
        assert_eq!(detail["data"]["graph"], Value::Null);
        assert_eq!(detail["data"]["id"], flow.id.to_string());
    }

    #[test]
    fn an_orphaned_run_is_modified_and_stopping() {
        let mut flow = flow("");
        flow.status = Status::Active;
        let orphan = flow.without_owner("anna").unwrap().without_owner("acme").unwrap();
        let names: Vec<_> = events_of_change(Some(&live(&flow)), Some(&live(&orphan)))
            .unwrap()
            .iter()
            .map(|event| event.name)
            .collect();
        assert_eq!(names, ["flowrepo.flow.modified", "flow.stopping"]);
    }
}
