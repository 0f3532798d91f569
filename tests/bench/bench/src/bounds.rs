//! What figures cannot be better than, with what functions have to do.

use crate::FEW_REQUESTS;
use crate::figures::{Figures, Row, ratio};
use crate::profile::Profiles;

/// Crates that read documents out of the SDK's answers, and write them into the runtime's.
const PASSING_ON: [&str; 2] = ["aws_smithy_json", "serde_json"];

/// The instructions that a warm request takes at least, part by part. Nothing is counted for what is
/// validated, hashed, logged, sorted, or copied.
pub(crate) struct Least {
    /// All that D does.
    naive: u64,
    /// The signature of a token.
    pub(crate) verification: u64,
    /// Calls of the SDK.
    pub(crate) calls: u32,
    /// Of them those that D does not make.
    pub(crate) further_calls: u64,
    /// Documents packed and unpacked.
    pub(crate) compression: u64,
    /// What SDK and runtime take for documents beyond the first.
    pub(crate) passing_on: u64,
}

impl Least {
    pub(crate) fn of(function: &str, figures: &Figures, profiles: &Profiles) -> Option<Self> {
        let warm = |name: &str| Some(figures.rows.get(name)?.instructions.warm);
        let naive = warm("naive")?;
        let profile = profiles.get(function)?;
        let calls = figures.rows.get(function)?.cost.as_ref()?.calls.values().sum::<u32>();
        let compressed = figures.compression.get("dictionary")?;
        let compression = match function {
            "create-flow" => compressed.pack,
            "list-flows" => compressed.unpack * crate::PAGE_SIZE,
            _ => compressed.unpack,
        };
        let passing_on = if function == "list-flows" {
            let of = |function: &str, name: &str| profiles.get(function)?.crates.get(name).copied();
            let more = |name: &&str| Some(of(function, name)?.saturating_sub(of("get-flow", name)?));
            PASSING_ON.iter().filter_map(more).sum()
        } else {
            0
        };
        let further_calls = u64::from(calls.saturating_sub(1)) * naive.saturating_sub(warm("hello")?);
        Some(Self {
            naive,
            verification: profile.verification,
            calls,
            further_calls,
            compression,
            passing_on,
        })
    }

    pub(crate) fn sum(&self) -> u64 {
        self.naive + self.verification + self.further_calls + self.compression + self.passing_on
    }
}

/// Of D's.
pub(crate) fn warm(function: &str, figures: &Figures, profiles: &Profiles) -> Option<f64> {
    let least = Least::of(function, figures, profiles)?;
    Some(ratio(least.sum(), least.naive))
}

/// How many times fewer than D's, with init as it is.
pub(crate) fn until_first(function: &str, figures: &Figures, profiles: &Profiles) -> Option<f64> {
    let row = |name: &str| figures.rows.get(name).map(|row: &Row| row.instructions);
    let least = row(function)?.init + Least::of(function, figures, profiles)?.sum();
    Some(ratio(row("naive")?.until_first(), least))
}

/// Without all that connecting takes but AWS-LC's getting ready and the lookup of the name.
pub(crate) fn system_calls(function: &str, figures: &Figures, _: &Profiles) -> Option<f64> {
    let start = &figures.rows.get(function)?.start;
    let ready = start.by_name.get("futex").copied().unwrap_or_default();
    Some(ratio((start.syscalls_alone + ready + start.elsewhere) as u64, 1))
}

/// With what is mapped, and no more of its own than get-flow has, which asks the SDK for one item; and of a page all
/// documents twice, in the answer and in what the runtime sends.
pub(crate) fn memory(function: &str, figures: &Figures, _: &Profiles) -> Option<f64> {
    let row = |name: &str| figures.rows.get(name);
    let peak = |name: &str| row(name)?.memory.peaks.get(&FEW_REQUESTS).copied();
    let own = |name: &str| row(name).map(|row| row.memory.anonymous);
    let least = peak(function)?.saturating_sub(own(function)?) + own("get-flow")?;
    let documents = if function == "list-flows" { 2 * crate::PAGE_SIZE } else { 0 };
    let least = least + documents * figures.compression.get("none")?.document as u64 / 1024;
    Some(ratio(least, peak("hello")?))
}
