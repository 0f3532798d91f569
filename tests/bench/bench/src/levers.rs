//! What each setting of the build and the environment does, one at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::http::Error;
use crate::measure::Instructions;
use crate::world::World;
use crate::{COUNTS, Places, prepare};

const FILE: &str = "tests/bench/levers.json";

/// By function and name of the variant.
pub(crate) type Levers = BTreeMap<String, BTreeMap<String, Variant>>;

/// A variant of a function.
#[derive(Args)]
pub(crate) struct Lever {
    /// Which function
    #[arg(long)]
    function: String,
    /// What is different
    #[arg(long)]
    name: String,
    /// Its binary
    #[arg(long)]
    binary: PathBuf,
    /// Do not connect before the first request
    #[arg(long)]
    no_warm_up: bool,
    /// Trust as many roots as Lambda's own bundle has
    #[arg(long)]
    all_roots: bool,
}

/// What a variant takes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Variant {
    pub(crate) instructions: Instructions,
    pub(crate) zip: usize,
}

impl Lever {
    pub(crate) async fn measure(self, places: &Places, world: &World) -> Result<(), Error> {
        let mut functions = prepare(places, world, &[&self.function]).await?;
        let mut function = functions.pop().ok_or("no function")?;
        function.binary = self.binary;
        if self.no_warm_up {
            function = function.without_warm_up();
        }
        if self.all_roots {
            let all = world.environment.iter().find(|(name, _)| name == "SSL_CERT_FILE").ok_or("no roots")?;
            function.settings.push(("AWS_CA_BUNDLE".into(), all.1.clone()));
        }
        let mut rounds = Vec::new();
        for _ in 0..COUNTS {
            rounds.push(function.instructions(world, &places.profiles()?).await?);
        }
        let variant = Variant { instructions: Instructions::median(&rounds), zip: function.zip()? };
        let mut levers = read(&places.root)?;
        levers.entry(self.function).or_default().insert(self.name, variant);
        Ok(std::fs::write(places.root.join(FILE), serde_json::to_string_pretty(&levers)? + "\n")?)
    }
}

/// None when none have been measured.
pub(crate) fn read(root: &Path) -> Result<Levers, Error> {
    let file = root.join(FILE);
    if !file.exists() {
        return Ok(Levers::new());
    }
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}
