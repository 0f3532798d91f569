//! Secrets: their values are in Secrets Manager and nowhere else, all the rest is in the table. No
//! transaction covers both, so each change of a value notes itself in the table before it begins
//! (`Unsettled`); whatever is left half done is found by its note and settled.

mod read;
mod secret;
mod value;
mod vault;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use aws_config::SdkConfig;
use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use crate::config::{self, Config, ConfigError};
use crate::flow::{Actor, Fault, Fields, Flow, ObjectId, SecretId, Timestamp};
use crate::identity::Caller;
use crate::store::{self, Hold, Receipt, SecretRead, Store, Unsettled, pause};

pub use secret::{OwnerType, Secret, SecretOwner, SecretView};
pub use value::{SecretType, SecretValue, Shown};
pub use vault::{Recovery, Vault, VaultError, VaultSettings};

/// How often a change is decided again that others overtake.
const ATTEMPTS: u32 = 10;
/// Flows that are named when a secret is in use.
const MAX_NAMED: usize = 20;
/// What is left of a request's time for letting go of what it holds.
const MARGIN: Duration = Duration::from_secs(1);
/// For so long after its request's time is up a hold counts that nobody let go of: by how much the clocks of two
/// sandboxes may differ.
const SLACK: Duration = Duration::from_secs(1);

/// Why something could not be done with a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such secret, or it is not the caller's.
    #[error("there is no such secret")]
    NotFound,
    /// The secret obeys not every rule.
    #[error("the secret is not valid")]
    Invalid(Vec<Fault>),
    /// The value does not fit Secrets Manager.
    #[error("the value is too large")]
    TooLarge,
    /// It is in another state than the request is for: the one of this sequence.
    #[error("the secret has been changed")]
    OtherState(u64),
    /// Only a user among them may change the owners.
    #[error("the caller may not change the owners")]
    OwnersOfOthers,
    /// Flows that run use it; some of them.
    #[error("flows that run use the secret")]
    InUse(Vec<Flow>),
    /// The table.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Secrets Manager.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// The secrets: the table and Secrets Manager.
#[derive(Clone)]
pub struct Secrets {
    pub(crate) store: Store,
    vault: Vault,
}

impl Secrets {
    /// The secrets of this table and this vault.
    #[must_use]
    pub const fn new(store: Store, vault: Vault) -> Self {
        Self { store, vault }
    }

    /// The secrets of this process's settings.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::open(&config::environment(), &config::aws()?)
    }

    /// The secrets of these settings.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub fn open(config: &Config, aws: &SdkConfig) -> Result<Self, ConfigError> {
        Ok(Self::new(Store::open(config, aws)?, Vault::new(aws, config.vault()?)))
    }

    /// The table.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The secret, if it is the caller's. One call.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn find(&self, caller: &Caller, id: SecretId) -> Result<Secret, SecretError> {
        let secret = self.store.secret(id).await?.filter(|secret| secret.is_owned_by(&Vec::from(caller)));
        secret.ok_or(SecretError::NotFound)
    }

    /// The secret with its value, if it is the caller's. Two calls.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn get(&self, caller: &Caller, id: SecretId) -> Result<(Secret, SecretValue), SecretError> {
        let (secret, value, _) = self.read(caller, id).await?;
        Ok((secret, value))
    }

    async fn read(&self, caller: &Caller, id: SecretId) -> Result<(Secret, SecretValue, bool), SecretError> {
        let mut attempt = 1;
        loop {
            let secret = self.find(caller, id).await?;
            match self.vault.read(&secret).await {
                Ok((value, is_current)) => return Ok((secret, value, is_current)),
                // It was deleted, or got another value, in between.
                Err(VaultError::Missing | VaultError::State(_))
                    if attempt < ATTEMPTS && self.has_changed(&secret).await? =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn has_changed(&self, secret: &Secret) -> Result<bool, SecretError> {
        Ok(self.store.secret(secret.id).await?.is_none_or(|now| now.sequence != secret.sequence))
    }

    /// Writes down who is given a value. One call.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn record_read(&self, caller: &Caller, id: SecretId) -> Result<(), SecretError> {
        Ok(self.store.record_secret_read(&SecretRead::new(id, caller.into())).await?)
    }

    /// Whether [`Self::create`] would be refused for its owners. One call.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn check_create(&self, secret: &Secret) -> Result<(), SecretError> {
        Ok(self.store.check_owners_of_secret(None, secret).await?)
    }

    /// Stores a new secret: first a note, then the value, then all the rest, with a receipt if there is
    /// one, without the note. Four calls.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn create(
        &self,
        secret: &Secret,
        value: &SecretValue,
        receipt: Option<&Receipt>,
    ) -> Result<(), SecretError> {
        self.check_create(secret).await?;
        let note = Unsettled::of(secret.id);
        self.store.note_unsettled(&note).await?;
        self.vault.create(secret, value).await?;
        match self.store.insert_secret(secret, &note, receipt).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                // The sweep took it for a creation that had been given up.
                let destroyed = self.vault.destroy(secret.id).await;
                self.done(&note, destroyed).await;
                Err(store::Error::Unavailable("the creation was given up meanwhile".into()).into())
            }
            Err(error) => {
                // One that may have been stored after all is left to the sweep.
                if !matches!(error, store::Error::Unavailable(_) | store::Error::UnderWay) {
                    let destroyed = self.vault.destroy(secret.id).await;
                    self.done(&note, destroyed).await;
                }
                Err(error.into())
            }
        }
    }

    /// Changes a secret of the caller's: a note, the value as one that counts for nobody, the rest
    /// with the version that counts, then Secrets Manager's label. Seven calls, or three when the value
    /// stays; one more when it gets owners. Owners are taken off only if no run depends on them, which is found
    /// out as in [`Self::delete`], and costs as many calls more. `until` is the request's deadline, and `is_meant`
    /// tells whether the request is for this state; also of one in which it changes nothing.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn update(
        &self,
        caller: &Caller,
        id: SecretId,
        fields: Fields<'_>,
        is_meant: impl Fn(&Secret, bool) -> bool + Send + Sync,
        until: Instant,
    ) -> Result<(Secret, SecretValue), SecretError> {
        let (hold, note) = (hold(id, until), Unsettled::of(id));
        let work = async {
            let (mut is_noted, mut refusal) = (false, None);
            for attempt in 1..=ATTEMPTS {
                let (before, stored, is_current) = self.read(caller, id).await?;
                let patched = patched(&before, caller, fields.clone(), &stored, &is_meant)?;
                let Some((next, value)) = patched else { return Ok((before, stored, None)) };
                self.store.check_owners_of_secret(Some(&before), &next).await?;
                let hold = Some(&hold).filter(|_| takes_off(&before, &next));
                if hold.is_some() {
                    self.check_runs(id, |flow| !is_read_as(&next, flow)).await?;
                }
                let previous = Some(before.version).filter(|version| *version != next.version);
                if previous.is_some() {
                    if !is_noted {
                        self.store.note_unsettled(&note).await?;
                        is_noted = true;
                    }
                    let put = async {
                        if let (false, Some(previous)) = (is_current, before.previous) {
                            // What counts must have its label before another version is put there.
                            self.vault.promote(id, before.version, previous).await?;
                        }
                        self.vault.put(&next, &value).await
                    };
                    match put.await {
                        // Was it deleted in between? The next look at it tells.
                        Err(error @ (VaultError::Missing | VaultError::State(_))) => {
                            refusal = Some(error);
                            continue;
                        }
                        result => result?,
                    }
                }
                if let Some(hold) = hold {
                    if !self.store.hold_secret(hold).await? {
                        pause(attempt).await;
                        continue;
                    }
                    self.check_runs(id, |flow| !is_read_as(&next, flow)).await?;
                }
                if self.store.replace_secret(&before, &next, hold).await? {
                    return Ok((next, value, previous));
                }
                // Each attempt puts a version of the value, of which there is room for a hundred.
                pause(attempt).await;
            }
            let overtaken = store::Error::Unavailable("others change the secret all the time".into());
            Err(refusal.map_or_else(|| overtaken.into(), SecretError::from))
        };
        let (next, value, previous) = self.letting_go(&hold, until, work).await?;
        if let Some(previous) = previous {
            let promoted = self.vault.promote(id, next.version, previous).await;
            self.done(&note, promoted).await;
        }
        Ok((next, value))
    }

    /// Whether [`Self::update`] would be refused now. Two calls, more when it gets owners or they are taken off.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn check_update(
        &self,
        caller: &Caller,
        id: SecretId,
        fields: Fields<'_>,
        is_meant: impl Fn(&Secret, bool) -> bool + Send + Sync,
    ) -> Result<(), SecretError> {
        let (secret, stored) = self.get(caller, id).await?;
        match patched(&secret, caller, fields, &stored, &is_meant)? {
            Some((next, _)) => {
                self.store.check_owners_of_secret(Some(&secret), &next).await?;
                if takes_off(&secret, &next) {
                    self.check_runs(id, |flow| !is_read_as(&next, flow)).await?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether [`Self::delete`] would be refused now. Two calls or more.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn check_delete(
        &self,
        caller: &Caller,
        id: SecretId,
        is_meant: impl Fn(&Secret) -> bool + Send + Sync,
    ) -> Result<(), SecretError> {
        check_state(&self.find(caller, id).await?, is_meant)?;
        self.check_runs(id, |_| true).await
    }

    /// Deletes a secret of the caller's that no running flow uses. It is held for the decision, so that none starts
    /// in between; but not while one runs that is seen before. Thirteen calls or more, then the value. `until` is
    /// the request's deadline, and `is_meant` tells whether the request is for this state.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn delete(
        &self,
        caller: &Caller,
        id: SecretId,
        is_meant: impl Fn(&Secret) -> bool + Send + Sync,
        until: Instant,
    ) -> Result<(), SecretError> {
        let (hold, note) = (hold(id, until), Unsettled::of(id));
        let work = async {
            for attempt in 1..=ATTEMPTS {
                let secret = self.find(caller, id).await?;
                check_state(&secret, &is_meant)?;
                self.check_runs(id, |_| true).await?;
                if !self.store.hold_secret(&hold).await? {
                    pause(attempt).await;
                    continue;
                }
                // What started before the hold.
                self.check_runs(id, |_| true).await?;
                let notes = std::slice::from_ref(&note);
                if self.store.delete_secret(&secret, caller.into(), Some(&hold), notes).await? {
                    return Ok(());
                }
            }
            Err(store::Error::Unavailable("others change the secret all the time".into()).into())
        };
        self.letting_go(&hold, until, work).await?;
        let deleted = self.vault.delete(id).await;
        self.done(&note, deleted).await;
        Ok(())
    }

    /// Refuses what flows are in the way of that run.
    async fn check_runs(
        &self,
        id: SecretId,
        is_in_the_way: impl Fn(&Flow) -> bool + Send,
    ) -> Result<(), SecretError> {
        let users = self.store.running_users(id, MAX_NAMED, is_in_the_way).await?;
        if users.is_empty() { Ok(()) } else { Err(SecretError::InUse(users)) }
    }

    /// Does work that may hold a secret, and lets go of that however the work ends: also when its time is up,
    /// which is so much before the request's that there is time for it, or when it panics.
    async fn letting_go<T>(
        &self,
        hold: &Hold,
        until: Instant,
        work: impl Future<Output = Result<T, SecretError>> + Send,
    ) -> Result<T, SecretError> {
        let work = timeout_at(until.checked_sub(MARGIN).unwrap_or(until), work);
        let ended = AssertUnwindSafe(work).catch_unwind().await;
        if hold.is_taken()
            && let Err(error) = self.store.release_secret(hold).await
        {
            // It ends by itself, a little later.
            tracing::warn!(secret.id = %hold.secret, error = %error, "secret.held");
        }
        match ended {
            Ok(in_time) => {
                in_time.unwrap_or_else(|elapsed| Err(store::Error::Unavailable(elapsed.into()).into()))
            }
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Takes an owner off a secret. One that is left without any is deleted, even if flows use it, and its
    /// value destroyed when it cannot be restored any more, whoever has restored it by then.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn remove_owner(&self, id: SecretId, owner: &SecretOwner) -> Result<(), SecretError> {
        for _ in 0..ATTEMPTS {
            let Some(before) = self.store.secret(id).await? else { return Ok(()) };
            let Some(next) = before.without_owner(owner) else { return Ok(()) };
            if !next.owners.is_empty() {
                if self.store.replace_secret(&before, &next, None).await? {
                    return Ok(());
                }
                continue;
            }
            let window = self.vault.window();
            let note = Unsettled { destroy: window.is_none(), ..Unsettled::of(id) };
            let mut notes = vec![note.clone()];
            notes.extend(window.map(|window| Unsettled::destruction(id, window)));
            if self.store.delete_secret(&before, Actor::platform(), None, &notes).await? {
                // What fails here is tried again by the sweep; the event need not come again for it.
                let deleted = self.vault.delete(id).await;
                self.done(&note, deleted).await;
                return Ok(());
            }
        }
        Err(store::Error::Unavailable("others change the secret all the time".into()).into())
    }

    /// Settles changes that were begun, or due, before this id was made and are not known to have ended;
    /// gives how many. Those that fail are left for the next time.
    ///
    /// # Errors
    /// The last failure, after all were tried.
    pub async fn sweep(&self, begun_before: ObjectId) -> Result<usize, SecretError> {
        let (mut settled, mut failed, mut last) = (0, None, None);
        loop {
            let notes = self.store.unsettled(last, begun_before).await?;
            let Some(note) = notes.last() else {
                return failed.map_or(Ok(settled), Err);
            };
            last = Some(note.operation);
            for note in &notes {
                match self.settle(note).await {
                    Ok(()) => settled += 1,
                    Err(error) => failed = Some(error),
                }
            }
        }
    }

    /// Brings Secrets Manager in line with the table.
    async fn settle(&self, note: &Unsettled) -> Result<(), SecretError> {
        match self.store.secret(note.secret).await? {
            Some(secret) => self.vault.settle(secret.id, secret.version).await?,
            None => self.clear(note).await?,
        }
        Ok(self.store.forget_unsettled(note).await?)
    }

    /// Deletes a value that is nobody's.
    async fn clear(&self, note: &Unsettled) -> Result<(), VaultError> {
        let deleted = if note.destroy {
            self.vault.destroy(note.secret).await
        } else {
            self.vault.delete(note.secret).await
        };
        match deleted {
            Err(VaultError::State(_)) if self.vault.is_deleted(note.secret).await? => Ok(()),
            deleted => deleted,
        }
    }

    /// Ends a change that is made: what went wrong after that is settled by the sweep.
    async fn done(&self, note: &Unsettled, last_step: Result<(), VaultError>) {
        let ended = match last_step {
            Ok(()) => self.store.forget_unsettled(note).await.map_err(SecretError::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = ended {
            tracing::warn!(secret.id = %note.secret, error = %error, cause = error_cause(&error), "secret.unsettled");
        }
    }
}

/// A hold on a secret for a request with this deadline.
fn hold(secret: SecretId, until: Instant) -> Hold {
    let left = until.saturating_duration_since(Instant::now());
    Hold::new(secret, Timestamp::now().plus(left + SLACK))
}

/// What a change makes of a secret in this state, if anything.
fn patched(
    before: &Secret,
    caller: &Caller,
    fields: Fields<'_>,
    stored: &SecretValue,
    is_meant: impl Fn(&Secret, bool) -> bool,
) -> Result<Option<(Secret, SecretValue)>, SecretError> {
    let patched = before.patch(caller, fields, stored);
    let is_in_effect = matches!(patched, Ok(None));
    check_state(before, |secret| is_meant(secret, is_in_effect))?;
    patched
}

fn check_state(secret: &Secret, is_meant: impl Fn(&Secret) -> bool) -> Result<(), SecretError> {
    if is_meant(secret) { Ok(()) } else { Err(SecretError::OtherState(secret.sequence)) }
}

/// Whether somebody loses a secret by a change.
fn takes_off(before: &Secret, next: &Secret) -> bool {
    before.owners.iter().any(|owner| !next.owners.contains(owner))
}

/// Whether the run of a flow may read a secret: as who started it, or as the flow's tenant, which is that of who
/// started it.
fn is_read_as(secret: &Secret, flow: &Flow) -> bool {
    let user = flow.started_by.as_deref().unwrap_or_default();
    secret.is_owned_by(&SecretOwner::of(user, flow.document.tenant.value().map(String::as_str)))
}

fn error_cause(error: &SecretError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
