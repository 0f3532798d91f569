//! The commands about dollars and load, and the pages they write.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::charts;
use crate::cost::{Bench, Costs};
use crate::cost_page::Book;
use crate::http::Error;
use crate::load::{self, Load};
use crate::prices::{Prices, Stack};
use crate::scenes::Scenes;
use crate::throttle::Throttle;
use crate::world::World;
use crate::{Places, page};

const COSTS: &str = "costs.json";
const THROTTLE: &str = "throttle.json";
const LOAD: &str = "load.json";

/// Measures what requests cost.
pub(crate) async fn cost(places: &Places, world: &World) -> Result<(), Error> {
    let (prices, stack) = (Prices::read(&places.root)?, Stack::read(&places.root)?);
    let costs = bench(places, world, &prices, &stack).await?.costs().await?;
    write(&places.root, COSTS, &costs)?;
    write_cost(&places.root)
}

/// Measures sizes of memory.
pub(crate) async fn throttle(places: &Places, world: &World) -> Result<(), Error> {
    let (prices, stack) = (Prices::read(&places.root)?, Stack::read(&places.root)?);
    let throttle = bench(places, world, &prices, &stack).await?.throttle().await?;
    write(&places.root, THROTTLE, &throttle)?;
    write_cost(&places.root)
}

/// Loads the local server.
pub(crate) async fn load(places: &Places) -> Result<(), Error> {
    let load = load::run(&places.root, &places.server).await?;
    write(&places.root, LOAD, &load)?;
    page::write(&places.root, &places.read()?)?;
    load.check()
}

/// docs/cost.md
pub(crate) fn write_cost(root: &Path) -> Result<(), Error> {
    let (prices, stack) = (Prices::read(root)?, Stack::read(root)?);
    let costs: Costs = read(root, COSTS)?;
    let throttle: Option<Throttle> = read(root, THROTTLE).ok();
    let book = Book { prices: &prices, stack: &stack, costs: &costs };
    let mut memory = String::new();
    if let Some(throttle) = throttle {
        memory = throttle.section(&prices, &stack)?;
        charts::write_memory_sizes(&root.join("docs/cost"), &throttle.curves(&prices)?)?;
    }
    Ok(std::fs::write(root.join("docs/cost.md"), book.page(&memory)?)?)
}

/// All pages, from what was measured before.
pub(crate) fn write_pages(places: &Places) -> Result<(), Error> {
    write_cost(&places.root)?;
    page::write(&places.root, &places.read()?)
}

/// The section of docs/performance.md about load; none before it was measured.
pub(crate) fn load_section(root: &Path) -> String {
    read::<Load>(root, LOAD).map(|load| load.section()).unwrap_or_default()
}

async fn bench<'a>(
    places: &'a Places,
    world: &'a World,
    prices: &'a Prices,
    stack: &'a Stack,
) -> Result<Bench<'a>, Error> {
    let scenes = Scenes::prepare(world).await?;
    let hello = places.baselines.join("function/hello");
    Ok(Bench { world, scenes, functions: &places.functions, hello, prices, stack })
}

fn read<T: DeserializeOwned>(root: &Path, name: &str) -> Result<T, Error> {
    let file = root.join("tests/bench").join(name);
    let text = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

fn write(root: &Path, name: &str, what: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(what)? + "\n";
    Ok(std::fs::write(root.join("tests/bench").join(name), text)?)
}
