//! What it takes to pass a document on: as a tree of values, and as its members, unread.

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
    /// Every value, and written again
    Tree,
    /// Every value
    ReadTree,
    /// The members, whose values are borrowed as they are, and written again
    Members,
    /// The members, whose values are borrowed as they are
    ReadMembers,
}

impl Way {
    fn label(self) -> &'static str {
        match self {
            Self::Tree => "a tree of values, written again",
            Self::ReadTree => "a tree of values",
            Self::Members => "its members, unread, written again",
            Self::ReadMembers => "its members, unread",
        }
    }
}

impl PassOn {
    pub(crate) fn run(&self) -> Result<(), Error> {
        // As `Fields` of shared/src/flow/parse.rs.
        type Members<'a> = BTreeMap<String, &'a RawValue>;

        let json = std::fs::read(&self.file)?;
        let tree = || serde_json::from_slice::<Value>(&json);
        let members = || serde_json::from_slice::<Members>(&json);
        for _ in 0..self.times {
            match self.way {
                Way::Tree => drop(black_box(serde_json::to_vec(&tree()?)?)),
                Way::ReadTree => drop(black_box(tree()?)),
                Way::Members => drop(black_box(serde_json::to_vec(&members()?)?)),
                Way::ReadMembers => drop(black_box(members()?)),
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
