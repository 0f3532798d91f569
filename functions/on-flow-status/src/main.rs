//! The Lambda function.

use on_flow_status::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::telemetry::init()?;
    let app = App::from_env()?;
    lambda_runtime::run(lambda_runtime::service_fn(|event| handle(&app, event))).await
}
