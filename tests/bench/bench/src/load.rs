//! The local server under load: a minute of a mix of requests, and what becomes of its memory.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::http::{Error, Http};

/// Flows before it begins; `POST /flows` takes a hundred at once.
const FLOWS: usize = 1000;
const AT_ONCE: usize = 100;
const THREADS: &str = "2";
const CONNECTIONS: &str = "16";
const SECONDS: u64 = 60;
/// When memory is looked at for the first time.
const SETTLED: u64 = 10;
/// The shares of creates and of starts and stops; the rest is reads: three gets to a list.
const MIXES: [(&str, f64, f64); 2] =
    [("60 % get, 20 % list, 10 % create, 10 % start and stop", 0.1, 0.1), ("80 % get, 20 % list", 0.0, 0.0)];

/// load.json
#[derive(Serialize, Deserialize)]
pub(crate) struct Load(Vec<Minute>);

/// What was seen of one mix.
#[derive(Serialize, Deserialize)]
struct Minute {
    mix: String,
    wrk: Wrk,
    /// At the start, after ten seconds, and at the end.
    rss_mb: [f64; 3],
}

/// What wrk says.
#[derive(Serialize, Deserialize)]
struct Wrk {
    requests: u64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Not answered.
    failed: u64,
    /// Answered with 4xx or 5xx.
    refused: u64,
}

/// A local server as `cargo run` starts it, with data in memory.
struct Server {
    process: Child,
    url: String,
    token: String,
}

impl Server {
    async fn start(server: &Path) -> Result<Self, Error> {
        let mut process = Command::new(server)
            .args(["--port", "0", "--data", ":memory:"])
            .env("LOG_LEVEL", "error")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", server.display()))?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let (mut url, mut token) = (String::new(), String::new());
        while token.is_empty() {
            let line = lines.next_line().await?.ok_or("the local server has ended")?;
            if let Some((_, rest)) = line.split_once("listens on ") {
                url = rest.split(';').next().unwrap_or_default().to_owned();
            } else if line.starts_with("A token of ") {
                token = lines.next_line().await?.unwrap_or_default();
            }
        }
        // It goes on writing, and must find a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { process, url, token })
    }

    /// The memory it has now.
    fn rss_mb(&self) -> Result<f64, Error> {
        let pid = self.process.id().ok_or("the local server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: f64 = line.split_whitespace().next().unwrap_or_default().parse()?;
        Ok(kilobytes / 1024.0)
    }

    /// Stores flows and gives their ids.
    async fn fill(&self, flow: &Value) -> Result<Vec<String>, Error> {
        let http = Http::new();
        let mut ids = Vec::new();
        while ids.len() < FLOWS {
            let request = Request::post(format!("{}/flows", self.url))
                .header("authorization", format!("Bearer {}", self.token))
                .header("content-type", "application/json")
                .body(Full::new(serde_json::to_vec(&vec![flow; AT_ONCE])?.into()))?;
            let body: Value = serde_json::from_slice(http.send(request).await?.body())?;
            let stored = body["data"].as_array().into_iter().flatten().filter_map(|flow| flow["id"].as_str());
            let before = ids.len();
            ids.extend(stored.map(ToOwned::to_owned));
            if ids.len() == before {
                return Err(format!("flows were not stored: {body}").into());
            }
        }
        Ok(ids)
    }
}

/// Runs every mix on the same server, one after the other.
pub(crate) async fn run(root: &Path, server: &Path) -> Result<Load, Error> {
    let bench = root.join("tests/bench");
    let folder = TempDir::new()?;
    let server = Server::start(server).await?;
    let flow: Value = serde_json::from_slice(&std::fs::read(bench.join("flow.json"))?)?;
    let ids = folder.path().join("flows");
    std::fs::write(&ids, server.fill(&flow).await?.join("\n") + "\n")?;
    let body = folder.path().join("flow");
    std::fs::write(&body, flow.to_string())?;
    let mut minutes = Vec::new();
    for (mix, creates, changes) in MIXES {
        let start = server.rss_mb()?;
        let wrk = Command::new("wrk")
            .args(["--threads", THREADS, "--connections", CONNECTIONS, "--duration", &format!("{SECONDS}s")])
            .arg("--script")
            .arg(bench.join("load/mix.lua"))
            .arg(&server.url)
            .env("FLOWS", &ids)
            .env("BODY", &body)
            .env("TOKEN", &server.token)
            .env("THREADS", THREADS)
            .env("CREATES", creates.to_string())
            .env("CHANGES", changes.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("wrk: {error}; apt-get install wrk"))?;
        tokio::time::sleep(Duration::from_secs(SETTLED)).await;
        let settled = server.rss_mb()?;
        let output = wrk.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.starts_with('{')).ok_or_else(|| format!("wrk: {text}"))?;
        let minute = Minute {
            mix: mix.into(),
            wrk: serde_json::from_str(line)?,
            rss_mb: [start, settled, server.rss_mb()?],
        };
        eprintln!("{mix}: {line}, memory {:.0?} MB", minute.rss_mb);
        minutes.push(minute);
    }
    Ok(Load(minutes))
}

impl Load {
    /// Fails when a request did.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let failed: u64 = self.0.iter().map(|minute| minute.wrk.failed + minute.wrk.refused).sum();
        if failed == 0 { Ok(()) } else { Err(format!("{failed} requests failed").into()) }
    }

    /// The section of docs/performance.md.
    pub(crate) fn section(&self) -> String {
        let mut text = format!(
            "\n## Load\n\nThe local server by itself, with data in memory and {FLOWS} flows of 4 KB: {CONNECTIONS} connections of wrk for \
             {SECONDS} seconds, on the same machine.\n\n\
             | mix | requests a second | p50 | p99 | longest | errors | memory at the start | after {SETTLED} s | at the end |\n\
             |---|---|---|---|---|---|---|---|---|\n"
        );
        for Minute { mix, wrk, rss_mb: [start, settled, end] } in &self.0 {
            #[allow(clippy::cast_precision_loss, reason = "some thousand requests")]
            let rate = wrk.requests as f64 / wrk.seconds;
            let _ = writeln!(
                text,
                "| {mix} | {rate:.0} | {:.1} ms | {:.1} ms | {:.1} ms | {} | {start:.0} MB | {settled:.0} MB | {end:.0} MB |",
                wrk.p50_ms,
                wrk.p99_ms,
                wrk.max_ms,
                wrk.failed + wrk.refused,
            );
        }
        text
    }
}
