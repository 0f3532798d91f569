//! `iam.user.deleted` and `iam.tenant.deleted` → that owner is removed from every flow and secret.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent};
use shared::concurrently;
use shared::config::{self, ConfigError};
use shared::events::OwnerDeleted;
use shared::flow::Flow;
use shared::identity::OwnerKey;
use shared::secrets::{OwnerType, SecretOwner, Secrets};
use shared::store::{self, Change, Scope, Store};

/// Flows or secrets worked on before the owner's next ones are asked for.
const BATCH: i32 = 100;

/// What owners own.
pub struct App {
    /// The flows.
    pub store: Store,
    /// The secrets.
    pub secrets: Secrets,
}

impl App {
    /// Reads the settings of this process and opens its clients.
    ///
    /// # Errors
    /// When a setting is missing.
    pub fn from_env() -> Result<Self, ConfigError> {
        let (config, aws) = (config::environment(), config::aws()?);
        Ok(Self { store: Store::open(&config, &aws)?, secrets: Secrets::open(&config, &aws)? })
    }
}

/// Removes the owner from all its flows and secrets. Each is one conditional change, so an event that
/// is delivered again goes on where the last delivery ended.
///
/// # Errors
/// When the event is not what the contract says, or a service fails: it comes again, and in the end
/// is set aside.
pub async fn handle(app: &App, event: LambdaEvent<EventBridgeEvent>) -> Result<(), Error> {
    let OwnerDeleted { id } = OwnerDeleted::read(&event.payload.detail)?;
    let kind =
        if event.payload.detail_type == "iam.tenant.deleted" { OwnerType::Tenant } else { OwnerType::User };
    // One that cannot be changed keeps no other from being.
    let owner = match kind {
        OwnerType::User => OwnerKey::user(&id),
        OwnerType::Tenant => OwnerKey::tenant(&id),
    };
    let flows = leave_all_flows(&app.store, &owner).await;
    let secrets = leave_secrets(app, &SecretOwner { id, kind }).await;
    let (flows, secrets) = (flows?, secrets?);
    tracing::info!(event = %event.payload.detail_type, flows.changed = flows, secrets.changed = secrets, "owner.deleted");
    Ok(())
}

/// Removes the owner from its flows and its deleted ones, and from those that were restored meanwhile;
/// gives how many.
async fn leave_all_flows(store: &Store, owner: &OwnerKey) -> Result<usize, Error> {
    let (live, deleted) = (leave_flows(store, owner, false).await, leave_flows(store, owner, true).await);
    Ok(live? + deleted? + leave_flows(store, owner, false).await?)
}

/// Removes the owner from its flows, or from its deleted ones; gives how many.
async fn leave_flows(store: &Store, owner: &OwnerKey, are_deleted: bool) -> Result<usize, Error> {
    let (mut changes, mut last) = (Changes::default(), None);
    loop {
        let ids = store.ids_of_owner(owner, are_deleted, last, BATCH).await?;
        if ids.is_empty() {
            return changes.ended();
        }
        last = ids.last().copied();
        let decide = |flow: Option<&Flow>| {
            Ok::<_, store::Error>(Change::from(flow.and_then(|flow| flow.without_owner(owner))))
        };
        changes.add(
            concurrently(
                ids.into_iter().map(|id| store.change_any(id, &Scope::All, decide, |_| Ok(None))).collect(),
            )
            .await,
        );
    }
}

/// Removes the owner from its secrets; gives how many.
async fn leave_secrets(app: &App, owner: &SecretOwner) -> Result<usize, Error> {
    let (mut changes, mut last) = (Changes::default(), None);
    loop {
        let ids = app.store.secret_ids_of_owner(owner, last, BATCH).await?;
        if ids.is_empty() {
            return changes.ended();
        }
        last = ids.last().copied();
        let work = ids.into_iter().map(|id| app.secrets.remove_owner(id, owner)).collect();
        changes.add(concurrently(work).await);
    }
}

/// What became of many changes.
#[derive(Default)]
struct Changes {
    made: usize,
    failed: Option<Error>,
}

impl Changes {
    fn add<T, E: std::error::Error + Send + Sync + 'static>(&mut self, results: Vec<Result<T, E>>) {
        for result in results {
            match result {
                Ok(_) => self.made += 1,
                Err(error) => {
                    let cause = error.source().map(tracing::field::display);
                    tracing::error!(error = %error, cause, "owner.not_removed");
                    self.failed = Some(error.into());
                }
            }
        }
    }

    fn ended(self) -> Result<usize, Error> {
        self.failed.map_or(Ok(self.made), Err)
    }
}
