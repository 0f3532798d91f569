//! The Lambda function.

use shared::api::{App, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    serve(App::from_env, list_versions::handle).await
}
