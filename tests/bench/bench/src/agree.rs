//! Whether other code, which measures the same, comes to the same.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;
use tokio::process::Command;

use crate::figures::{Figures, ratio};
use crate::http::Error;
use crate::world::World;
use crate::{COUNTS, Places, instructions, prepare};

/// How far the two may be apart.
const TOLERANCE: f64 = 0.02;

/// What lambda-bench's script prints.
#[derive(Deserialize)]
struct Theirs {
    init: u64,
    first: u64,
    warm: u64,
}

/// Prints both figures of each function. Without start-flow: it is given one event again and again there.
pub(crate) async fn run(places: &Places, world: &World, script: &Path) -> Result<(), Error> {
    let functions = prepare(places, world, &["hello", "get-flow", "list-flows", "create-flow"]).await?;
    let mut ours = Figures::default();
    instructions(&mut ours, world, &functions, COUNTS, &places.profiles()?).await?;
    let mut apart = String::new();
    println!("| function | phase | tests/bench | lambda-bench | apart |\n|---|---|---|---|---|");
    for function in &functions {
        let event = world.folder.path().join("event.json");
        std::fs::write(&event, world.events(&function.name, &function.asks)?()?)?;
        let mut theirs = Vec::new();
        for _ in 0..COUNTS {
            let output = Command::new(script)
                .args([&event, &function.binary])
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .envs(world.environment.iter().map(|(name, value)| (name, value)))
                .output()
                .await?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into());
            }
            theirs.push(serde_json::from_slice::<Theirs>(&output.stdout)?);
        }
        let median = |phase: fn(&Theirs) -> u64| {
            let mut counts: Vec<_> = theirs.iter().map(phase).collect();
            counts.sort_unstable();
            counts.get(COUNTS / 2).copied().unwrap_or_default()
        };
        let Some(row) = ours.rows.get(&function.name) else { continue };
        for (phase, own, other) in [
            ("init", row.instructions.init, median(|i| i.init)),
            ("first", row.instructions.first, median(|i| i.first)),
            ("warm", row.instructions.warm, median(|i| i.warm)),
        ] {
            let difference = ratio(own, other) - 1.0;
            println!("| {} | {phase} | {own} | {other} | {:.1} % |", function.name, 100.0 * difference);
            if difference.abs() > TOLERANCE {
                writeln!(apart, "{}: {phase}: {own} and {other}", function.name)?;
            }
        }
    }
    if apart.is_empty() { Ok(()) } else { Err(apart.into()) }
}
