//! What it takes to pass a document on: as a tree of values, and with its parts as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::Error;
use crate::measure::once_more;
use crate::world::World;

/// Instructions by name of the way.
pub(crate) type Documents = BTreeMap<String, u64>;

/// Reads a document and writes it again; what is executed is counted.
#[derive(Args)]
pub(crate) struct PassOn {
    /// The document
    file: PathBuf,
    /// Which way
    way: Way,
    #[arg(long)]
    times: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// Every value owned, and written again
    Tree,
    /// Every value owned
    ReadTree,
    /// The names borrowed, the parts as they are, and written again
    Raw,
    /// The names borrowed, the parts as they are
    ReadRaw,
}

impl Way {
    fn label(self) -> &'static str {
        match self {
            Self::Tree => "a tree of values, written again",
            Self::ReadTree => "a tree of values",
            Self::Raw => "borrowed names and raw parts, written again",
            Self::ReadRaw => "borrowed names and raw parts",
        }
    }
}

impl PassOn {
    pub(crate) fn run(&self) -> Result<(), Error> {
        type Raw<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

        let json = std::fs::read(&self.file)?;
        for _ in 0..self.times {
            match self.way {
                Way::Tree => drop(black_box(serde_json::to_vec(&serde_json::from_slice::<Value>(&json)?)?)),
                Way::ReadTree => drop(black_box(serde_json::from_slice::<Value>(&json)?)),
                Way::Raw => drop(black_box(serde_json::to_vec(&serde_json::from_slice::<Raw>(&json)?)?)),
                Way::ReadRaw => drop(black_box(serde_json::from_slice::<Raw>(&json)?)),
            }
        }
        Ok(())
    }
}

/// Of the usual flow.
pub(crate) async fn measure(root: &Path, world: &World) -> Result<Documents, Error> {
    let file = world.folder.path().join("flow.json");
    std::fs::write(&file, world.flow.to_string())?;
    let mut documents = Documents::new();
    for way in Way::value_variants() {
        let name = way.to_possible_value().ok_or("no name")?;
        let command = ["pass-on".into(), file.clone().into(), name.get_name().into()];
        documents.insert(way.label().into(), once_more(root, world, &command).await?);
    }
    Ok(documents)
}
