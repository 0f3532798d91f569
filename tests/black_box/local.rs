//! What a local server remembers.

use ::local::Options;
use serde_json::Value;
use tests::{ALL, Api, complete_flow, other_dynamodb};

#[tokio::test]
async fn a_run_that_a_server_left_behind_is_taken_up_by_the_next() {
    let folder = std::env::temp_dir().join(format!("flow-repository-runs-{}", std::process::id()));
    let options = Options { folder: Some(folder.clone()), dynamodb: other_dynamodb(), ..Options::default() };
    let first = Api::start_with(Options { orchestrator: false, ..options.clone() }).await;
    let token = first.token("anna", "acme", ALL);
    let id = first.post("/flows", &token, complete_flow("x")).await.id();
    first.post(&format!("/flows/{id}/start"), &token, Value::Null).await;
    first.server.stop().await.unwrap();

    let second = Api::start_with(options).await;
    second.wait_for_status(&id, &token, "active").await;
    second.server.stop().await.unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}
