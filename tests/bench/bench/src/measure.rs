//! One measurement after the other of one function.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::dynamodb::Cost;
use crate::figures::Timed;
use crate::http::Error;
use crate::lambda::{self, Progress};
use crate::world::{Asks, World};

/// Warm requests under callgrind; more than one, because no two are quite the same.
pub(crate) const WARM: usize = 20;
/// Runs of each function whose memory is watched. What the kernel maps around a page differs from run to run.
pub(crate) const WATCHED: usize = 7;
/// Runs of each function by the clock, and warm requests in each.
pub(crate) const ROUNDS: usize = 15;
pub(crate) const TIMED: usize = 100;
/// What a command of this program does beside the first under callgrind.
const TIMES: u64 = 20;
/// What a zip file has beside the compressed data: headers and the name `bootstrap`, twice.
const ZIP_FRAME: usize = 30 + 46 + 22 + 2 * 9;

/// A binary, and what it is asked.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
    pub(crate) asks: Asks,
    /// Of its environment, beside the world's.
    pub(crate) settings: Vec<(String, String)>,
}

/// Instructions of a sandbox's life.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Instructions {
    pub(crate) init: u64,
    /// Without the call that connects to the table.
    pub(crate) init_alone: u64,
    pub(crate) first: u64,
    pub(crate) warm: u64,
}

/// What happens before the first event is asked for.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) syscalls: usize,
    /// Of them those that are made without the warm-up call too.
    #[serde(default)]
    pub(crate) syscalls_alone: usize,
    /// All of them by name.
    #[serde(default)]
    pub(crate) by_name: BTreeMap<String, usize>,
    pub(crate) files: usize,
    /// Of all system calls those that another thread than the first makes.
    #[serde(default)]
    pub(crate) elsewhere: usize,
}

/// A sandbox's memory, in KB.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The most it has had, by the number of requests answered.
    pub(crate) peaks: BTreeMap<usize, u64>,
    /// In the end, what is no file's.
    pub(crate) anonymous: u64,
    /// And what is mapped of the binary.
    pub(crate) mapped: u64,
}

/// Times, as parts of another function's in the same round.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Wall {
    /// From exec to the first answer, of D's.
    pub(crate) until_first: Spread,
    /// A warm request, of D's.
    pub(crate) warm: Spread,
    /// Init, of H's.
    pub(crate) init: Spread,
}

/// The median, and between what half of the rounds lie.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values.get(values.len() * quarter / 4).copied().unwrap_or_default();
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

impl Instructions {
    /// Until the first request is answered.
    pub(crate) fn until_first(&self) -> u64 {
        self.init + self.first
    }

    pub(crate) fn phases(&self) -> [(&'static str, u64); 4] {
        [
            ("init", self.init),
            ("init without the warm-up call", self.init_alone),
            ("the first request", self.first),
            ("a warm request", self.warm),
        ]
    }

    /// Of each phase by itself.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let of = |phase: fn(&Self) -> u64| median(rounds.iter().map(phase));
        Self {
            init: of(|i| i.init),
            init_alone: of(|i| i.init_alone),
            first: of(|i| i.first),
            warm: of(|i| i.warm),
        }
    }
}

impl Memory {
    /// Of each figure by itself.
    fn median(runs: &[Progress]) -> Self {
        let counts = runs.iter().flat_map(|run| run.peaks.keys());
        let peak = |count| median(runs.iter().filter_map(|run| run.peaks.get(count)).copied());
        Self {
            peaks: counts.map(|count| (*count, peak(count))).collect(),
            anonymous: median(runs.iter().map(|run| run.anonymous)),
            mapped: median(runs.iter().map(|run| run.mapped)),
        }
    }
}

fn median(counts: impl Iterator<Item = u64>) -> u64 {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or_default()
}

impl Function {
    pub(crate) async fn run(
        &self,
        world: &World,
        tool: &[OsString],
        wanted: usize,
    ) -> Result<Progress, Error> {
        let line: Vec<OsString> = tool.iter().cloned().chain([self.binary.clone().into()]).collect();
        let environment: Vec<_> = world.environment.iter().chain(&self.settings).cloned().collect();
        lambda::run(&line, &environment, world.events(&self.name, &self.asks)?, wanted).await
    }

    /// It connects with the first request, instead of before.
    pub(crate) fn without_warm_up(&self) -> Self {
        let mut settings = self.settings.clone();
        settings.push(("WARM_UP".into(), "false".into()));
        Self { name: self.name.clone(), binary: self.binary.clone(), asks: self.asks.clone(), settings }
    }

    /// By callgrind, which repeats to about half a percent.
    pub(crate) async fn instructions(&self, world: &World, profiles: &Path) -> Result<Instructions, Error> {
        let init = self.executed(world, profiles, "init", 0).await?;
        let init_alone = self.without_warm_up().executed(world, profiles, "init-alone", 0).await?;
        let one = self.executed(world, profiles, "first", 1).await?;
        let many = self.executed(world, profiles, "warm", 1 + WARM).await?;
        let first = one.saturating_sub(init);
        Ok(Instructions { init, init_alone, first, warm: many.saturating_sub(one) / WARM as u64 })
    }

    pub(crate) async fn executed(
        &self,
        world: &World,
        profiles: &Path,
        phase: &str,
        wanted: usize,
    ) -> Result<u64, Error> {
        let file = profiles.join(format!("{}-{phase}.callgrind", self.name));
        let mut out = OsString::from("--callgrind-out-file=");
        out.push(&file);
        self.run(world, &["valgrind".into(), "--tool=callgrind".into(), out], wanted).await?;
        total(&file)
    }

    /// By strace.
    pub(crate) async fn start(&self, world: &World) -> Result<Start, Error> {
        let trace = self.trace(world).await?;
        let opened =
            |line: &&String| (line.contains("openat(") || line.contains("open(")) && !line.contains(" = -1");
        let mut by_name = BTreeMap::new();
        for line in &trace {
            // `123 openat(…`
            let call = line.split_once('(').and_then(|(call, _)| call.split_whitespace().last());
            *by_name.entry(call.unwrap_or_default().to_owned()).or_default() += 1;
        }
        let thread = |line: &String| line.split(' ').next().map(str::to_owned);
        let first = trace.first().map(thread);
        Ok(Start {
            elsewhere: trace.iter().filter(|line| Some(thread(line)) != first).count(),
            by_name,
            syscalls: trace.len(),
            syscalls_alone: self.without_warm_up().trace(world).await?.len(),
            files: trace.iter().filter(opened).count(),
        })
    }

    /// The system calls before the first event is asked for.
    async fn trace(&self, world: &World) -> Result<Vec<String>, Error> {
        let file = world.folder.path().join("strace");
        self.run(world, &["strace".into(), "-f".into(), "-o".into(), file.clone().into()], 0).await?;
        let trace = std::fs::read_to_string(&file)?;
        let before =
            trace.lines().take_while(|line| !line.contains("GET /2018-06-01/runtime/invocation/next"));
        let calls = before.filter(|line| line.contains('(') && !line.contains(" resumed>"));
        Ok(calls.map(str::to_owned).collect())
    }

    /// The size of a zip file of it, as SAM makes it: with zlib's usual level.
    pub(crate) fn zip(&self) -> Result<usize, Error> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&std::fs::read(&self.binary)?)?;
        Ok(encoder.finish()?.len() + ZIP_FRAME)
    }

    /// What one request costs in DynamoDB, without what connecting does.
    pub(crate) async fn cost(&self, world: &World) -> Result<Cost, Error> {
        let function = self.without_warm_up();
        world.dynamodb.count();
        let run = function.run(world, &[], 1).await;
        let cost = world.dynamodb.counted();
        run.map(|_| cost)
    }

    /// The same, and the median time of a few warm requests.
    pub(crate) async fn timed(&self, world: &World) -> Result<Timed, Error> {
        let cost = self.cost(world).await?;
        Ok(Timed::of(cost, &self.run(world, &[], 21).await?))
    }
}

/// What callgrind has counted in all.
pub(crate) fn total(file: &Path) -> Result<u64, Error> {
    let profile = std::fs::read_to_string(file)?;
    let total =
        profile.lines().find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
    Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?)
}

/// Instructions of doing once more what a command of this program does `--times` over.
pub(crate) async fn once_more(root: &Path, world: &World, command: &[OsString]) -> Result<u64, Error> {
    let mut counts = Vec::new();
    for times in [1, 1 + TIMES] {
        let out = world.folder.path().join("command.callgrind");
        let status = Command::new("valgrind")
            .args(["--tool=callgrind".into(), format!("--callgrind-out-file={}", out.display())])
            .arg(std::env::current_exe()?)
            .args(["--root".as_ref(), root.as_os_str()])
            .args(["--server", ".", "--functions", ".", "--baselines", "."])
            .args(command)
            .args(["--times", &times.to_string()])
            .stderr(Stdio::null())
            .status();
        if !status.await?.success() {
            return Err(format!("{command:?} failed").into());
        }
        counts.push(total(&out)?);
    }
    let [one, many] = counts[..] else { return Err("no counts".into()) };
    Ok(many.saturating_sub(one) / TIMES)
}

/// The median of the warm requests.
pub(crate) fn warm(progress: &Progress) -> Duration {
    let mut times = progress.times.get(1..).unwrap_or_default().to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Of a few requests to each, all functions in turn.
pub(crate) async fn memory(world: &World, functions: &[Function]) -> Result<BTreeMap<String, Memory>, Error> {
    world.provide_inactive(WATCHED * crate::FEW_REQUESTS).await?;
    let mut runs: BTreeMap<&str, Vec<Progress>> = BTreeMap::new();
    for _ in 0..WATCHED {
        for function in functions {
            let run = function.run(world, &[], crate::FEW_REQUESTS).await?;
            runs.entry(&function.name).or_default().push(run);
        }
    }
    Ok(runs.into_iter().map(|(name, runs)| (name.to_owned(), Memory::median(&runs))).collect())
}

/// By the clock, all functions in turn, so that all meet the same noise.
pub(crate) async fn wall(world: &World, functions: &[Function]) -> Result<BTreeMap<String, Wall>, Error> {
    let mut rounds: BTreeMap<&str, Vec<[f64; 3]>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut times = BTreeMap::new();
        // Whoever comes first in one round comes last in another.
        for index in 0..functions.len() {
            let Some(function) = functions.get((index + round) % functions.len()) else { continue };
            let progress = function.run(world, &[], 1 + TIMED).await?;
            let first = progress.times.first().copied().unwrap_or_default();
            let all = [progress.init + first, warm(&progress), progress.init];
            times.insert(function.name.as_str(), all.map(|time| time.as_secs_f64()));
        }
        let (Some(&[until_first, warm, _]), Some(&[.., init])) = (times.get("naive"), times.get("hello"))
        else {
            return Err("H and D must run too".into());
        };
        for (name, own) in times {
            rounds.entry(name).or_default().push([own[0] / until_first, own[1] / warm, own[2] / init]);
        }
    }
    let walls = rounds.into_iter().map(|(name, rounds)| {
        let spread =
            |index: usize| Spread::of(rounds.iter().filter_map(|round| round.get(index)).copied().collect());
        (name.to_owned(), Wall { until_first: spread(0), warm: spread(1), init: spread(2) })
    });
    Ok(walls.collect())
}
