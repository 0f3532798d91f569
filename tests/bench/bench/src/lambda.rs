//! The Runtime API: runs a function as Lambda does, and watches it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Notify;

use crate::http::{Answer, Error, serve};

/// For one request. Under callgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_mins(5);

/// Gives one event after the other.
pub(crate) type Events = Box<dyn FnMut() -> Result<String, Error> + Send>;

/// Is given a process id.
pub(crate) type AfterInit = Box<dyn Fn(u32) -> Result<(), Error> + Send + Sync>;

/// What is special about a run.
#[derive(Default)]
pub(crate) struct Special {
    /// Where it logs; nowhere without.
    pub(crate) log: Option<File>,
    /// Done with its process id when it asks for the first event.
    pub(crate) after_init: Option<AfterInit>,
    /// Whether 404 is the right answer.
    pub(crate) expects_404: bool,
}

/// A function that runs.
struct State {
    events: Mutex<Events>,
    special: Special,
    progress: Mutex<Progress>,
    done: Notify,
}

/// What was seen of it.
pub(crate) struct Progress {
    wanted: usize,
    served: usize,
    pid: u32,
    started: Instant,
    /// Until it asked for the first event.
    pub(crate) init: Duration,
    /// From each event to its answer.
    pub(crate) times: Vec<Duration>,
    /// The most memory it has had, in KB, by the number of requests that were answered.
    pub(crate) peaks: BTreeMap<usize, u64>,
    /// Of its memory in the end what is no file's, in KB.
    pub(crate) anonymous: u64,
    /// And what is mapped of the binary.
    pub(crate) mapped: u64,
    /// What it answered last.
    pub(crate) answer: Value,
    failure: Option<String>,
}

/// Runs a command line with a function in it until it has answered this many events, and ends it.
pub(crate) async fn run(
    line: &[OsString],
    environment: &[(String, String)],
    events: Events,
    wanted: usize,
) -> Result<Progress, Error> {
    run_special(line, environment, events, wanted, Special::default()).await
}

/// The same with something special.
pub(crate) async fn run_special(
    line: &[OsString],
    environment: &[(String, String)],
    events: Events,
    wanted: usize,
    mut special: Special,
) -> Result<Progress, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (program, arguments) = line.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(special.log.take().map_or_else(Stdio::null, Into::into))
        .stderr(if std::env::var_os("SHOW").is_some() { Stdio::inherit() } else { Stdio::null() })
        .kill_on_drop(true)
        .process_group(0);
    let started = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let pid = child.id().ok_or("it has ended")?;
    let progress = Progress {
        wanted,
        served: 0,
        pid,
        started,
        init: Duration::ZERO,
        times: Vec::new(),
        peaks: BTreeMap::new(),
        anonymous: 0,
        mapped: 0,
        answer: Value::Null,
        failure: None,
    };
    let state = Arc::new(State {
        events: Mutex::new(events),
        special,
        progress: Mutex::new(progress),
        done: Notify::new(),
    });
    let shared = Arc::clone(&state);
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, Arc::clone(&shared), answer));
        }
    });
    let ended = tokio::select! {
        () = state.done.notified() => None,
        status = child.wait() => Some(format!("it ended: {}", status?)),
        () = stalled(&state) => Some("it does not answer".to_owned()),
    };
    if ended.is_none() {
        // Asked to end, callgrind writes down what it has.
        killpg(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?;
        child.wait().await?;
    }
    server.abort();
    let mut progress = lock(&state.progress);
    if let Some(failure) = progress.failure.take().or(ended) {
        return Err(format!("{}: {failure}", line.last().unwrap_or(program).display()).into());
    }
    let empty = Progress {
        peaks: BTreeMap::new(),
        anonymous: 0,
        mapped: 0,
        times: Vec::new(),
        answer: Value::Null,
        failure: None,
        ..*progress
    };
    Ok(std::mem::replace(&mut *progress, empty))
}

/// Ends when nothing has happened for a while.
async fn stalled(state: &State) {
    let mut before = None;
    loop {
        let served = Some(lock(&state.progress).served);
        if served == before {
            return;
        }
        before = served;
        tokio::time::sleep(PATIENCE).await;
    }
}

async fn answer(state: Arc<State>, request: Request<Bytes>) -> Result<Answer, Error> {
    if !request.uri().path().ends_with("/invocation/next") {
        return state.take(&request);
    }
    match state.next()? {
        Some(event) => Ok(event),
        // Lambda freezes it until there is another event, which does not come.
        None => std::future::pending().await,
    }
}

impl State {
    fn next(&self) -> Result<Option<Answer>, Error> {
        let mut progress = lock(&self.progress);
        if progress.served == 0 {
            progress.init = progress.started.elapsed();
            if let Some(after_init) = &self.special.after_init {
                after_init(progress.pid)?;
            }
        }
        if is_power_of_ten(progress.served) || progress.served == progress.wanted {
            let (served, peak) = (progress.served, memory(progress.pid, "VmHWM:"));
            progress.peaks.insert(served, peak);
            progress.anonymous = memory(progress.pid, "RssAnon:");
            progress.mapped = mapped(progress.pid);
        }
        if progress.served == progress.wanted || progress.failure.is_some() {
            self.done.notify_one();
            return Ok(None);
        }
        progress.served += 1;
        let event = (lock(&self.events))()?;
        let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() + 30_000;
        let answer = Response::builder()
            .header("content-type", "application/json")
            .header(
                "lambda-runtime-aws-request-id",
                format!("8476a536-e9f4-11e8-9739-2dfe5{:07x}", progress.served),
            )
            .header("lambda-runtime-deadline-ms", deadline.to_string())
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:f")
            .header(
                "lambda-runtime-trace-id",
                "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
            )
            .body(Full::new(event.into()))?;
        progress.started = Instant::now();
        Ok(Some(answer))
    }

    fn take(&self, request: &Request<Bytes>) -> Result<Answer, Error> {
        let mut progress = lock(&self.progress);
        let time = progress.started.elapsed();
        progress.times.push(time);
        progress.answer = serde_json::from_slice(request.body()).unwrap_or_default();
        // A function of events answers without a status.
        let status = progress.answer.get("statusCode").and_then(Value::as_u64).unwrap_or(200);
        let is_right = (200..300).contains(&status) || (status == 404 && self.special.expects_404);
        if !is_right || !request.uri().path().ends_with("/response") {
            progress.failure = Some(format!("it answered {}", String::from_utf8_lossy(request.body())));
        }
        let body = Full::new("{\"status\":\"OK\"}\n".into());
        Ok(Response::builder().status(202).header("content-type", "application/json").body(body)?)
    }
}

fn is_power_of_ten(number: usize) -> bool {
    number > 0 && 10_usize.pow(number.ilog10()) == number
}

/// What the kernel says of a process's memory, in KB: `VmHWM:` is the most it has had.
fn memory(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// What is mapped of a process's binary and as it is in the file, in KB.
fn mapped(pid: u32) -> u64 {
    let binary = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut is_own, mut mapped) = (false, 0_u64);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some(name) if name.ends_with(':') => {
                let size = words.next().and_then(|size| size.parse().ok()).unwrap_or_default();
                match name {
                    "Rss:" if is_own => mapped += size,
                    "Anonymous:" if is_own => mapped = mapped.saturating_sub(size),
                    _ => {}
                }
            }
            _ => is_own = words.last().is_some_and(|path| binary.as_os_str() == path),
        }
    }
    mapped
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
