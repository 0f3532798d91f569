//! Measures the built functions against a hello world (H) and a naive function (D), and writes
//! `docs/performance.md`. `tests/bench/run` builds what this needs.

mod agree;
mod bounds;
mod cgroup;
mod charts;
mod compression;
mod cost;
mod cost_page;
mod documents;
mod dynamodb;
mod figures;
mod gates;
mod http;
mod lambda;
mod levers;
mod limits;
mod load;
mod measure;
mod money;
mod page;
mod prices;
mod profile;
mod real_flows;
mod scenes;
// What the local server knows of the template, the bench knows too.
#[path = "../../../../infra/local/src/template.rs"]
#[allow(dead_code, unreachable_pub, reason = "the local server needs all of it")]
mod template;
mod throttle;
mod units;
mod world;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use figures::Figures;
use http::Error;
use limits::Limits;
use measure::{Function, Instructions};
use world::{Asks, World};

const ALL: [&str; 6] = ["hello", "naive", "get-flow", "create-flow", "start-flow", "list-flows"];
/// Counted so often, one function after the other; the median is what counts.
const COUNTS: usize = 3;
/// Requests to one sandbox whose memory may grow.
const REQUESTS: usize = 100_000;
/// What memory is compared after.
const FEW_REQUESTS: usize = 1000;
/// Flows in the lists that a page is taken of.
const LISTS: [usize; 3] = [100, 10_000, 100_000];
/// Flows in the list of which all rows are read.
const WHOLE: usize = 10_000;
/// A page in the default order.
const PAGE: &str = "page[size]=20&page[after]=";
/// Flows on it.
const PAGE_SIZE: u64 = 20;
/// What reads all rows. The search finds nothing, and so looks everywhere.
const WHOLE_QUERIES: [&str; 2] = ["page[size]=20&page[number]=500", "page[size]=20&search=nowhere"];
/// Flows in the list that list-flows is measured with.
const LISTED: usize = 60;

/// Measures the built functions.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Command,
}

/// Where everything is.
#[derive(Args)]
struct Places {
    /// The checkout
    #[arg(long)]
    root: PathBuf,
    /// The local server's binary
    #[arg(long)]
    server: PathBuf,
    /// The folder with the built functions
    #[arg(long)]
    functions: PathBuf,
    /// The folder with H's and D's binaries
    #[arg(long)]
    baselines: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Measure; write tests/bench/figures.json and docs/performance.md
    Measure {
        /// Only this, and leave the other figures as they are
        #[arg(long, value_enum)]
        only: Vec<Part>,
        /// Only the growth of this function
        #[arg(long)]
        function: Option<String>,
    },
    /// Fail when a function executes more instructions than tests/bench/figures.json says
    Check,
    /// Compare instructions with those that lambda-bench counts
    Agree {
        /// Its script `instructions`
        script: PathBuf,
    },
    /// Measure a variant of a function; write it into tests/bench/levers.json
    Lever(levers::Lever),
    /// Count a warm request's instructions by crate; write them into tests/bench/profiles.json
    Profile(profile::Profile),
    /// Measure what requests cost; write tests/bench/costs.json and docs/cost.md
    Cost,
    /// Measure functions with the processor of each size of memory; write tests/bench/throttle.json and docs/cost.md
    Throttle,
    /// Load the local server for some minutes; write tests/bench/load.json and docs/performance.md
    Load,
    /// Write the pages again
    Pages,
    /// Compress a document, to be counted by `measure --only compression`
    #[command(hide = true)]
    Compress(compression::Compress),
    /// Read a document and write it again, to be counted by `measure --only documents`
    #[command(hide = true)]
    PassOn(documents::PassOn),
}

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    Instructions,
    /// System calls, files and size
    Start,
    Wall,
    Memory,
    /// Of memory over many requests
    Growth,
    /// Calls and capacity units
    Cost,
    Lists,
    Limits,
    Compression,
    /// Ways to read a document
    Documents,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let Arguments { places, command } = Arguments::parse();
    let places = &places;
    let quiet = async || World::quiet(&places.root, &places.server).await;
    // Of these the stream is followed.
    let followed = async || World::start(&places.root, &places.server).await;
    match command {
        Command::Measure { only, function } => {
            measure(places, &quiet().await?, &only, function.as_deref()).await
        }
        Command::Check => check(places, &quiet().await?).await,
        Command::Agree { script } => agree::run(places, &quiet().await?, &script).await,
        Command::Lever(lever) => lever.measure(places, &quiet().await?).await,
        Command::Profile(profile) => profile.measure(places, &quiet().await?).await,
        Command::Cost => money::cost(places, &followed().await?).await,
        Command::Throttle => money::throttle(places, &followed().await?).await,
        Command::Load => money::load(places).await,
        Command::Pages => money::write_pages(places),
        Command::Compress(compress) => compress.run(&places.root),
        Command::PassOn(document) => document.run(),
    }
}

impl Places {
    /// A function, H or D, which is asked for a flow of anna's, or for a list.
    fn function(&self, name: &str, id: &str) -> Function {
        let binary = match name {
            "hello" => self.baselines.join("function/hello"),
            "naive" => self.baselines.join("release/naive"),
            name => cost::binary(&self.functions, name),
        };
        let asks = if name == "list-flows" {
            Asks { user: "lisa".into(), tenant: "lists".into(), id: id.into(), query: PAGE.into() }
        } else {
            Asks { user: "anna".into(), tenant: "acme".into(), id: id.into(), query: String::new() }
        };
        Function { name: name.into(), binary, asks, settings: Vec::new() }
    }

    fn figures(&self) -> PathBuf {
        self.root.join("tests/bench/figures.json")
    }

    fn read(&self) -> Result<Figures, Error> {
        Ok(serde_json::from_slice(&std::fs::read(self.figures())?)?)
    }

    /// The figures, and the page that says them.
    fn write(&self, figures: &Figures) -> Result<(), Error> {
        std::fs::write(self.figures(), serde_json::to_string_pretty(figures)? + "\n")?;
        page::write(&self.root, figures)
    }

    /// The folder for what callgrind writes.
    fn profiles(&self) -> Result<PathBuf, Error> {
        let folder = self.baselines.join("profiles");
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

async fn measure(places: &Places, world: &World, only: &[Part], function: Option<&str>) -> Result<(), Error> {
    let mut figures = if only.is_empty() { Figures::default() } else { places.read().unwrap_or_default() };
    let wants = |part| only.is_empty() || only.contains(&part);
    let profiles = places.profiles()?;
    let functions = prepare(places, world, &ALL).await?;
    figures.architecture = std::env::consts::ARCH.into();
    if wants(Part::Instructions) {
        instructions(&mut figures, world, &functions, COUNTS, &profiles).await?;
        figures.second_client = second_client(places, world).await?;
    }
    for function in &functions {
        let row = figures.rows.entry(function.name.clone()).or_default();
        if wants(Part::Start) {
            row.start = function.start(world).await?;
            row.zip = function.zip()?;
        }
        if wants(Part::Cost) && function.name != "hello" {
            row.cost = Some(function.cost(world).await?);
        }
    }
    if wants(Part::Compression) {
        figures.compression = compression::measure(&places.root, world).await?;
    }
    if wants(Part::Documents) {
        figures.documents = documents::measure(&places.root, world).await?;
    }
    if wants(Part::Wall) {
        eprintln!("wall time");
        world.provide_inactive(measure::ROUNDS * (1 + measure::TIMED)).await?;
        for (name, wall) in measure::wall(world, &functions).await? {
            figures.rows.entry(name).or_default().wall = wall;
        }
    }
    if wants(Part::Lists) {
        lists(&mut figures, places, world).await?;
    }
    if wants(Part::Limits) {
        eprintln!("limits");
        figures.limits = Some(Limits::measure(places, world).await?);
    }
    if wants(Part::Memory) {
        eprintln!("memory");
        for (name, memory) in measure::memory(world, &functions).await? {
            figures.rows.entry(name).or_default().memory = memory;
        }
    }
    // Takes longest: what there is has been written by then.
    places.write(&figures)?;
    if wants(Part::Growth) {
        let own = functions.iter().filter(|of| !["hello", "naive"].contains(&of.name.as_str()));
        for function in own.filter(|of| function.is_none_or(|name| name == of.name)) {
            if function.name == "start-flow" {
                world.provide_inactive(REQUESTS).await?;
            }
            eprintln!("growth of memory: {}", function.name);
            figures.rows.entry(function.name.clone()).or_default().long_run =
                function.run(world, &[], REQUESTS).await?.peaks;
            places.write(&figures)?;
        }
    }
    Ok(())
}

/// The functions, and what they are asked for.
async fn prepare(places: &Places, world: &World, names: &[&str]) -> Result<Vec<Function>, Error> {
    let id = world.fill(1, "anna", "acme").await?.pop().ok_or("no flow")?;
    world.fill(LISTED, "lisa", "lists").await?;
    // For instructions, cost and what else takes a few.
    world.provide_inactive((COUNTS + 1) * 2 * (1 + measure::WARM)).await?;
    Ok(names.iter().map(|name| places.function(name, &id)).collect())
}

async fn instructions(
    figures: &mut Figures,
    world: &World,
    functions: &[Function],
    counts: usize,
    profiles: &Path,
) -> Result<(), Error> {
    let mut rounds = vec![Vec::new(); functions.len()];
    for _ in 0..counts {
        for (function, rounds) in functions.iter().zip(&mut rounds) {
            // Its many threads take turns as they like: no two counts are the same.
            let times = if function.name == "naive" { COUNTS } else { 1 };
            for _ in 0..times {
                let counted = function.instructions(world, profiles).await?;
                eprintln!("{}: {counted:?}", function.name);
                rounds.push(counted);
            }
        }
    }
    for (function, rounds) in functions.iter().zip(&rounds) {
        figures.rows.entry(function.name.clone()).or_default().instructions = Instructions::median(rounds);
    }
    Ok(())
}

/// Of init without the warm-up call: what get-secret has more than get-flow is a client of Secrets Manager.
async fn second_client(places: &Places, world: &World) -> Result<u64, Error> {
    let mut inits = Vec::new();
    for name in ["get-flow", "get-secret"] {
        let mut function = places.function(name, "").without_warm_up();
        function.settings.push(("SECRETS_PREFIX".into(), "flow-repository/secrets/".into()));
        inits.push(function.executed(world, &places.profiles()?, "init-alone", 0).await?);
    }
    let [without, with] = inits[..] else { return Err("no counts".into()) };
    Ok(with.saturating_sub(without))
}

async fn lists(figures: &mut Figures, places: &Places, world: &World) -> Result<(), Error> {
    figures.lists.clear();
    figures.whole.clear();
    for count in LISTS {
        eprintln!("a list of {count} flows");
        let (user, tenant) = (format!("user-of-{count}"), format!("tenant-of-{count}"));
        world.fill(count, &user, &tenant).await?;
        let mut function = places.function("list-flows", "");
        function.asks = Asks { user, tenant, ..function.asks };
        figures.lists.insert(count, function.cost(world).await?);
        if count == WHOLE {
            for query in WHOLE_QUERIES {
                query.clone_into(&mut function.asks.query);
                figures.whole.insert(query.into(), function.timed(world).await?);
            }
        }
    }
    Ok(())
}

/// What seems to have risen is counted again, because a single count may be off.
async fn check(places: &Places, world: &World) -> Result<(), Error> {
    let before = places.read()?;
    if before.architecture != std::env::consts::ARCH {
        println!(
            "NOT CHECKED: the figures are of {}, and this is {}",
            before.architecture,
            std::env::consts::ARCH
        );
        return Ok(());
    }
    // D's many threads take turns as they like.
    let functions =
        prepare(places, world, &["hello", "get-flow", "list-flows", "create-flow", "start-flow"]).await?;
    let mut figures = Figures::default();
    for counts in [1, COUNTS] {
        instructions(&mut figures, world, &functions, counts, &places.profiles()?).await?;
        let risen = figures.risen(&before)?;
        if risen.is_empty() {
            return Ok(());
        }
        eprint!("{risen}");
    }
    Err("instructions have risen; if that must be, tests/bench/run writes what is compared with".into())
}
