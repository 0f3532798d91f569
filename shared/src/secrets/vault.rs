//! Values in Secrets Manager: one of its secrets each, found by the id alone.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::types::Tag;

use super::{Secret, SecretValue};
use crate::flow::{ObjectId, SecretId};

/// Secrets Manager's own names: the version that counts for whoever asks for none, and one that is
/// about to become it.
const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";
const MAX_TAG: usize = 256;

const MISSING: &str = "ResourceNotFoundException";
/// The error code of a value that is to be deleted, and of much else: that another service manages it, or
/// that it has replicas.
const STATE: &str = "InvalidRequestException";
/// Error codes that say "later".
const PASSING: [&str; 5] = [
    "InternalServiceError",
    "InternalServiceErrorException",
    "LimitExceededException",
    "ThrottlingException",
    "ServiceUnavailable",
];

/// How long Secrets Manager keeps what was deleted, so that an operator can restore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Not at all.
    None,
    /// This many days, 7 to 30.
    Days(u8),
}

/// How values are kept.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// What the names in Secrets Manager begin with.
    pub prefix: String,
    /// The key they are encrypted with; Secrets Manager's own without.
    pub kms_key: Option<String>,
    /// How long a deleted one can be restored.
    pub recovery: Recovery,
}

/// Why a value could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no such value.
    #[error("there is no such value")]
    Missing,
    /// Its state does not allow the call. It may be about to be deleted; `Vault::is_deleted` tells.
    #[error("the state of the value does not allow the call")]
    State(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Throttled or out of reach; a later attempt may succeed.
    #[error("secrets manager is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The call is wrong or not allowed: no attempt will succeed.
    #[error("secrets manager refuses the call")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Secrets Manager.
#[derive(Clone)]
pub struct Vault {
    client: Client,
    settings: VaultSettings,
}

impl Vault {
    /// Secrets Manager, through a client of its own.
    #[must_use]
    pub fn new(aws: &SdkConfig, settings: VaultSettings) -> Self {
        Self::with_client(Client::new(aws), settings)
    }

    /// Secrets Manager, through this client.
    #[must_use]
    pub const fn with_client(client: Client, settings: VaultSettings) -> Self {
        Self { client, settings }
    }

    fn name(&self, id: SecretId) -> String {
        format!("{}{id}", self.settings.prefix)
    }

    /// Keeps the value of a new secret. One call; the same again has no further effect.
    pub(super) async fn create(&self, secret: &Secret, value: &SecretValue) -> Result<(), VaultError> {
        let tag = |name: &str, value: String| Tag::builder().key(name).value(value).build();
        let tenant = secret.actor.tenant.as_deref().unwrap_or_default();
        self.client
            .create_secret()
            .name(self.name(secret.id))
            .client_request_token(version_id(secret.id, secret.version))
            .secret_string(value.to_text())
            .set_kms_key_id(self.settings.kms_key.clone())
            .tags(tag("tenant", tag_value(tenant)))
            .tags(tag("id", secret.id.to_string()))
            .send()
            .await
            .map(drop)
            .map_err(error)
    }

    /// The value of a secret in the version that counts, and whether Secrets Manager knows that it
    /// does. One call.
    pub(super) async fn read(&self, secret: &Secret) -> Result<(SecretValue, bool), VaultError> {
        let output = self
            .client
            .get_secret_value()
            .secret_id(self.name(secret.id))
            .version_id(version_id(secret.id, secret.version))
            .send()
            .await
            .map_err(error)?;
        let is_current = output.version_stages().iter().any(|stage| stage == CURRENT);
        let text = output.secret_string.unwrap_or_default();
        // The cause may repeat a part of the value.
        let value = SecretValue::from_text(secret.kind, &text)
            .map_err(|_| VaultError::Refused("the value is not what this version writes".into()))?;
        Ok((value, is_current))
    }

    /// Keeps another version of the value, which counts for nobody yet. One call.
    pub(super) async fn put(&self, secret: &Secret, value: &SecretValue) -> Result<(), VaultError> {
        self.client
            .put_secret_value()
            .secret_id(self.name(secret.id))
            .client_request_token(version_id(secret.id, secret.version))
            .secret_string(value.to_text())
            .version_stages(PENDING)
            .send()
            .await
            .map(drop)
            .map_err(error)
    }

    /// Makes this version the current one and the other the previous one. One call.
    pub(super) async fn promote(
        &self,
        id: SecretId,
        version: ObjectId,
        previous: ObjectId,
    ) -> Result<(), VaultError> {
        self.move_label(id, CURRENT, Some(version_id(id, version)), Some(version_id(id, previous))).await
    }

    /// Makes this version the current one if it is not, and takes the others that were about to be.
    /// One call, and one for each label that has to be moved.
    pub(super) async fn settle(&self, id: SecretId, version: ObjectId) -> Result<(), VaultError> {
        let output = self.client.describe_secret().secret_id(self.name(id)).send().await.map_err(error)?;
        let labels: HashMap<String, Vec<String>> = output.version_ids_to_stages.unwrap_or_default();
        let wanted = version_id(id, version);
        let holders = |label: &str| {
            let label = label.to_owned();
            labels
                .iter()
                .filter(move |(_, labels)| labels.contains(&label))
                .map(|(version, _)| version.clone())
        };
        if !holders(CURRENT).any(|version| version == wanted) {
            self.move_label(id, CURRENT, Some(wanted.clone()), holders(CURRENT).next()).await?;
        }
        for pending in holders(PENDING).filter(|version| *version != wanted) {
            self.move_label(id, PENDING, None, Some(pending)).await?;
        }
        Ok(())
    }

    async fn move_label(
        &self,
        id: SecretId,
        label: &str,
        to: Option<String>,
        from: Option<String>,
    ) -> Result<(), VaultError> {
        self.client
            .update_secret_version_stage()
            .secret_id(self.name(id))
            .version_stage(label)
            .set_move_to_version_id(to)
            .set_remove_from_version_id(from)
            .send()
            .await
            .map(drop)
            .map_err(error)
    }

    /// How long a deleted value can be restored, if it can.
    pub(super) fn window(&self) -> Option<Duration> {
        match self.settings.recovery {
            Recovery::None => None,
            Recovery::Days(days) => Some(Duration::from_hours(24 * u64::from(days))),
        }
    }

    /// Whether there is no such value any more, or it is about to be deleted. One call.
    pub(super) async fn is_deleted(&self, id: SecretId) -> Result<bool, VaultError> {
        match self.client.describe_secret().secret_id(self.name(id)).send().await.map_err(error) {
            Ok(output) => Ok(output.deleted_date.is_some()),
            Err(VaultError::Missing) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Deletes the value with all its versions; one that is not there is deleted. One call.
    pub(super) async fn delete(&self, id: SecretId) -> Result<(), VaultError> {
        self.delete_with(id, self.settings.recovery).await
    }

    /// Deletes the value so that nobody can restore it. One call.
    pub(super) async fn destroy(&self, id: SecretId) -> Result<(), VaultError> {
        self.delete_with(id, Recovery::None).await
    }

    async fn delete_with(&self, id: SecretId, recovery: Recovery) -> Result<(), VaultError> {
        let call = self.client.delete_secret().secret_id(self.name(id));
        let call = match recovery {
            Recovery::None => call.force_delete_without_recovery(true),
            Recovery::Days(days) => call.recovery_window_in_days(days.into()),
        };
        match call.send().await.map_err(error) {
            Ok(_) | Err(VaultError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks for a value that is never there.
    ///
    /// # Errors
    /// When Secrets Manager does not answer.
    pub async fn ping(&self) -> Result<(), VaultError> {
        let call = self.client.describe_secret().secret_id(format!("{}ping", self.settings.prefix));
        match call.send().await.map_err(error) {
            Ok(_) | Err(VaultError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The name of a version: Secrets Manager wants 32 to 64 characters.
fn version_id(id: SecretId, version: ObjectId) -> String {
    format!("{id}-{version}")
}

/// A tag may hold letters, digits, spaces and some signs; other bytes become `=` and two hex digits.
fn tag_value(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b' ' | b'.' | b'_' | b':' | b'/' | b'+' | b'-' | b'@' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("={byte:02X}"),
    });
    let mut value: String = escaped.collect();
    value.truncate(MAX_TAG);
    value
}

fn error<E>(failure: SdkError<E>) -> VaultError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let is_5xx = failure.raw_response().is_some_and(|response| response.status().is_server_error());
    match failure.as_service_error().map(|service| service.code().unwrap_or_default()) {
        Some(MISSING) => VaultError::Missing,
        Some(STATE) => VaultError::State(failure.into()),
        Some(code) if is_5xx || PASSING.contains(&code) => VaultError::Unavailable(failure.into()),
        None if !matches!(failure, SdkError::ConstructionFailure(_)) => {
            VaultError::Unavailable(failure.into())
        }
        _ => VaultError::Refused(failure.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_tenant_fits_a_tag() {
        assert_eq!(tag_value("acme-1.example:x/y+z@w"), "acme-1.example:x/y+z@w");
        assert_eq!(tag_value("auth0|ä="), "auth0=7C=C3=A4=3D");
        assert_eq!(tag_value(&"ä".repeat(200)).len(), MAX_TAG);
    }
}
