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

use clap::Parser;
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
    /// Only compare instructions with tests/bench/figures.json, and fail when they have risen
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let world = World::start(&arguments.root, &arguments.server).await?;
    let profiles = arguments.baselines.join("profiles");
    std::fs::create_dir_all(&profiles)?;
    let id = world.create(1, "anna", "acme").await?.pop().ok_or("no flow")?;
    let mut figures = Figures::default();
    for (name, folder) in [
        ("hello", None),
        ("naive", None),
        ("get-flow", Some("GetFlow")),
        ("list-flows", Some("ListFlows")),
        ("create-flow", Some("CreateFlow")),
        ("start-flow", Some("StartFlow")),
    ] {
        let binary = match (name, folder) {
            (_, Some(folder)) => arguments.functions.join(folder).join("bootstrap"),
            ("hello", None) => arguments.baselines.join("function/hello"),
            _ => arguments.baselines.join("release/naive"),
        };
        let query = if name == "list-flows" { PAGE.to_owned() } else { String::new() };
        let asks = Asks { user: "anna".into(), tenant: "acme".into(), id: id.clone(), query };
        let function = Function { name: name.into(), binary, asks };
        if name == "start-flow" {
            world.provide_inactive(REQUESTS + 3 * (1 + measure::WARM)).await?;
        }
        let mut row = Row { instructions: function.instructions(&world, &profiles).await?, ..Row::default() };
        if !arguments.check {
            row.start = function.start(&world).await?;
            row.zip = function.zip()?;
            row.peak_kb = function.memory(&world, REQUESTS).await?.remove(&REQUESTS).unwrap_or_default();
            row.cost = if name == "hello" { None } else { Some(function.cost(&world).await?) };
        }
        eprintln!("{name}: {:?}", row.instructions);
        figures.rows.insert(name.into(), row);
    }
    let file = arguments.root.join("tests/bench/figures.json");
    if arguments.check {
        return figures.check(&serde_json::from_slice(&std::fs::read(file)?)?);
    }
    for count in LISTS {
        let (user, tenant) = (format!("user-of-{count}"), format!("tenant-of-{count}"));
        world.fill(count, &user, &tenant).await?;
        let asks = Asks { user, tenant, id: id.clone(), query: PAGE.into() };
        let binary = arguments.functions.join("ListFlows/bootstrap");
        let function = Function { name: "list-flows".into(), binary, asks };
        figures.lists.insert(count, function.cost(&world).await?);
    }
    std::fs::write(file, serde_json::to_string_pretty(&figures)? + "\n")?;
    Ok(std::fs::write(arguments.root.join("docs/performance.md"), figures.page())?)
}
