//! A function that answers, refuses and panics, for the test of what a function writes in Lambda; and one that opens
//! what any function opens, for the test of settings.

#![allow(clippy::panic, reason = "to be seen in the log")]

use shared::api::{App, Problem, Request, Response, SecretsApp, path, serve};
use shared::config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    serve(open, handle).await
}

async fn open() -> Result<(), lambda_http::Error> {
    if std::env::var_os("CANARY_OPENS").is_some() {
        App::from_env().await?;
        SecretsApp::from_env().await?;
        let config = config::environment();
        config.event_bus_name()?;
        config.unreadable_queue_url()?;
        config.confirmation_limit()?;
    }
    Ok(())
}

async fn handle((): &(), request: Request) -> Result<Response, Problem> {
    match path(&request) {
        "/canary" => Ok(Response::default()),
        "/canary/bad" => Err(Problem::RouteNotFound),
        _ => panic!("a defect"),
    }
}
