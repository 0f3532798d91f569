//! One measurement after the other of one function.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use crate::dynamodb::Cost;
use crate::http::Error;
use crate::lambda::{self, Progress};
use crate::world::{Asks, World};

/// Warm requests under callgrind; more than one, because no two are quite the same.
pub(crate) const WARM: usize = 20;
/// What a zip file has beside the compressed data: headers and the name `bootstrap`, twice.
const ZIP_FRAME: usize = 30 + 46 + 22 + 2 * 9;

/// A binary, and what it is asked.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
    pub(crate) asks: Asks,
}

/// Instructions of a sandbox's life.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) init: u64,
    pub(crate) first: u64,
    pub(crate) warm: u64,
}

/// What happens before the first event is asked for.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) syscalls: usize,
    pub(crate) files: usize,
}

impl Instructions {
    /// Until the first request is answered.
    pub(crate) fn until_first(&self) -> u64 {
        self.init + self.first
    }
}

impl Function {
    async fn run(&self, world: &World, tool: &[OsString], wanted: usize) -> Result<Progress, Error> {
        let line: Vec<OsString> = tool.iter().cloned().chain([self.binary.clone().into()]).collect();
        let events = world.events(&self.name, &self.asks)?;
        lambda::run(&line, &world.environment, events, wanted).await
    }

    /// By callgrind, which repeats to about half a percent.
    pub(crate) async fn instructions(&self, world: &World, profiles: &Path) -> Result<Instructions, Error> {
        let mut counts = Vec::new();
        for (wanted, phase) in [(0, "init"), (1, "first"), (1 + WARM, "warm")] {
            let file = profiles.join(format!("{}-{phase}.callgrind", self.name));
            let mut out = OsString::from("--callgrind-out-file=");
            out.push(&file);
            self.run(world, &["valgrind".into(), "--tool=callgrind".into(), out], wanted).await?;
            let profile = std::fs::read_to_string(&file)?;
            let total = profile
                .lines()
                .find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
            counts.push(total.ok_or("callgrind wrote no total")?.trim().parse::<u64>()?);
        }
        let [init, one, many] = *counts.as_slice() else { return Err("three runs".into()) };
        Ok(Instructions {
            init,
            first: one.saturating_sub(init),
            warm: many.saturating_sub(one) / WARM as u64,
        })
    }

    /// By strace.
    pub(crate) async fn start(&self, world: &World) -> Result<Start, Error> {
        let file = world.folder.path().join("strace");
        self.run(world, &["strace".into(), "-f".into(), "-o".into(), file.clone().into()], 0).await?;
        let trace = std::fs::read_to_string(&file)?;
        let before = || {
            let calls =
                trace.lines().take_while(|line| !line.contains("GET /2018-06-01/runtime/invocation/next"));
            calls.filter(|line| line.contains('(') && !line.contains(" resumed>"))
        };
        let opened =
            |line: &&str| (line.contains("openat(") || line.contains("open(")) && !line.contains(" = -1");
        Ok(Start { syscalls: before().count(), files: before().filter(opened).count() })
    }

    /// The most memory in KB, after 1,000 requests and after `wanted`.
    pub(crate) async fn memory(&self, world: &World, wanted: usize) -> Result<BTreeMap<usize, u64>, Error> {
        Ok(self.run(world, &[], wanted).await?.peaks)
    }

    /// The size of a zip file of it, as SAM makes it: with zlib's usual level.
    pub(crate) fn zip(&self) -> Result<usize, Error> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&std::fs::read(&self.binary)?)?;
        Ok(encoder.finish()?.len() + ZIP_FRAME)
    }

    /// What one request costs in DynamoDB.
    pub(crate) async fn cost(&self, world: &World) -> Result<Cost, Error> {
        world.dynamodb.count();
        let run = self.run(world, &[], 1).await;
        let cost = world.dynamodb.counted();
        run.map(|_| cost)
    }
}
