//! The Lambda function.

use shared::secrets::Secrets;
use sweep_secrets::handle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::telemetry::init()?;
    let secrets = Secrets::from_env()?;
    lambda_runtime::run(lambda_runtime::service_fn(|event| handle(&secrets, event))).await
}
