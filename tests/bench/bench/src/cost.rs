//! What requests cost: every function's calls, capacity units, log and time, and what its writes set off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cgroup::Group;
use crate::dynamodb::{Cost, Pace};
use crate::http::Error;
use crate::lambda::{self, Events, Progress, Special};
use crate::prices::{Prices, Stack};
use crate::scenes::Scenes;
use crate::template::matches;
use crate::units;
use crate::world::World;

/// Requests that are timed after the first.
const WARM: usize = 20;
/// What DynamoDB adds to the size of each item when it stores it.
const ITEM_OVERHEAD: usize = 100;
/// Each is answered by the orchestrator, with an event that is paid for too.
const ANSWERED: [&str; 2] = ["flow.starting", "flow.stopping"];

/// All that was measured: costs.json.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// Whether the functions had only the part of a core that comes with their memory.
    pub(crate) throttled: bool,
    pub(crate) functions: BTreeMap<String, Measured>,
}

/// One function.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) cost: Cost,
    pub(crate) times: Times,
    /// Its log of one request, and the metrics in it.
    pub(crate) log_lines: usize,
    pub(crate) log_bytes: usize,
    pub(crate) metrics: usize,
    pub(crate) answer_bytes: usize,
    /// What it has added to the table.
    pub(crate) stored_bytes: usize,
    /// Invocations that its writes set off through the stream, by the function.
    pub(crate) follows: BTreeMap<String, Vec<Cost>>,
    /// Events by which the orchestrator answers.
    pub(crate) answers: usize,
}

/// Milliseconds; those of requests are rounded up one by one, as they are billed.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) init: f64,
    pub(crate) first: f64,
    pub(crate) warm: f64,
}

/// What is measured where.
pub(crate) struct Bench<'a> {
    pub(crate) world: &'a World,
    pub(crate) scenes: Scenes<'a>,
    pub(crate) functions: &'a Path,
    /// H's binary.
    pub(crate) hello: PathBuf,
    pub(crate) prices: &'a Prices,
    pub(crate) stack: &'a Stack,
}

/// Where SAM builds a package: `get-flow` in `GetFlow`.
pub(crate) fn binary(functions: &Path, package: &str) -> PathBuf {
    let words = package.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    functions.join(words.collect::<String>()).join("bootstrap")
}

/// The mean of what is billed for each.
pub(crate) fn billed(times: &[Duration]) -> f64 {
    let millis = times.iter().map(|time| (time.as_secs_f64() * 1000.0).ceil());
    millis.sum::<f64>() / f64::from(u32::try_from(times.len().max(1)).unwrap_or(u32::MAX))
}

impl Bench<'_> {
    /// Measures every function of the template.
    pub(crate) async fn costs(&self) -> Result<Costs, Error> {
        let mut costs = Costs { throttled: true, functions: BTreeMap::new() };
        for (function, memory) in &self.stack.memory {
            let mut measured = self.count(function).await?;
            let group = Group::new(*memory, &self.prices.assumptions);
            if let Err(error) = &group {
                costs.throttled = false;
                eprintln!("{function} has a whole core, because there is no cgroup: {error}");
            }
            self.time(function, group.ok().as_ref(), &mut measured).await?;
            eprintln!("{function}: {:?} {:.1} ms", measured.cost.calls, measured.times.warm);
            costs.functions.insert(function.clone(), measured);
        }
        Ok(costs)
    }

    /// Runs a function with these events.
    pub(crate) async fn run(
        &self,
        function: &str,
        events: Events,
        wanted: usize,
        warm_up: bool,
        special: Special,
    ) -> Result<Progress, Error> {
        let mut environment = self.world.environment.clone();
        let endpoint = environment.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL_DYNAMODB");
        let endpoint = endpoint.map(|(_, url)| url.clone()).ok_or("no endpoint")?;
        let queue = format!("{endpoint}/unreadable-changes");
        let settings = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("EVENT_BUS_NAME", "flow-repository"),
            ("UNREADABLE_QUEUE_URL", &queue),
            ("SECRETS_PREFIX", "flow-repository/secrets/"),
            ("METRICS_NAMESPACE", "FlowRepository/flow-repository"),
            ("WARM_UP", if warm_up { "true" } else { "false" }),
        ];
        environment.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let special = Special { expects_404: function == "answer-unknown-route", ..special };
        let binary = if function == "hello" { self.hello.clone() } else { binary(self.functions, function) };
        let line = [binary.into()];
        lambda::run_special(&line, &environment, events, wanted, special).await
    }

    /// One request, its calls, and what the stream makes of its writes.
    async fn count(&self, function: &str) -> Result<Measured, Error> {
        self.world.dynamodb.keep_pace(Pace::new());
        let log = self.world.folder.path().join("log");
        let special = Special { log: Some(std::fs::File::create(&log)?), ..Special::default() };
        let events = self.scenes.events(function, 1).await?;
        let (cost, progress) = self.counted(function, events, special).await?;
        let log = std::fs::read_to_string(log)?;
        let metrics = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        // The first request of a sandbox has one more, for being that.
        let metrics =
            metrics.filter_map(|line| line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().cloned());
        let metrics = metrics.flatten().filter(|metric| metric["Name"] != "ColdStarts").count();
        let mut measured = Measured {
            log_lines: log.lines().count(),
            log_bytes: log.len(),
            metrics,
            answer_bytes: progress.answer["body"].as_str().unwrap_or_default().len(),
            ..Measured::default()
        };
        let added = cost.records.iter().filter(|record| record["eventName"] == "INSERT");
        let images = added.filter_map(|record| record["dynamodb"]["NewImage"].as_object());
        measured.stored_bytes = images.map(|image| units::size(image) + ITEM_OVERHEAD).sum();
        for stream in &self.stack.template.streams {
            let wanted = |record: &&Value| stream.filters.iter().any(|filter| matches(filter, record));
            let records: Vec<_> = cost.records.iter().filter(wanted).collect();
            for batch in records.chunks(stream.batch_size) {
                let event = json!({"Records": batch}).to_string();
                let events: Events = Box::new(move || Ok(event.clone()));
                let (cost, _) = self.counted(&stream.function, events, Special::default()).await?;
                let answered = cost.announced.iter().filter(|name| ANSWERED.contains(&name.as_str()));
                measured.answers += answered.count();
                measured.follows.entry(stream.function.clone()).or_default().push(cost);
            }
        }
        measured.cost = cost;
        Ok(measured)
    }

    async fn counted(
        &self,
        function: &str,
        events: Events,
        special: Special,
    ) -> Result<(Cost, Progress), Error> {
        self.world.dynamodb.count();
        let run = self.run(function, events, 1, false, special).await;
        let cost = self.world.dynamodb.counted();
        Ok((cost, run?))
    }

    /// How long it takes, with AWS as far away as is assumed.
    async fn time(
        &self,
        function: &str,
        group: Option<&Group>,
        measured: &mut Measured,
    ) -> Result<(), Error> {
        let events = self.scenes.events(function, 1 + WARM).await?;
        self.world.dynamodb.keep_pace(self.prices.assumptions.service_ms.clone());
        let run = self
            .run(
                function,
                paused(events, self.prices.assumptions.cfs_period_us),
                1 + WARM,
                true,
                within(group),
            )
            .await;
        self.world.dynamodb.keep_pace(Pace::new());
        let run = run?;
        let (first, warm) = run.times.split_at(1);
        measured.times =
            Times { init: run.init.as_secs_f64() * 1000.0, first: billed(first), warm: billed(warm) };
        Ok(())
    }
}

/// Throttled from the first event on: INIT has a whole core.
pub(crate) fn within(group: Option<&Group>) -> Special {
    let Some(members) = group.map(Group::members) else { return Special::default() };
    let after_init = move |pid: u32| Ok(std::fs::write(&members, pid.to_string())?);
    Special { after_init: Some(Box::new(after_init)), ..Special::default() }
}

#[allow(clippy::disallowed_methods, reason = "nothing else is to be done meanwhile")]
/// Requests come at any time of a period, and find what it gives them unspent.
pub(crate) fn paused(mut events: Events, period_us: u32) -> Events {
    let mut number = 0;
    Box::new(move || {
        number += 1;
        std::thread::sleep(Duration::from_micros(u64::from(period_us) * (10 + number * 7 % 10) / 10));
        events()
    })
}
