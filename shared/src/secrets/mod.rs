//! Secrets: their values are in Secrets Manager and nowhere else, all the rest is in the table. No
//! transaction covers both, so each change of a value notes itself in the table before it begins
//! (`Unsettled`); whatever is left half done is found by its note and settled.

mod read;
mod secret;
mod tree;
mod value;
mod vault;

use aws_config::SdkConfig;

use crate::config::{self, Config, ConfigError};
use crate::flow::{Actor, Fault, Fields, Flow, ObjectId, SecretId};
use crate::identity::Caller;
use crate::store::{self, Receipt, SecretRead, Store, Unsettled};

pub use secret::{OwnerType, Secret, SecretOwner, SecretView};
pub use tree::Tree;
pub use value::{SecretType, SecretValue};
pub use vault::{Recovery, Vault, VaultError, VaultSettings};

/// How often a change is decided again that others overtake.
const ATTEMPTS: u32 = 10;
/// Flows that are named when a secret is in use.
const MAX_NAMED: usize = 20;

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

    /// The secret with its value, as [`Self::get`], after it has been written down who got it.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn get_recorded(
        &self,
        caller: &Caller,
        id: SecretId,
    ) -> Result<(Secret, SecretValue), SecretError> {
        let (secret, value) = self.get(caller, id).await?;
        self.store.record_secret_read(&SecretRead::new(id, caller.into())).await?;
        Ok((secret, value))
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
            Ok(()) => Ok(()),
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
    /// stays; one more when it gets owners.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn update(
        &self,
        caller: &Caller,
        id: SecretId,
        fields: Fields<'_>,
    ) -> Result<(Secret, SecretValue), SecretError> {
        let note = Unsettled::of(id);
        let mut is_noted = false;
        let mut refusal = None;
        for _ in 0..ATTEMPTS {
            let (before, stored, is_current) = self.read(caller, id).await?;
            let Some((next, value)) = before.patch(caller, fields.clone(), &stored)? else {
                return Ok((before, stored));
            };
            self.store.check_owners_of_secret(Some(&before), &next).await?;
            let has_new_value = next.version != before.version;
            if has_new_value {
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
            if !self.store.replace_secret(&before, &next).await? {
                continue;
            }
            if has_new_value {
                let promoted = self.vault.promote(id, next.version, before.version).await;
                self.done(&note, promoted).await;
            }
            return Ok((next, value));
        }
        let overtaken = store::Error::Unavailable("others change the secret all the time".into());
        Err(refusal.map_or_else(|| overtaken.into(), SecretError::from))
    }

    /// Whether [`Self::update`] would be refused. Two calls, three when it gets owners.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn check_update(
        &self,
        caller: &Caller,
        id: SecretId,
        fields: Fields<'_>,
    ) -> Result<(), SecretError> {
        let (secret, stored) = self.get(caller, id).await?;
        match secret.patch(caller, fields, &stored)? {
            Some((next, _)) => Ok(self.store.check_owners_of_secret(Some(&secret), &next).await?),
            None => Ok(()),
        }
    }

    /// Whether [`Self::delete`] would be refused now. Two calls or more.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn check_delete(&self, caller: &Caller, id: SecretId) -> Result<(), SecretError> {
        self.find(caller, id).await?;
        let users = self.store.running_users(id, MAX_NAMED).await?;
        if users.is_empty() { Ok(()) } else { Err(SecretError::InUse(users)) }
    }

    /// Deletes a secret of the caller's that no running flow uses: no flow can start with it from the
    /// first call on, and if one runs then, it stays. Five calls or more, then the value.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn delete(&self, caller: &Caller, id: SecretId) -> Result<(), SecretError> {
        for _ in 0..ATTEMPTS {
            let secret = self.find(caller, id).await?;
            let note = Unsettled::of(id);
            if !self.store.hold_secret(&secret, note.operation).await? {
                continue;
            }
            let users = self.store.running_users(id, MAX_NAMED).await?;
            if !users.is_empty() {
                self.store.release_secret(&secret, note.operation).await?;
                return Err(SecretError::InUse(users));
            }
            if self
                .store
                .delete_secret(&secret, caller.into(), Some(note.operation), std::slice::from_ref(&note))
                .await?
            {
                let deleted = self.vault.delete(id).await;
                self.done(&note, deleted).await;
                return Ok(());
            }
        }
        Err(store::Error::Unavailable("others change the secret all the time".into()).into())
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
                if self.store.replace_secret(&before, &next).await? {
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

fn error_cause(error: &SecretError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
