//! The Lambda function.

use check_health::{App, handle};
use shared::api::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    serve(async || App::from_env(), handle).await
}
