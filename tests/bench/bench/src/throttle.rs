//! Functions with the part of a core that Lambda gives for each size of memory: how long, and at what price.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::cost::{Bench, Times, billed, paused, within};
use crate::dynamodb::Pace;
use crate::http::Error;
use crate::prices::{Prices, Stack};

/// From the least that Lambda has to a whole core.
const SIZES: [u32; 5] = [128, 256, 512, 1024, 1769];
const FUNCTIONS: [&str; 5] = ["hello", "get-flow", "list-flows", "create-flow", "start-flow"];
/// New sandboxes, and warm requests to all of them together.
const COLD: usize = 5;
const WARM: usize = 200;

/// throttle.json: by function and size.
#[derive(Serialize, Deserialize)]
pub(crate) struct Throttle(pub(crate) BTreeMap<String, BTreeMap<u32, Size>>);

/// Sizes and dollars.
pub(crate) type Curve = Vec<(f64, f64)>;

/// A function with so much memory.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) times: Times,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What was timed of a function with one size.
#[derive(Default)]
struct Samples {
    inits: Vec<Duration>,
    firsts: Vec<Duration>,
    warm: Vec<Duration>,
}

impl Bench<'_> {
    /// Measures every function with every size. One size after the other and again, so that all have their part
    /// of what slows down with time, such as the local server.
    pub(crate) async fn throttle(&self) -> Result<Throttle, Error> {
        let mut functions = BTreeMap::new();
        for function in FUNCTIONS {
            let mut samples: BTreeMap<u32, Samples> = BTreeMap::new();
            for _ in 0..COLD {
                for memory in SIZES {
                    let group = Group::new(memory, &self.prices.assumptions)
                        .map_err(|error| format!("there is no cgroup to throttle with: {error}"))?;
                    self.sample(function, &group, samples.entry(memory).or_default()).await?;
                }
            }
            let sizes: BTreeMap<_, _> =
                samples.into_iter().map(|(memory, samples)| (memory, samples.size())).collect();
            for (memory, size) in &sizes {
                eprintln!("{function}, {memory} MB: {:.1} ms, p99 {:.1} ms", size.times.warm, size.p99);
            }
            functions.insert(function.into(), sizes);
        }
        Ok(Throttle(functions))
    }

    /// One sandbox and some warm requests to it.
    async fn sample(&self, function: &str, group: &Group, samples: &mut Samples) -> Result<(), Error> {
        let assumed = &self.prices.assumptions;
        let wanted = 1 + WARM / COLD;
        let events = paused(self.scenes.events(function, wanted).await?, assumed.cfs_period_us);
        self.world.dynamodb.keep_pace(assumed.service_ms.clone());
        let run = self.run(function, events, wanted, true, within(Some(group))).await;
        self.world.dynamodb.keep_pace(Pace::new());
        let run = run?;
        samples.inits.push(run.init);
        samples.firsts.extend(run.times.first());
        samples.warm.extend(run.times.get(1..).unwrap_or_default());
        Ok(())
    }
}

impl Samples {
    fn size(mut self) -> Size {
        self.warm.sort_unstable();
        let at = |share: usize| {
            let place = (self.warm.len() * share / 100).min(self.warm.len().saturating_sub(1));
            self.warm.get(place).map_or(0.0, millis)
        };
        let times =
            Times { init: billed(&self.inits), first: billed(&self.firsts), warm: billed(&self.warm) };
        Size { times, p50: at(50), p99: at(99) }
    }
}

fn millis(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Throttle {
    /// Dollars for a million invocations: the requests and the time.
    fn usd(size: &Size, memory: u32, prices: &Prices) -> Result<f64, Error> {
        let cold = prices.assumptions.cold_share;
        let millis = size.times.warm * (1.0 - cold) + (size.times.init + size.times.first) * cold;
        let seconds = millis / 1000.0 * f64::from(memory) / 1024.0;
        Ok((prices.of("lambda_request")? + prices.of("lambda_gb_second")? * seconds) * 1e6)
    }

    /// Of every function.
    pub(crate) fn curves(&self, prices: &Prices) -> Result<Vec<(String, Curve)>, Error> {
        let curve = |sizes: &BTreeMap<u32, Size>| {
            let points = sizes
                .iter()
                .map(|(memory, size)| Ok((f64::from(*memory), Self::usd(size, *memory, prices)?)));
            points.collect::<Result<Vec<_>, Error>>()
        };
        self.0.iter().map(|(function, sizes)| Ok((function.clone(), curve(sizes)?))).collect()
    }

    /// The section of docs/cost.md.
    pub(crate) fn section(&self, prices: &Prices, stack: &Stack) -> Result<String, Error> {
        let mut text = format!(
            "## Memory\n\nLambda gives a part of a core with the memory: a whole one with {} MB. Here a control group does, from the first \
             event on, in\nperiods of {} ms; INIT has a whole core. {WARM} warm requests at any moment of a period, {COLD} cold ones. Dollars are \
             for a million\ninvocations, request and time, with {:.0} % cold; **bold** is the cheapest size.\n\n",
            prices.assumptions.lambda_mb_of_a_core,
            prices.assumptions.cfs_period_us / 1000,
            prices.assumptions.cold_share * 100.0
        );
        writeln!(
            text,
            "![Dollars by memory](cost/memory.svg)\n\n\
             | function | memory | part of a core | $ | billed warm | p50 | p99 | first | INIT | the template has |\n|---|---|---|---|---|---|---|---|---|---|"
        )?;
        for (function, sizes) in &self.0 {
            let dollars: Vec<_> = sizes
                .iter()
                .map(|(memory, size)| Ok((*memory, Self::usd(size, *memory, prices)?)))
                .collect::<Result<_, Error>>()?;
            let cheapest = dollars.iter().min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(memory, _)| *memory);
            for ((memory, size), (_, usd)) in sizes.iter().zip(&dollars) {
                let price =
                    if cheapest == Some(*memory) { format!("**{usd:.3}**") } else { format!("{usd:.3}") };
                let part = (f64::from(*memory) / prices.assumptions.lambda_mb_of_a_core * 100.0).min(100.0);
                let own = if stack.memory.get(function) == Some(memory) { "this" } else { "" };
                writeln!(
                    text,
                    "| {function} | {memory} MB | {part:.1} % | {price} | {:.1} ms | {:.1} ms | {:.1} ms | {:.0} ms | {:.0} ms | {own} |",
                    size.times.warm, size.p50, size.p99, size.times.first, size.times.init
                )?;
            }
        }
        text += "\nThe template takes the cheapest size for what holds one flow and waits most of the time (get-flow, start-flow and stop-flow). \
                 list-flows\ntakes the next one: pages come sooner, and those of large flows have room. \
                 create-flow takes more\nthan its usual flow needs, because a body of a megabyte keeps a processor busy; so do the functions that take many \
                 flows at once. All\nothers have the next size as well: they were not measured one by one.\n\n";
        Ok(text)
    }
}
