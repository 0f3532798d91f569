//! What was measured.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::compression::Compression;
use crate::documents::Documents;
use crate::dynamodb::Cost;
use crate::http::Error;
use crate::lambda::Progress;
use crate::limits::Limits;
use crate::measure::{Instructions, Memory, Start, Wall, warm};

/// Instructions repeat to about half a percent; more than this is a change.
const TOLERANCE: f64 = 1.03;

/// All that is measured.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    /// Whose instructions are counted.
    pub(crate) architecture: String,
    pub(crate) rows: BTreeMap<String, Row>,
    /// What a page costs of lists of so many flows.
    pub(crate) lists: BTreeMap<usize, Cost>,
    /// What reads all rows of a list.
    pub(crate) whole: BTreeMap<String, Timed>,
    pub(crate) limits: Option<Limits>,
    pub(crate) compression: Compression,
    pub(crate) documents: Documents,
    /// Instructions of init for one more client of the SDK.
    pub(crate) second_client: u64,
}

/// What is measured of one function.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Row {
    pub(crate) instructions: Instructions,
    pub(crate) start: Start,
    pub(crate) zip: usize,
    pub(crate) memory: Memory,
    /// The most memory in KB of one sandbox that answers many, by the number of requests answered.
    pub(crate) long_run: BTreeMap<usize, u64>,
    pub(crate) cost: Option<Cost>,
    pub(crate) wall: Wall,
}

/// What a request costs, and how long it takes on this machine.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Timed {
    pub(crate) cost: Cost,
    pub(crate) millis: f64,
    /// The most memory of the sandbox, in KB.
    #[serde(default)]
    pub(crate) peak: u64,
}

impl Timed {
    /// Of a function that has answered some requests.
    pub(crate) fn of(cost: Cost, run: &Progress) -> Self {
        let peak = run.peaks.values().copied().max().unwrap_or_default();
        Self { cost, millis: 1000.0 * warm(run).as_secs_f64(), peak }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a few billion at most")]
pub(crate) fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

impl Figures {
    /// What functions execute more of than they did.
    pub(crate) fn risen(&self, before: &Self) -> Result<String, Error> {
        let mut risen = String::new();
        for (name, now) in &self.rows {
            let Some(then) = before.rows.get(name) else { continue };
            let phases = now.instructions.phases().into_iter().zip(then.instructions.phases());
            for ((phase, now), (_, then)) in
                phases.filter(|((_, now), (_, then))| ratio(*now, *then) > TOLERANCE)
            {
                writeln!(risen, "{name}: {phase} executes {now} instructions instead of {then}")?;
            }
        }
        Ok(risen)
    }
}
