//! What is measured: in Lambda by lines on standard output, elsewhere in the log.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use shared::flow::Timestamp;
use tests::{ALL, complete_flow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::log::Log;
use crate::stack::{Stack, event};

#[tokio::test]
async fn a_report_that_comes_too_late_is_told_from_one_that_has_nothing_to_do() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let (_, created) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    let id = created["data"]["id"].as_str().unwrap();
    let log = Log::start();
    // The outcome that is logged, and what is measured.
    let report = async |kind: &str, id: &str, run: Option<&str>| {
        log.take();
        stack.deliver("on-flow-status", kind, json!({"id": id, "runId": run})).await.unwrap();
        let lines = log.take();
        let outcomes = lines.iter().filter(|line| line["message"] == "flow.status");
        let metrics = lines.iter().filter(|line| line["message"] == "metric");
        let named = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        (
            outcomes.map(|line| named(line, "outcome")).collect(),
            metrics.map(|line| named(line, "metric")).collect(),
        )
    };
    let expect = |outcome: &str, metrics: &[&str]| -> (Vec<String>, Vec<String>) {
        (vec![outcome.into()], metrics.iter().map(ToString::to_string).collect())
    };
    let (applied, late) = (expect("applied", &[]), expect("late", &["EventsLate"]));
    let repeated = expect("repeated", &["EventsIgnored"]);
    let no_flow = expect("no flow", &["EventsIgnored"]);
    let orphan = expect("orphan", &["RunsOrphaned"]);
    let other = "5ca5c44c187c040010a9bb8b";

    assert_eq!(report("flow.started", "5ca5c44c187c040010a9bb8b", None).await, no_flow);
    assert_eq!(report("flow.started", id, None).await, late, "it was never started");
    stack.request("start-flow", "POST /flows/{id}/start", id, &anna, Value::Null).await;
    assert_eq!(report("flow.started", id, Some("another run")).await, late);
    assert_eq!(report("flow.started", id, None).await, applied);
    assert_eq!(report("flow.started", id, None).await, repeated);
    stack.request("stop-flow", "POST /flows/{id}/stop", id, &anna, Value::Null).await;
    assert_eq!(report("flow.started", id, None).await, late, "it is stopping");
    assert_eq!(report("flow.stopped", id, None).await, applied);
    assert_eq!(report("flow.stopped", id, None).await, repeated);
    assert_eq!(report("flow.started", id, Some(other)).await, orphan, "nobody could stop it");
    assert_eq!(report("flow.started", id, Some(other)).await, repeated);
    stack.request("delete-flow", "DELETE /flows/{id}", id, &anna, Value::Null).await;
    assert_eq!(
        report("flow.failed", id, Some("5ca5c44c187c040010a9bb8c")).await,
        orphan,
        "also of a deleted one"
    );
}

#[tokio::test]
async fn a_report_without_a_run_that_is_older_than_the_status_does_nothing() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let (_, created) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("x")).await;
    let id = created["data"]["id"].as_str().unwrap();
    let (_, _) = stack.request("start-flow", "POST /flows/{id}/start", id, &anna, Value::Null).await;
    let get =
        async || stack.request("get-flow", "GET /flows/{id}", id, &anna, Value::Null).await.1["data"].take();
    let run = get().await["runId"].clone();
    // As one that was set aside in the run before, and is redriven now.
    let ago = Timestamp::now().minus(Duration::from_hours(1));
    for detail in [json!({"id": id}), json!({"id": id, "reason": "of the run before"})] {
        for kind in ["flow.failed", "flow.started"] {
            stack.deliver_at(ago, "on-flow-status", kind, detail.clone()).await.unwrap();
            assert_eq!(get().await["status"], "starting", "{kind}");
        }
    }
    stack.deliver_at(ago, "on-flow-status", "flow.started", json!({"id": id, "runId": run})).await.unwrap();
    assert_eq!(get().await["status"], "active", "it says which run it is of");
    stack.deliver("on-flow-status", "flow.stopped", json!({"id": id})).await.unwrap();
    assert_eq!(get().await["status"], "inactive", "it is of now");
}

#[tokio::test]
async fn in_lambda_a_request_is_one_line_with_its_metrics_at_every_level() {
    let requests = ["/canary", "/canary/bad", "/canary/broken", "/canary?canary=canary"];
    let lines = tokio::time::timeout(Duration::from_mins(1), run_in_lambda(&requests)).await.unwrap();
    let seen: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "request")
        .map(|line| {
            assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "Shop", "{line}");
            assert!(line["Latency"].is_f64() && !line.to_string().contains("canary"), "{line}");
            json!([
                line["Route"],
                line["Requests"],
                line["response.status"],
                line["Errors"],
                line["ColdStarts"]
            ])
        })
        .collect();
    assert_eq!(
        seen,
        [
            json!(["$default", 1, 200, null, 1]),
            json!(["$default", 1, 404, null, null]),
            json!(["$default", 1, 500, 1, null]),
            json!(["$default", 1, 200, null, null]),
        ]
    );
    // LOG_LEVEL is error: of all other lines, only the panic's is left.
    let others: Vec<_> = lines.iter().filter(|line| line["message"] != "request").collect();
    assert!(others.iter().all(|line| line["level"] == "ERROR"), "{others:?}");
    assert_eq!(others.iter().filter(|line| line["message"] == "failed").count(), 1, "{others:?}");
}

/// Runs the function of canary.rs as Lambda does, gives it requests for these paths, and returns what
/// it wrote.
async fn run_in_lambda(paths: &[&str]) -> Vec<Value> {
    let runtime_api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let function = std::process::Command::new(env!("CARGO_BIN_EXE_canary"))
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "function")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("LOG_LEVEL", "error")
        .env("METRICS_NAMESPACE", "Shop")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut function = Running(Some(function));
    for path in paths {
        let event = event(&format!("$default {path}"), "", "", &Value::Null);
        let head = "lambda-runtime-aws-request-id: i\r\nlambda-runtime-deadline-ms: 9999999999999\r\n\
            lambda-runtime-invoked-function-arn: arn:aws:lambda:r:1:function:f\r\n";
        answer(&runtime_api, "GET /2018-06-01/runtime/invocation/next ", "200 OK", head, &event.to_string())
            .await;
        answer(&runtime_api, "POST /2018-06-01/runtime/invocation/i/response ", "202 Accepted", "", "").await;
    }
    let text = function.end();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Answers one call of a function, which must be this one.
async fn answer(runtime_api: &TcpListener, call: &str, status: &str, headers: &str, body: &str) {
    let (mut stream, _) = runtime_api.accept().await.unwrap();
    let received = read_call(&mut stream).await;
    assert!(received.starts_with(call), "{received}");
    let length = body.len();
    let response =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(response.as_bytes()).await.unwrap();
}

async fn read_call(stream: &mut TcpStream) -> String {
    let mut received = String::new();
    loop {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the call ends early: {received}");
        received.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        let Some((head, body)) = received.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return received;
        }
    }
}

/// A process that does not outlive its test.
struct Running(Option<std::process::Child>);

impl Running {
    /// Ends it, and returns what it wrote.
    fn end(&mut self) -> String {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
        }
    }
}
