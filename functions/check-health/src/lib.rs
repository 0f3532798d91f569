//! `GET /healthcheck`

use std::time::Duration;

use lambda_http::http::StatusCode;
use serde_json::json;
use shared::api::{self, Problem, Request, Response};
use shared::config::{self, ConfigError};
use shared::events::Publisher;
use shared::secrets::Vault;
use shared::store::Store;

/// Every dependency answers within this time, or fails.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What the repository depends on.
pub struct App {
    /// The table.
    pub store: Store,
    /// The bus.
    pub publisher: Publisher,
    /// Secrets Manager.
    pub vault: Vault,
}

impl App {
    /// Reads the settings of this process and opens its clients.
    ///
    /// # Errors
    /// When a setting is missing.
    pub fn from_env() -> Result<Self, ConfigError> {
        let config = config::environment();
        let aws = config::aws()?;
        Ok(Self {
            store: Store::open(&config, &aws)?,
            publisher: Publisher::new(&aws, config.event_bus_name()?),
            vault: Vault::new(&aws, config.vault()?),
        })
    }
}

/// Asks every dependency: 200 when all answer, 503 when one does not.
///
/// # Errors
/// None but 500, when the answer cannot be written as JSON.
pub async fn handle(app: &App, _: Request) -> Result<Response, Problem> {
    let (table, bus, vault) = tokio::join!(
        passes("dynamodb", app.store.ping()),
        passes("eventbridge", app.publisher.ping()),
        passes("secretsmanager", app.vault.ping())
    );
    let word = |passes| if passes { "pass" } else { "fail" };
    let all = table && bus && vault;
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    api::json(
        status,
        &json!({
            "status": word(all),
            "version": env!("CARGO_PKG_VERSION"),
            "details": {
                "dynamodb": {"status": word(table)},
                "eventbridge": {"status": word(bus)},
                "secretsmanager": {"status": word(vault)},
            },
        }),
    )
}

async fn passes<E: std::error::Error>(name: &str, ping: impl Future<Output = Result<(), E>>) -> bool {
    match tokio::time::timeout(TIMEOUT, ping).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => {
            let cause = error.source().map(tracing::field::display);
            tracing::warn!(dependency = name, error = %error, cause, "health.failed");
        }
        Err(_) => tracing::warn!(dependency = name, error = "no answer in time", "health.failed"),
    }
    false
}
