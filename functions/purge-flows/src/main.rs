//! The Lambda function.

use purge_flows::handle;
use shared::store::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::telemetry::init()?;
    let store = Store::from_env()?;
    lambda_runtime::run(lambda_runtime::service_fn(|event| handle(&store, event))).await
}
