//! Measures the built functions against a hello world (H) and a naive function (D), and writes
//! `docs/performance.md`. `tests/bench/run` builds what this needs.

mod dynamodb;
mod http;
mod lambda;
mod measure;
mod page;
mod units;
mod world;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use http::Error;
use measure::Function;
use page::{Figures, Row};
use world::{Asks, World};

/// Requests before memory is looked at.
const REQUESTS: usize = 1000;
/// Flows in the lists that a page is taken of.
const LISTS: [usize; 2] = [100, 1000];
/// A page in the default order.
const PAGE: &str = "page[size]=20&page[after]=";

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
    /// Measure everything; write tests/bench/figures.json and docs/performance.md
    Measure,
    /// Fail when a function executes more instructions than tests/bench/figures.json says
    Check,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let Arguments { places, command } = Arguments::parse();
    let world = World::start(&places.root, &places.server).await?;
    match command {
        Command::Measure => measure(&places, &world).await,
        Command::Check => check(&places, &world).await,
    }
}

impl Places {
    /// A function, H or D, which is asked for a flow of anna's.
    fn function(&self, name: &str, id: &str) -> Function {
        let binary = match name {
            "hello" => self.baselines.join("function/hello"),
            "naive" => self.baselines.join("release/naive"),
            "get-flow" => self.functions.join("GetFlow/bootstrap"),
            "list-flows" => self.functions.join("ListFlows/bootstrap"),
            "create-flow" => self.functions.join("CreateFlow/bootstrap"),
            _ => self.functions.join("StartFlow/bootstrap"),
        };
        let query = if name == "list-flows" { PAGE.to_owned() } else { String::new() };
        let asks = Asks { user: "anna".into(), tenant: "acme".into(), id: id.into(), query };
        Function { name: name.into(), binary, asks }
    }

    fn figures(&self) -> PathBuf {
        self.root.join("tests/bench/figures.json")
    }

    /// The folder for what callgrind writes.
    fn profiles(&self) -> Result<PathBuf, Error> {
        let folder = self.baselines.join("profiles");
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

async fn measure(places: &Places, world: &World) -> Result<(), Error> {
    let id = world.create(1, "anna", "acme").await?.pop().ok_or("no flow")?;
    world.provide_inactive(REQUESTS + 3 * (1 + measure::WARM)).await?;
    let profiles = places.profiles()?;
    let mut figures = Figures::default();
    for name in ["hello", "naive", "get-flow", "list-flows", "create-flow", "start-flow"] {
        let function = places.function(name, &id);
        let row = Row {
            instructions: function.instructions(world, &profiles).await?,
            start: function.start(world).await?,
            zip: function.zip()?,
            peak_kb: function.memory(world, REQUESTS).await?.remove(&REQUESTS).unwrap_or_default(),
            cost: if name == "hello" { None } else { Some(function.cost(world).await?) },
        };
        eprintln!("{name}: {:?}", row.instructions);
        figures.rows.insert(name.into(), row);
    }
    for count in LISTS {
        let (user, tenant) = (format!("user-of-{count}"), format!("tenant-of-{count}"));
        world.fill(count, &user, &tenant).await?;
        let mut function = places.function("list-flows", &id);
        function.asks.user = user;
        function.asks.tenant = tenant;
        figures.lists.insert(count, function.cost(world).await?);
    }
    std::fs::write(places.figures(), serde_json::to_string_pretty(&figures)? + "\n")?;
    Ok(std::fs::write(places.root.join("docs/performance.md"), figures.page())?)
}

async fn check(places: &Places, world: &World) -> Result<(), Error> {
    let id = world.create(1, "anna", "acme").await?.pop().ok_or("no flow")?;
    world.provide_inactive(3 * (1 + measure::WARM)).await?;
    let profiles = places.profiles()?;
    let mut figures = Figures::default();
    for name in ["hello", "get-flow", "list-flows", "create-flow", "start-flow"] {
        let instructions = places.function(name, &id).instructions(world, &profiles).await?;
        eprintln!("{name}: {instructions:?}");
        figures.rows.insert(name.into(), Row { instructions, ..Row::default() });
    }
    figures.check(&serde_json::from_slice(&std::fs::read(places.figures())?)?)
}
