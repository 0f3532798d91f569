//! The Lambda function.

use shared::api::{SecretsApp, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    serve(SecretsApp::from_env, create_secret::handle).await
}
