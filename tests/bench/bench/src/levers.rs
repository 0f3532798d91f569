//! What each setting of the build and the environment does, one at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::http::Error;
use crate::measure::{self, Instructions};
use crate::world::World;
use crate::{COUNTS, FEW_REQUESTS, Places, prepare};

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
    /// What else its environment has, such as `AWS_CA_BUNDLE={SSL_CERT_FILE}`: in braces, what that says otherwise
    #[arg(long = "set", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("is not NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

/// What a variant takes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Variant {
    pub(crate) instructions: Instructions,
    pub(crate) zip: usize,
    /// The most memory in KB of a few requests.
    pub(crate) peak: u64,
}

impl Lever {
    pub(crate) async fn measure(self, places: &Places, world: &World) -> Result<(), Error> {
        let mut functions = prepare(places, world, &[&self.function]).await?;
        let mut function = functions.pop().ok_or("no function")?;
        function.binary = self.binary;
        for (name, mut value) in self.settings {
            for (other, says) in &world.environment {
                value = value.replace(&format!("{{{other}}}"), says);
            }
            function.settings.push((name, value));
        }
        let mut rounds = Vec::new();
        for _ in 0..COUNTS {
            rounds.push(function.instructions(world, &places.profiles()?).await?);
        }
        let memory = measure::memory(world, std::slice::from_ref(&function)).await?;
        let peak = memory.values().find_map(|memory| memory.peaks.get(&FEW_REQUESTS));
        let variant = Variant {
            instructions: Instructions::median(&rounds),
            zip: function.zip()?,
            peak: *peak.ok_or("no peak")?,
        };
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
