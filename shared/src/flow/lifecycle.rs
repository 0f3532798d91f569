use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::document::{Document, Field, FinalDocument, StoredDocument};
use super::ownership::{EditError, Role};
use super::parse::{Checks, ComponentCheck, Fault, Fields, Invalid, Parsed};
use super::{Difference, FlowId, ObjectId, Timestamp, read_fields};
use crate::identity::{Caller, OwnerKey};

/// How often a start or a stop that nobody confirms is announced again.
pub(crate) const MAX_REPEATS: u32 = 3;
/// Reasons from outside are cut after this many bytes.
const MAX_REASON: usize = 1024;
/// Why a flow without owners was stopped.
const LAST_OWNER: &str = "The last owner of the flow was deleted.";
/// How much older than the flow's status a report may be that names no run: EventBridge tells times in whole
/// seconds, and by another clock.
const LATE: Duration = Duration::from_secs(5);

/// Whether a flow runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does not run; it may be changed and deleted.
    Inactive,
    /// It was started; the orchestrator has not confirmed.
    Starting,
    /// It runs.
    Active,
    /// It was stopped; the orchestrator has not confirmed.
    Stopping,
}

impl Status {
    /// The name clients know.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Inactive, Self::Starting, Self::Active, Self::Stopping]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(())
    }
}

/// Who made the last change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The caller's `sub`; empty when the platform itself made the change.
    pub user: String,
    /// The caller's tenant, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl Actor {
    /// The platform itself.
    #[must_use]
    pub const fn platform() -> Self {
        Self { user: String::new(), tenant: None }
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Self { user: caller.sub.clone(), tenant: caller.tenant.clone() }
    }
}

/// What the orchestrator reports of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// `flow.started`
    Started,
    /// `flow.stopped`
    Stopped,
    /// `flow.failed`, with the reason if it gave one.
    Failed(Option<String>),
}

/// Why an event of the orchestrator changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEffect {
    /// The flow is already as the event would have it.
    Repeated,
    /// It is of another run, or the flow has left the state it was for.
    Late,
}

/// Why a flow cannot be started.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StartError {
    /// It is of another tenant than the caller.
    #[error("the flow is of another tenant")]
    OtherTenant,
    /// The last run has not ended.
    #[error("the flow is stopping")]
    Stopping,
    /// Some nodes lack what they need to run.
    #[error("the flow is not complete")]
    Incomplete(Vec<Fault>),
}

/// A stored flow: its document and how it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow<D = FinalDocument> {
    /// Its name for ever.
    pub id: FlowId,
    /// What clients write.
    pub document: D,
    /// Counts the changes of the document; see [`Self::create_as`] for where it begins.
    pub revision: u64,
    /// Counts all changes, those of the run too.
    pub sequence: u64,
    /// Whether it runs.
    pub status: Status,
    /// The run that is under way.
    pub run_id: Option<ObjectId>,
    /// Who started that run.
    pub started_by: Option<String>,
    /// A run that was reported while the flow was inactive, and told to stop.
    pub orphan: Option<ObjectId>,
    /// Why the last run ended, when it did not end by itself.
    pub status_reason: Option<String>,
    /// Since when the status is what it is.
    pub status_since: Timestamp,
    /// When the start or stop that waits to be confirmed was announced last.
    pub announced_at: Option<Timestamp>,
    /// How often it has been announced again; more than may be once it was given up.
    pub repeats: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the document was last changed.
    pub updated_at: Timestamp,
    /// When anything was last changed.
    pub changed_at: Timestamp,
    /// Who changed anything last.
    pub actor: Actor,
    /// Who changed the document last.
    pub author: Actor,
    /// What that change was, for people.
    pub summary: Option<String>,
    /// When it was deleted, if it can still be restored.
    pub deletion: Option<Deletion>,
    /// What its last change left out of what it was asked for; not stored.
    pub notes: Vec<Fault>,
}

/// The deletion of a flow that can still be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// Until when the flow is kept, in whole seconds.
    pub expires_at: Timestamp,
}

impl Flow {
    /// A new flow from the members of a body. The caller becomes an owner, and its tenant with this role.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn create(
        caller: &Caller,
        fields: Fields<'_>,
        checks: impl Into<Checks>,
        tenant_role: Role,
    ) -> Result<Self, Invalid> {
        let id = FlowId::generate();
        Self::new((id, id.timestamp()), caller, fields, checks, tenant_role)
    }

    /// The same under an id that somebody has chosen, which says when it was created: lists are in the
    /// order of ids. A status is whatever it is, as in [`Self::replaced`].
    ///
    /// There may have been another flow under this id. Ids of events and tags are not to come again, so both
    /// counters begin higher than those of that one ended: with the time, in seconds and milliseconds, which
    /// rises faster than anybody changes a flow. Others begin with 1.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn create_as(
        id: FlowId,
        caller: &Caller,
        fields: Fields<'_>,
        checks: impl Into<Checks>,
        tenant_role: Role,
    ) -> Result<Self, Invalid> {
        let now = Timestamp::now();
        let created = (id, now.max(id.timestamp()));
        let flow = Self::new(created, caller, without_status(fields), checks, tenant_role)?;
        Ok(Self { revision: now.seconds(), sequence: now.millis(), ..flow })
    }

    fn new(
        (id, now): (FlowId, Timestamp),
        caller: &Caller,
        fields: Fields<'_>,
        checks: impl Into<Checks>,
        tenant_role: Role,
    ) -> Result<Self, Invalid> {
        let (mut document, mut faults, notes) = match Document::parse(fields, checks.into()) {
            Ok(Parsed { document, notes }) => (document, Vec::new(), notes),
            Err(Invalid { faults, notes, draft: Some(draft) }) => (*draft, faults, notes),
            Err(invalid) => return Err(invalid),
        };
        // An administrator may make a flow for somebody.
        if !caller.is_admin() || document.tenant.is_absent() {
            document.tenant = caller.tenant.clone().map_or(Field::Absent, Field::Value);
        }
        if are_owners_read(&faults) {
            faults.extend(document.give_to(caller, tenant_role).err().unwrap_or_default());
        }
        if !faults.is_empty() {
            return Err(Invalid { faults, notes, draft: Some(Box::new(document)) });
        }
        Ok(Self { notes, ..Self::begin((id, now), caller, document) })
    }

    /// What a flow of this document would be, valid or not. It is only to be looked at.
    #[must_use]
    pub fn draft(caller: &Caller, document: Document, notes: Vec<Fault>) -> Self {
        let id = FlowId::generate();
        Self { notes, ..Self::begin((id, id.timestamp()), caller, document) }
    }

    fn begin((id, now): (FlowId, Timestamp), caller: &Caller, document: Document) -> Self {
        Self {
            id,
            document: document.into(),
            revision: 1,
            sequence: 1,
            status: Status::Inactive,
            run_id: None,
            started_by: None,
            orphan: None,
            status_reason: None,
            status_since: now,
            announced_at: None,
            repeats: 0,
            created_at: id.timestamp(),
            updated_at: now,
            changed_at: now,
            actor: caller.into(),
            author: caller.into(),
            summary: None,
            deletion: None,
            notes: Vec::new(),
        }
    }

    /// Reads a document that is to become this flow's.
    ///
    /// # Errors
    /// All faults of the body, those of its owners among them.
    pub(super) fn read(
        &self,
        caller: &Caller,
        fields: Fields<'_>,
        checks: impl Into<Checks>,
    ) -> Result<Parsed, Invalid> {
        let parsed = Document::parse(fields, checks.into());
        parsed.map_err(|Invalid { mut faults, notes, mut draft }| {
            if let Some(draft) = draft.as_mut().filter(|_| are_owners_read(&faults)) {
                match draft.settle_owners(&self.document, caller) {
                    Err(EditError::Role(more) | EditError::Invalid(Invalid { faults: more, .. })) => {
                        faults.extend(more);
                    }
                    Ok(_) => {}
                }
            }
            Invalid { faults, notes, draft }
        })
    }

    /// The flow after the members of `fields` have replaced its own; `None` when that changes
    /// nothing. The flow must be inactive: see [`Self::status`].
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn patch(
        &self,
        caller: &Caller,
        fields: Fields<'_>,
        checks: impl Into<Checks>,
    ) -> Result<Option<Self>, EditError> {
        let stored = self.document.json().and_then(serde_json::from_str).map_err(|_| Vec::<Fault>::new())?;
        let mut merged = read_fields(stored).unwrap_or_default();
        merged.extend(self.without_own_status(fields));
        self.with_document(caller, self.read(caller, merged, checks)?)
    }

    /// The flow with the members of `fields` instead of its own; `None` when that changes nothing.
    /// Owners and tenant stay when they are not named, and a status is whatever it is: so what a client was
    /// shown it can send back. The flow must be inactive.
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn replaced(
        &self,
        caller: &Caller,
        fields: Fields<'_>,
        checks: impl Into<Checks>,
    ) -> Result<Option<Self>, EditError> {
        let [names_owners, names_tenant] = ["owners", "tenant"].map(|name| fields.contains_key(name));
        let mut parsed = self.read(caller, without_status(fields), checks)?;
        if !names_owners {
            parsed.document.owners.clone_from(&self.document.owners);
        }
        if !names_tenant {
            parsed.document.tenant.clone_from(&self.document.tenant);
        }
        self.with_document(caller, parsed)
    }

    /// The flow with the content of a former version; `None` when it has it. Who owns it stays as it
    /// is: going back in time gives nobody access again. The flow must be inactive.
    ///
    /// # Errors
    /// All faults of the document by today's rules.
    pub fn with_version(
        &self,
        caller: &Caller,
        version: &Document,
        check: ComponentCheck,
    ) -> Result<Option<Self>, EditError> {
        let mut document = version.clone();
        document.owners.clone_from(&self.document.owners);
        document.tenant.clone_from(&self.document.tenant);
        let stored = serde_json::value::to_raw_value(&document).map_err(|_| Vec::<Fault>::new())?;
        let parsed = self.read(caller, read_fields(&stored).unwrap_or_default(), check)?;
        self.with_document(caller, parsed)
    }

    /// The flow as it is kept after its deletion, for so long. It must be inactive.
    #[must_use]
    pub fn deleted(&self, caller: &Caller, keep: Duration) -> Self {
        let mut next = self.next(caller.into());
        let at = next.changed_at;
        let expires_at = Timestamp::from_millis(at.plus(keep).seconds() * 1000);
        next.deletion = Some(Deletion { at, expires_at });
        next
    }

    /// The flow after its deletion is undone; `None` when it is not deleted.
    #[must_use]
    pub fn restored(&self, caller: &Caller) -> Option<Self> {
        self.deletion?;
        Some(Self { deletion: None, ..self.next(caller.into()) })
    }

    /// The flow with this document instead; `None` when that is the same. One that stays as it is, because
    /// the caller may not decide what it asks for, has the same [`Self::sequence`] and says so in its notes.
    ///
    /// # Errors
    /// See [`EditError`].
    pub(super) fn with_document(
        &self,
        caller: &Caller,
        Parsed { mut document, notes }: Parsed,
    ) -> Result<Option<Self>, EditError> {
        if !caller.is_admin() {
            document.tenant = self.document.tenant.clone();
        }
        let kept = document.settle_owners(&self.document, caller)?;
        let notes: Vec<_> = kept.into_iter().chain(notes).collect();
        if document == *self.document {
            return Ok((!notes.is_empty()).then(|| Self { notes, ..self.clone() }));
        }
        let mut next = self.next(caller.into());
        if self.document.owner_keys().next().is_none() && document.owner_keys().next().is_some() {
            // What it says is not so any more.
            next.status_reason.take_if(|reason| reason.contains(LAST_OWNER));
        }
        next.notes = notes;
        next.document = document.into();
        Ok(Some(next.revised(&self.document)))
    }

    /// The flow after a start; `None` when it is starting or running already.
    ///
    /// # Errors
    /// To a caller of another tenant, while it is stopping, or when it lacks something to run.
    pub fn start(&self, caller: &Caller) -> Result<Option<Self>, StartError> {
        // A run uses the secrets of who starts it: nobody is to start what strangers have made.
        if !caller.is_admin() && !self.document.is_of_tenant(caller) {
            return Err(StartError::OtherTenant);
        }
        match self.status {
            Status::Starting | Status::Active => Ok(None),
            Status::Stopping => Err(StartError::Stopping),
            Status::Inactive => {
                let missing = self.document.missing_to_run();
                if !missing.is_empty() {
                    return Err(StartError::Incomplete(missing));
                }
                let mut next = self.next(caller.into()).with_status(Status::Starting);
                next.run_id = Some(ObjectId::generate());
                next.started_by = Some(caller.sub.clone());
                next.orphan = None;
                next.status_reason = None;
                Ok(Some(next))
            }
        }
    }

    /// The flow after a stop; `None` when it is stopping or does not run.
    #[must_use]
    pub fn stop(&self, caller: &Caller) -> Option<Self> {
        let runs = matches!(self.status, Status::Starting | Status::Active);
        runs.then(|| self.next(caller.into()).with_status(Status::Stopping))
    }

    /// The flow after an event of the orchestrator, which was made at this time.
    ///
    /// # Errors
    /// When the event comes late or twice, or from another run.
    pub fn after(
        &self,
        event: &RunEvent,
        run_id: Option<&str>,
        time: Option<Timestamp>,
    ) -> Result<Self, NoEffect> {
        let is_other_run = run_id.is_some_and(|id| self.run_id.is_none_or(|own| own.to_string() != id));
        let is_old = run_id.is_none() && time.is_some_and(|time| time.plus(LATE) < self.status_since);
        let status = match (event, self.status) {
            // The run that ended is forgotten: that it did is no news, whichever it was.
            (RunEvent::Stopped, Status::Inactive) => return Err(NoEffect::Repeated),
            (_, Status::Inactive) => return self.with_orphan(run_id),
            _ if is_other_run || is_old => return Err(NoEffect::Late),
            (RunEvent::Started, Status::Starting) => Status::Active,
            (RunEvent::Stopped, Status::Stopping | Status::Active) => Status::Inactive,
            (RunEvent::Failed(_), Status::Starting | Status::Active) => Status::Stopping,
            (RunEvent::Started, Status::Active) | (RunEvent::Failed(_), Status::Stopping) => {
                return Err(NoEffect::Repeated);
            }
            (RunEvent::Started, Status::Stopping) | (RunEvent::Stopped, Status::Starting) => {
                return Err(NoEffect::Late);
            }
        };
        let mut next = self.next(Actor::platform()).with_status(status);
        if let RunEvent::Failed(reason) = event {
            let reason = reason.as_deref().unwrap_or("The orchestrator reported that the flow failed.");
            next.status_reason = Some(cut(reason));
        }
        Ok(next)
    }

    /// The inactive flow with a run that should not be: its stop has overtaken its start, or it was given up. It
    /// is told to stop, once.
    fn with_orphan(&self, run_id: Option<&str>) -> Result<Self, NoEffect> {
        // Without its id nobody could be told which one is meant; it is one of ours or none.
        let known = run_id.and_then(|id| id.parse().ok().filter(|known: &ObjectId| known.to_string() == id));
        let orphan = known.ok_or(NoEffect::Late)?;
        if self.orphan == Some(orphan) {
            return Err(NoEffect::Repeated);
        }
        Ok(Self { orphan: Some(orphan), ..self.next(Actor::platform()) })
    }

    /// The flow after this time has passed since its start or stop was announced last and nobody has
    /// confirmed it: announced again, and inactive after three times; `None` when it does not
    /// wait for so long.
    #[must_use]
    pub fn overdue(&self, now: Timestamp, limit: Duration) -> Option<Self> {
        let waits = now.since(self.announced_at?);
        if waits < limit {
            return None;
        }
        let mut next = self.next(Actor::platform());
        if self.repeats < MAX_REPEATS {
            next.repeats += 1;
            next.announced_at = Some(Timestamp::now());
            return Some(next);
        }
        let order = if self.status == Status::Starting { "start" } else { "stop" };
        next = next.with_status(Status::Inactive);
        next.repeats = MAX_REPEATS + 1;
        let reason = format!(
            "The orchestrator did not confirm the {order} since {}, though it was told {} times.",
            self.status_since,
            MAX_REPEATS + 1
        );
        // Why it was to stop is still worth knowing.
        let before = self.status_reason.as_ref().map(|before| format!(" Before: {before}"));
        let reason = reason + &before.unwrap_or_default();
        next.status_reason = Some(cut(&reason));
        Some(next)
    }

    /// The flow without this owner; `None` when it is not one. A flow that loses its last owner is
    /// stopped if it runs, and stays, visible to administrators.
    #[must_use]
    pub fn without_owner(&self, owner: &OwnerKey) -> Option<Self> {
        if !self.document.is_owned_by(owner) {
            return None;
        }
        let mut next = self.next(Actor::platform());
        let mut document = Document::clone(&self.document);
        document.remove_owner(owner);
        let is_nobodys = document.owner_keys().next().is_none();
        next.document = document.into();
        next = next.revised(&self.document);
        if is_nobodys && matches!(self.status, Status::Starting | Status::Active) {
            next = next.with_status(Status::Stopping);
            next.status_reason = Some(LAST_OWNER.into());
        }
        Some(next)
    }

    /// The flow after this user was deleted, in whose name it runs: it is stopped, whoever else owns it;
    /// `None` when it does not run, or in the name of somebody else.
    #[must_use]
    pub fn without_starter(&self, user: &str) -> Option<Self> {
        let runs = matches!(self.status, Status::Starting | Status::Active);
        if !runs || self.started_by.as_deref() != Some(user) {
            return None;
        }
        let mut next = self.next(Actor::platform()).with_status(Status::Stopping);
        next.status_reason = Some("The user who started the flow was deleted.".into());
        Some(next)
    }

    /// Another revision of the document, which was this one.
    fn revised(mut self, before: &Document) -> Self {
        self.summary = Some(Difference::between(before, &self.document).summary());
        self.revision += 1;
        self.updated_at = self.changed_at;
        self.author = self.actor.clone();
        self
    }

    fn with_status(mut self, status: Status) -> Self {
        // Not `changed_at`, which is ahead when another clock was, or the flow's chosen id: reports and
        // limits are of the time as it is.
        let now = Timestamp::now();
        self.status = status;
        self.status_since = now;
        // One change has one time.
        self.changed_at = self.changed_at.max(now);
        self.repeats = 0;
        let waits = matches!(status, Status::Starting | Status::Stopping);
        self.announced_at = waits.then_some(now);
        if status == Status::Inactive {
            self.run_id = None;
            self.started_by = None;
        }
        self
    }

    /// What a client was shown and sends back, without the status if that is what it is.
    pub(super) fn without_own_status<'a>(&self, mut fields: Fields<'a>) -> Fields<'a> {
        let is_own = |raw: &&RawValue| {
            serde_json::from_str(raw.get()).is_ok_and(|status: Status| status == self.status)
        };
        if fields.get("status").is_some_and(is_own) {
            fields.remove("status");
        }
        fields
    }

    /// Its times never fall, whatever the clocks of those who change it say.
    fn next(&self, actor: Actor) -> Self {
        let (sequence, changed_at) = (self.sequence + 1, Timestamp::now().max(self.changed_at));
        Self { sequence, changed_at, actor, notes: Vec::new(), ..self.clone() }
    }
}

/// Whether owners are in their places: those that could not be read are left out.
fn are_owners_read(faults: &[Fault]) -> bool {
    !faults.iter().any(|fault| {
        fault.pointer.starts_with("/owners") && fault.reason != "member.unknown"
            || fault.reason == "more_faults"
    })
}

/// What a client was shown and sends back, without the status that the flow had: that is not for it to say.
fn without_status(mut fields: Fields<'_>) -> Fields<'_> {
    let is_status = |raw: &&RawValue| serde_json::from_str::<Status>(raw.get()).is_ok();
    if fields.get("status").is_some_and(is_status) {
        fields.remove("status");
    }
    fields
}

/// A reason as long as a flow keeps it.
fn cut(reason: &str) -> String {
    reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str =
        r#"{"graph":{"nodes":[{"id":"a","componentId":"5ca5c44c187c040010a9bb8b","function":"f"}]}}"#;

    fn fields(body: &str) -> Fields<'_> {
        serde_json::from_str(body).unwrap()
    }

    fn caller(sub: &str, tenant: Option<&str>, permissions: &[&str]) -> Caller {
        Caller::new(sub, tenant, permissions.iter().map(ToString::to_string))
    }

    fn flow(status: Status) -> Flow {
        let mut flow = Flow::create(
            &caller("anna", Some("acme"), &[]),
            fields(COMPLETE),
            ComponentCheck::AtStart,
            Role::Owner,
        )
        .unwrap();
        flow = flow.with_status(status);
        flow.run_id = (status != Status::Inactive).then(ObjectId::generate);
        flow
    }

    #[test]
    fn every_state_and_command() {
        use Status::{Active, Inactive, Starting, Stopping};
        let anna = caller("anna", Some("acme"), &[]);
        let failed = RunEvent::Failed(Some("no".into()));
        let (repeated, late) = (Err(NoEffect::Repeated), Err(NoEffect::Late));
        // from, start, stop, started, stopped, failed; None is "stays as it is".
        for (from, start, stop, started, stopped, failure) in [
            (Inactive, Ok(Some(Starting)), None, late, repeated, late),
            (Starting, Ok(None), Some(Stopping), Ok(Active), late, Ok(Stopping)),
            (Active, Ok(None), Some(Stopping), repeated, Ok(Inactive), Ok(Stopping)),
            (Stopping, Err(StartError::Stopping), None, late, Ok(Inactive), repeated),
        ] {
            let flow = flow(from);
            let status = |next: Option<Flow>| next.map(|next| next.status);
            let after = |event: &RunEvent, run_id| flow.after(event, run_id, None).map(|next| next.status);
            let own = flow.run_id.map(|id| id.to_string());
            assert_eq!(flow.start(&anna).map(status), start, "start {from}");
            assert_eq!(status(flow.stop(&anna)), stop, "stop {from}");
            for run_id in [None, own.as_deref()] {
                assert_eq!(after(&RunEvent::Started, run_id), started, "started {from}");
                assert_eq!(after(&RunEvent::Stopped, run_id), stopped, "stopped {from}");
                assert_eq!(after(&failed, run_id), failure, "failed {from}");
            }
            let other = Some("another run");
            assert_eq!(after(&RunEvent::Started, other), late, "started, other run, {from}");
            assert_eq!(after(&failed, other), late, "failed, other run, {from}");
            let ended = if from == Inactive { repeated } else { late };
            assert_eq!(after(&RunEvent::Stopped, other), ended, "stopped, other run, {from}");
        }
    }

    #[test]
    fn a_run_of_a_flow_that_is_inactive_is_told_to_stop_once() {
        let anna = caller("anna", Some("acme"), &[]);
        let inactive = flow(Status::Inactive);
        let failed = RunEvent::Failed(None);
        for event in [&RunEvent::Started, &failed] {
            let (run, other) = (ObjectId::generate(), ObjectId::generate());
            let report = |flow: &Flow, run: ObjectId| flow.after(event, Some(&run.to_string()), None);
            let orphaned = report(&inactive, run).unwrap();
            assert_eq!((orphaned.orphan, orphaned.sequence), (Some(run), inactive.sequence + 1));
            assert_eq!((orphaned.status, orphaned.run_id), (Status::Inactive, None));
            assert_eq!(report(&orphaned, run), Err(NoEffect::Repeated));
            assert_eq!(report(&orphaned, other).unwrap().orphan, Some(other));
            assert_eq!(inactive.after(event, None, None), Err(NoEffect::Late), "nobody knows which");
            assert_eq!(
                inactive.after(event, Some("hello world!"), None),
                Err(NoEffect::Late),
                "none of ours"
            );
            let again = orphaned.start(&anna).unwrap().unwrap();
            assert_eq!((again.orphan, report(&again, run)), (None, Err(NoEffect::Late)));
        }
    }

    #[test]
    fn a_report_that_names_no_run_is_late_when_it_is_older_than_the_status() {
        let flow = flow(Status::Active);
        let (own, failed) = (flow.run_id.map(|id| id.to_string()), RunEvent::Failed(None));
        let ago = |millis| Some(Timestamp::from_millis(flow.status_since.millis() - millis));
        for event in [&failed, &RunEvent::Stopped] {
            assert!(flow.after(event, None, ago(5000)).is_ok(), "whole seconds, and another clock");
            assert_eq!(flow.after(event, None, ago(5001)), Err(NoEffect::Late));
            assert!(flow.after(event, own.as_deref(), ago(60_000)).is_ok(), "it says which");
        }
    }

    #[test]
    fn a_reason_is_cut_by_bytes_between_characters() {
        assert_eq!(cut("no"), "no");
        assert_eq!(cut(&"x".repeat(2000)).len(), 1024);
        assert_eq!(cut(&format!("x{}", "😀".repeat(2000))).len(), 1021);
    }

    #[test]
    fn times_of_a_flow_never_fall() {
        let anna = caller("anna", Some("acme"), &[]);
        let mut flow = flow(Status::Inactive);
        let ahead = Timestamp::now().plus(Duration::from_hours(1));
        (flow.created_at, flow.updated_at, flow.changed_at) = (ahead, ahead, ahead);
        let patched = flow.patch(&anna, fields(r#"{"name":"n"}"#), ComponentCheck::AtStart).unwrap().unwrap();
        let deleted = flow.deleted(&anna, Duration::from_mins(1));
        let times = [
            patched.updated_at,
            flow.start(&anna).unwrap().unwrap().changed_at,
            deleted.deletion.unwrap().at,
            deleted.restored(&anna).unwrap().changed_at,
        ];
        assert_eq!(times, [ahead; 4]);
        let id: FlowId = crate::flow::ObjectId::at(ahead).to_string().parse().unwrap();
        let chosen =
            Flow::create_as(id, &anna, fields(COMPLETE), ComponentCheck::AtStart, Role::Owner).unwrap();
        assert_eq!((chosen.created_at, chosen.updated_at, chosen.changed_at), (ahead, ahead, ahead));
    }

    #[test]
    fn a_run_is_of_the_time_as_it_is_though_the_flow_is_of_the_future() {
        let mut flow = flow(Status::Inactive);
        flow.changed_at = Timestamp::now().plus(Duration::from_mins(4));
        let starting = flow.start(&caller("anna", Some("acme"), &[])).unwrap().unwrap();
        let now = Timestamp::now();
        let active = starting.after(&RunEvent::Started, None, Some(now)).unwrap();
        assert_eq!((active.status, active.changed_at), (Status::Active, flow.changed_at));
        assert!(starting.overdue(now.plus(Duration::from_mins(1)), Duration::from_mins(1)).is_some());
    }

    #[test]
    fn a_run_that_nobody_confirms_is_announced_three_times_more_and_then_given_up() {
        let limit = Duration::from_mins(5);
        let anna = caller("anna", Some("acme"), &[]);
        let started = flow(Status::Inactive).start(&anna).unwrap().unwrap();
        for (waiting, order) in [(started.clone(), "start"), (started.stop(&anna).unwrap(), "stop")] {
            let due = |flow: &Flow| flow.announced_at.unwrap().plus(limit);
            let mut flow = waiting.clone();
            for repeat in 1..=MAX_REPEATS {
                let early = Timestamp::from_millis(due(&flow).millis() - 1);
                assert_eq!(flow.overdue(early, limit), None);
                let next = flow.overdue(due(&flow), limit).unwrap();
                assert_eq!(
                    (next.repeats, next.status, next.run_id),
                    (repeat, waiting.status, waiting.run_id)
                );
                assert_eq!((next.sequence, next.status_since), (flow.sequence + 1, waiting.status_since));
                flow = next;
            }
            let given_up = flow.overdue(due(&flow), limit).unwrap();
            assert_eq!(
                (given_up.status, given_up.run_id, given_up.announced_at),
                (Status::Inactive, None, None)
            );
            assert!(given_up.status_reason.as_ref().unwrap().contains(order));
            assert_eq!(given_up.overdue(Timestamp::from_millis(u64::MAX), limit), None);
            let again = given_up.start(&anna).unwrap().unwrap();
            assert_eq!((again.repeats, again.status_reason.as_deref()), (0, None));
        }
    }

    #[test]
    fn a_run_changes_the_sequence_and_never_the_revision() {
        let flow = flow(Status::Inactive);
        let started = flow.start(&caller("anna", Some("acme"), &[])).unwrap().unwrap();
        assert_eq!((started.revision, started.sequence), (1, 2));
        assert_eq!(started.updated_at, flow.updated_at);
        assert_eq!(started.started_by.as_deref(), Some("anna"));
    }

    #[test]
    fn an_incomplete_flow_does_not_start() {
        let body = r#"{"graph":{"nodes":[{"id":"a"}]}}"#;
        let anna = caller("anna", None, &[]);
        let flow = Flow::create(&anna, fields(body), ComponentCheck::AtStart, Role::Owner).unwrap();
        let Err(StartError::Incomplete(missing)) = flow.start(&anna) else { panic!("it started") };
        assert_eq!(missing.len(), 2);
    }

    #[test]
    fn tenants_come_from_the_token() {
        let body = COMPLETE.replacen('{', r#"{"tenant":"other","#, 1);
        let create = |caller: &Caller| {
            Flow::create(caller, fields(&body), ComponentCheck::AtStart, Role::Owner)
                .unwrap()
                .document
                .tenant
                .clone()
        };
        assert_eq!(create(&caller("anna", Some("acme"), &[])), Field::Value("acme".into()));
        assert_eq!(create(&caller("anna", None, &[])), Field::Absent);
        assert_eq!(create(&caller("root", None, &["all"])), Field::Value("other".into()));
    }

    #[test]
    fn null_clears_and_absence_keeps() {
        let anna = caller("anna", Some("acme"), &[]);
        let named = flow(Status::Inactive)
            .patch(&anna, fields(r#"{"name":"n","type":"t"}"#), ComponentCheck::AtStart)
            .unwrap()
            .unwrap();
        let cleared =
            named.patch(&anna, fields(r#"{"name":null}"#), ComponentCheck::AtStart).unwrap().unwrap();
        assert_eq!(cleared.document.name, Field::Null);
        assert_eq!(cleared.document.kind, Field::Value("t".into()));
        assert_eq!(named.patch(&anna, fields("{}"), ComponentCheck::AtStart), Ok(None));
        let faults = named.patch(&anna, fields(r#"{"graph":null}"#), ComponentCheck::AtStart).unwrap_err();
        let EditError::Invalid(Invalid { faults, .. }) = faults else { panic!("{faults:?}") };
        assert_eq!(faults[0].message, "Flows require a graph.");
    }

    #[test]
    fn the_last_owner_takes_the_run_along_and_not_the_flow() {
        let running = flow(Status::Active);
        let (anna, acme) = (OwnerKey::user("anna"), OwnerKey::tenant("acme"));
        let tenants = running.without_owner(&anna).unwrap();
        assert_eq!(tenants.status, Status::Active);
        assert_eq!(tenants.without_owner(&OwnerKey::user("acme")), None, "a user is no tenant");
        let nobodys = tenants.without_owner(&acme).unwrap();
        assert_eq!(nobodys.status, Status::Stopping);
        assert!(nobodys.document.owners.is_empty());
        assert_eq!(nobodys.without_owner(&acme), None);
    }

    #[test]
    fn a_run_ends_with_the_user_in_whose_name_it_is() {
        for status in [Status::Inactive, Status::Starting, Status::Active, Status::Stopping] {
            let mut flow = flow(status);
            flow.started_by = Some("bert".into());
            let stopped = flow.without_starter("bert").map(|next| {
                assert_eq!((next.sequence, next.revision), (flow.sequence + 1, flow.revision));
                assert_eq!(next.status_reason.unwrap(), "The user who started the flow was deleted.");
                (next.status, next.run_id)
            });
            let runs = matches!(status, Status::Starting | Status::Active);
            assert_eq!(stopped, runs.then_some((Status::Stopping, flow.run_id)), "{status}");
            assert_eq!(flow.without_starter("anna"), None, "an owner that did not start it");
        }
    }

    #[test]
    fn owners_are_bounded() {
        let owners: Vec<_> =
            (0..crate::flow::MAX_OWNERS).map(|n| format!(r#"{{"id":"o{n}","type":"user"}}"#)).collect();
        let body = COMPLETE.replacen('{', &format!(r#"{{"owners":[{}],"#, owners.join(",")), 1);
        let invalid =
            Flow::create(&caller("anna", None, &[]), fields(&body), ComponentCheck::AtStart, Role::Owner)
                .unwrap_err();
        assert_eq!(invalid.faults[0].reason, "flow.owners.too_many");
    }
}
