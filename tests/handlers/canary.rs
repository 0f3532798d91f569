//! A function that answers, refuses and panics, for the test of what a function writes in Lambda.

#![allow(clippy::panic, reason = "to be seen in the log")]

use shared::api::{Problem, Request, Response, path, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    serve(async || Ok::<_, lambda_http::Error>(()), handle).await
}

async fn handle((): &(), request: Request) -> Result<Response, Problem> {
    match path(&request) {
        "/canary" => Ok(Response::default()),
        "/canary/bad" => Err(Problem::RouteNotFound),
        _ => panic!("a defect"),
    }
}
