//! The Lambda function.

use answer_unknown_route::handle;
use shared::api::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    serve(async || Ok::<_, lambda_http::Error>(()), handle).await
}
