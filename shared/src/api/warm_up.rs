//! What a sandbox does before its first request: while it starts it has a whole processor, afterwards a
//! share of one by its memory.

use std::time::Duration;

use aws_config::SdkConfig;

use crate::config::{self, Config, ConfigError};
use crate::identity::Verifier;
use crate::store::Store;

/// A sandbox that cannot connect says so with its first request.
const LIMIT: Duration = Duration::from_secs(2);

/// Opens an app by the settings of this process, then fetches the keys that tokens are verified with and
/// connects to the table. That one of them fails is logged: the request tries again, and answers for it.
pub(super) async fn open<A>(
    new: impl FnOnce(&Config, &SdkConfig) -> Result<A, ConfigError>,
    parts: impl Fn(&A) -> (&Verifier, &Store),
) -> Result<A, ConfigError> {
    let config = config::environment();
    let app = new(&config, &config::aws()?)?;
    if config.warms_up()? {
        let (verifier, store) = parts(&app);
        let work = async { tokio::join!(verifier.fetch_keys(), store.ping()) };
        match tokio::time::timeout(LIMIT, work).await {
            Ok((keys, table)) => {
                log("keys", keys);
                log("table", table);
            }
            Err(error) => log("all", Err(error)),
        }
    }
    Ok(app)
}

fn log<E: std::error::Error>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!(what, error = %error, "warm_up.failed");
    }
}
