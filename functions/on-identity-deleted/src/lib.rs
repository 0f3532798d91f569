//! `iam.user.deleted` and `iam.tenant.deleted` → that owner is removed from every flow and secret, and
//! what runs in a deleted user's name is stopped; every minute → what is left of that is done.

use std::time::Duration;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent};
use shared::api::time_left;
use shared::concurrently;
use shared::config::{self, Config, ConfigError};
use shared::events::{OwnerDeleted, check_source};
use shared::flow::{Flow, FlowId, Timestamp};
use shared::identity::OwnerKey;
use shared::secrets::{OwnerType, SecretOwner, Secrets};
use shared::store::{self, Change, Leaving, Scope, Store};

/// Flows or secrets worked on before the next ones are asked for, and the clock.
const BATCH: i32 = 100;
/// What is left of the function's time when it begins with no more of them: a batch takes a few seconds, and
/// more when the table is busy.
const MARGIN: Duration = Duration::from_mins(1);
/// The `source` of schedules; nobody but AWS can put events with it on a bus.
const SCHEDULE: &str = "aws.events";

/// What owners own.
pub struct App {
    /// The flows.
    pub store: Store,
    /// The secrets.
    pub secrets: Secrets,
    /// The `source` of the identity service's events.
    pub source: String,
}

impl App {
    /// Reads the settings of this process and opens its clients.
    ///
    /// # Errors
    /// When a setting is missing.
    pub fn from_env() -> Result<Self, ConfigError> {
        let (config, aws) = (config::environment(), config::aws()?);
        Ok(Self::new(&config, Store::open(&config, &aws)?, Secrets::open(&config, &aws)?))
    }

    /// An app with these settings.
    #[must_use]
    pub fn new(config: &Config, store: Store, secrets: Secrets) -> Self {
        Self { store, secrets, source: config.identity_source() }
    }
}

/// Removes the owner from all its flows and secrets, or goes on with that where it has to be. Each is one
/// conditional change, and a flow or secret that is done is not found again: so it can be begun again at any
/// time, and by more than one at once.
///
/// # Errors
/// When the event is not what the contract says or not the identity service's, or a service fails: it comes
/// again, and in the end is set aside.
pub async fn handle(app: &App, event: LambdaEvent<EventBridgeEvent>) -> Result<(), Error> {
    let end = Timestamp::now().plus(time_left(event.context.deadline));
    let event = event.payload;
    if event.source == SCHEDULE {
        let now = event.time.ok_or("the event has no time")?;
        return go_on(app, Timestamp::from_millis(u64::try_from(now.timestamp_millis())?), end).await;
    }
    check_source(&event.source, &app.source)?;
    let OwnerDeleted { owner } = OwnerDeleted::read(&event.detail_type, &event.detail)?;
    let now = Timestamp::now();
    // First of all: from now on nobody can make it an owner again.
    let note = app.store.leave(owner, end).await?;
    take_everything(app, note, now, end).await
}

/// Goes on with all owners with whom it is time to.
async fn go_on(app: &App, now: Timestamp, end: Timestamp) -> Result<(), Error> {
    let mut failed = None;
    for note in app.store.leaving(now).await? {
        if let Some(note) = app.store.put_off(&note, end).await?
            && let Err(error) = take_everything(app, note, now, end).await
        {
            failed = Some(error);
        }
        if is_over(end) {
            break;
        }
    }
    failed.map_or(Ok(()), Err)
}

fn is_over(end: Timestamp) -> bool {
    Timestamp::now() >= end.minus(MARGIN)
}

/// Takes everything from an owner that there is from `now` on, and settles when to go on.
async fn take_everything(app: &App, note: Leaving, now: Timestamp, end: Timestamp) -> Result<(), Error> {
    let work = Work { app, owner: &note.owner, end };
    let done = work.take_everything().await;
    let kind = OwnerKey::from(&note.owner).kind.as_str();
    let Done { runs, flows, secrets, is_all, .. } = &done;
    tracing::info!(
        owner.kind = kind,
        runs.stopped = runs,
        flows.changed = flows,
        secrets.changed = secrets,
        is_all,
        "owner.deleted"
    );
    if done.is_all && done.failed.is_none() && now >= note.last_from {
        app.store.has_left(&note).await?;
    } else {
        let is_whole = done.is_all && done.failed.is_none();
        // The next time does the rest; or looks for what somebody has written at this very moment.
        app.store.put_off(&note, if is_whole { note.last_from } else { now }).await?;
    }
    done.failed.map_or(Ok(()), Err)
}

/// Everything that is to be taken from one owner.
struct Work<'a> {
    app: &'a App,
    owner: &'a SecretOwner,
    end: Timestamp,
}

/// What became of it.
#[derive(Default)]
struct Done {
    runs: usize,
    flows: usize,
    secrets: usize,
    /// Whether there was time for all of it.
    is_all: bool,
    failed: Option<Error>,
}

impl Done {
    /// Notes a failure. One flow or secret that cannot be changed keeps no other from being.
    fn fail(&mut self, error: impl std::error::Error + Send + Sync + 'static) {
        let cause = error.source().map(tracing::field::display);
        tracing::error!(error = %error, cause, "owner.not_removed");
        self.failed = Some(error.into());
    }
}

impl Work<'_> {
    async fn take_everything(&self) -> Done {
        let (App { store, secrets, .. }, owner) = (self.app, self.owner);
        let key = OwnerKey::from(owner);
        let mut done = Done { is_all: true, ..Done::default() };
        // At last those that were restored meanwhile.
        for are_deleted in [false, true, false] {
            let find = |last| store.ids_of_owner(&key, are_deleted, last, BATCH);
            let leave = |id| self.change(id, |flow| flow.without_owner(&key));
            let left = self.walk(&mut done, find, leave).await;
            done.flows += left;
        }
        // What runs on though it has other owners; before the secrets go that it uses.
        if owner.kind == OwnerType::User {
            let find = |last| store.runs_started_by(&owner.id, last, BATCH);
            let stop = |id| self.change(id, |flow| flow.without_starter(&owner.id));
            done.runs = self.walk(&mut done, find, stop).await;
        }
        let find = |last| store.secret_ids_of_owner(owner, last, BATCH);
        let leave = async |id| secrets.remove_owner(id, owner).await.map(|()| true);
        done.secrets = self.walk(&mut done, find, leave).await;
        done
    }

    /// Changes what is found, batch by batch, as long as there is time; gives how many.
    async fn walk<Id: Copy, L, F, E>(
        &self,
        done: &mut Done,
        find: impl Fn(Option<Id>) -> L,
        change: impl Fn(Id) -> F,
    ) -> usize
    where
        L: Future<Output = Result<Vec<Id>, store::Error>>,
        F: Future<Output = Result<bool, E>>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let (mut changed, mut last) = (0, None);
        while done.is_all {
            let found = find(last).await.unwrap_or_else(|error| {
                done.fail(error);
                Vec::new()
            });
            let Some(next) = found.last().copied() else { break };
            last = Some(next);
            for result in concurrently(found.into_iter().map(&change)).await {
                match result {
                    Ok(is_changed) => changed += usize::from(is_changed),
                    Err(error) => done.fail(error),
                }
            }
            done.is_all = !is_over(self.end);
        }
        changed
    }

    /// Changes a flow, also one that was deleted; tells whether there was anything to change.
    async fn change(
        &self,
        id: FlowId,
        next: impl Fn(&Flow) -> Option<Flow> + Send + Sync,
    ) -> Result<bool, store::Error> {
        let mut is_changed = false;
        let decide = |flow: Option<&Flow>| {
            let next = flow.and_then(&next);
            is_changed = next.is_some();
            Ok::<_, store::Error>(Change::from(next))
        };
        self.app.store.change_any(id, &Scope::All, decide, |_| Ok(None)).await?;
        Ok(is_changed)
    }
}
