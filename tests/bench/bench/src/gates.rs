//! What figures must keep to.

use std::fmt::Write;

use crate::dynamodb::Cost;
use crate::figures::{Figures, Row, ratio};
use crate::profile::Profiles;
use crate::{LISTS, bounds};

const OWN: &[&str] = &["get-flow", "list-flows", "create-flow", "start-flow"];

/// A figure that functions must keep to, and the one to aim at.
struct Gate {
    what: &'static str,
    limit: f64,
    stretch: f64,
    functions: &'static [&'static str],
    measure: fn(&Figures, &Row) -> Option<f64>,
}

/// What a figure cannot be better than.
type Bound = fn(&str, &Figures, &Profiles) -> Option<f64>;

/// Of gates that are missed.
const BOUNDS: [(&str, Bound); 4] = [
    (UNTIL_FIRST, bounds::until_first),
    (WARM, bounds::warm),
    (SYSTEM_CALLS, bounds::system_calls),
    (MEMORY, bounds::memory),
];
const UNTIL_FIRST: &str = "instructions from exec to the first answer: times which they are fewer than D's";
const WARM: &str = "instructions of a warm request, of D's";
const SYSTEM_CALLS: &str = "system calls before the first event is asked for";
const MEMORY: &str = "peak memory after 1,000 requests, of H's";

/// A gate that functions miss.
pub(crate) struct Missed {
    pub(crate) what: &'static str,
    /// Each with what it cannot be better than, if that is known.
    pub(crate) functions: Vec<(&'static str, Option<f64>)>,
}

const GATES: [Gate; 18] = [
    Gate {
        what: UNTIL_FIRST,
        limit: 45.0,
        stretch: 80.0,
        functions: OWN,
        measure: |all, own| {
            Some(ratio(all.rows.get("naive")?.instructions.until_first(), own.instructions.until_first()))
        },
    },
    Gate {
        what: "instructions of the first request, of a warm one's",
        limit: 1.5,
        stretch: 1.1,
        functions: OWN,
        measure: |_, own| Some(ratio(own.instructions.first, own.instructions.warm)),
    },
    Gate {
        what: WARM,
        limit: 1.6,
        stretch: 1.0,
        functions: OWN,
        measure: |all, own| Some(ratio(own.instructions.warm, all.rows.get("naive")?.instructions.warm)),
    },
    Gate {
        what: "instructions of init without the warm-up call, of H's",
        limit: 5.0,
        stretch: 2.5,
        functions: OWN,
        measure: |all, own| {
            Some(ratio(own.instructions.init_alone, all.rows.get("hello")?.instructions.init))
        },
    },
    Gate {
        what: SYSTEM_CALLS,
        limit: 150.0,
        stretch: 80.0,
        functions: OWN,
        measure: |_, own| Some(ratio(own.start.syscalls as u64, 1)),
    },
    Gate {
        what: "zip, MB",
        limit: 3.2,
        stretch: 2.0,
        functions: OWN,
        measure: |_, own| Some(ratio(own.zip as u64, 1_000_000)),
    },
    Gate {
        what: MEMORY,
        limit: 3.0,
        stretch: 2.0,
        functions: OWN,
        measure: |all, own| {
            let peak = |row: &Row| row.memory.peaks.get(&1000).copied();
            Some(ratio(peak(own)?, peak(all.rows.get("hello")?)?))
        },
    },
    Gate {
        what: "growth of it from 1,000 to 100,000 requests, KB",
        limit: 256.0,
        stretch: 0.0,
        functions: OWN,
        measure: |_, own| {
            let peak = |count| own.long_run.get(count);
            Some(ratio(peak(&100_000)?.saturating_sub(*peak(&1000)?), 1))
        },
    },
    Gate { what: "calls of a read", limit: 1.0, stretch: 1.0, functions: &["get-flow"], measure: calls },
    Gate {
        what: "read units of a read",
        limit: 1.0,
        stretch: 0.5,
        functions: &["get-flow"],
        measure: |_, own| Some(own.cost.as_ref()?.read),
    },
    Gate {
        what: "calls of a creation",
        limit: 1.0,
        stretch: 1.0,
        functions: &["create-flow"],
        measure: calls,
    },
    Gate {
        what: "write units of a creation",
        limit: 8.0,
        stretch: 6.0,
        functions: &["create-flow"],
        measure: written,
    },
    Gate { what: "calls of a start", limit: 2.0, stretch: 1.0, functions: &["start-flow"], measure: calls },
    Gate {
        what: "write units of a start, with the index",
        limit: 7.0,
        stretch: 7.0,
        functions: &["start-flow"],
        measure: written,
    },
    Gate {
        what: "calls of a page at 10,000 and 100,000 flows, of those at 100",
        limit: 1.0,
        stretch: 1.0,
        functions: &["list-flows"],
        measure: |all, _| grown(all, |cost| f64::from(cost.calls.values().sum::<u32>())),
    },
    Gate {
        what: "read units of a page at 10,000 and 100,000 flows, of those at 100",
        limit: 1.0,
        stretch: 1.0,
        functions: &["list-flows"],
        measure: |all, _| grown(all, |cost| cost.read),
    },
    Gate {
        what: "`search` in 10,000 flows, seconds on this machine",
        limit: 1.0,
        stretch: 1.0,
        functions: &["list-flows"],
        measure: |all, _| whole(all, "search"),
    },
    Gate {
        what: "`page[number]` in 10,000 flows, seconds on this machine",
        limit: 1.0,
        stretch: 1.0,
        functions: &["list-flows"],
        measure: |all, _| whole(all, "page[number]"),
    },
];

fn calls(_: &Figures, own: &Row) -> Option<f64> {
    Some(f64::from(own.cost.as_ref()?.calls.values().sum::<u32>()))
}

fn written(_: &Figures, own: &Row) -> Option<f64> {
    own.cost.as_ref().map(|cost| cost.write + cost.index)
}

/// How many times as much the most expensive list takes as the shortest.
fn grown(figures: &Figures, of: fn(&Cost) -> f64) -> Option<f64> {
    let costs = LISTS.map(|count| figures.lists.get(&count).map(of));
    let [shortest, ..] = costs;
    Some(costs.into_iter().try_fold(0.0, |most, cost| Some(f64::max(most, cost?)))? / shortest?)
}

fn whole(figures: &Figures, query: &str) -> Option<f64> {
    figures.whole.iter().find(|(name, _)| name.contains(query)).map(|(_, timed)| timed.millis / 1000.0)
}

impl Gate {
    fn is_met(&self, figure: f64, limit: f64) -> bool {
        // Of some more is better.
        if self.limit < self.stretch { figure >= limit } else { figure <= limit }
    }
}

/// The table of gates, and those that are missed.
pub(crate) fn write(page: &mut String, figures: &Figures, profiles: &Profiles) -> Vec<Missed> {
    *page += "\n## Gates\n\nA figure keeps to its gate, reaches the figure to aim at (✓✓), or misses.\n\n\
              | figure | gate | aim | get-flow | list-flows | create-flow | start-flow |\n|---|---|---|---|---|---|---|\n";
    let mut results = Vec::new();
    for gate in &GATES {
        let _ = write!(page, "| {} | {} | {} |", gate.what, gate.limit, gate.stretch);
        let bound = BOUNDS.iter().find(|(what, _)| *what == gate.what).map(|(_, bound)| bound);
        let mut functions = Vec::new();
        for name in OWN {
            let row = figures.rows.get(*name).filter(|_| gate.functions.contains(name));
            let Some(figure) = row.and_then(|row| (gate.measure)(figures, row)) else {
                *page += if gate.functions.contains(name) { " not measured |" } else { " |" };
                continue;
            };
            let verdict = if gate.is_met(figure, gate.stretch) {
                "✓✓"
            } else if gate.is_met(figure, gate.limit) {
                "✓"
            } else {
                functions.push((*name, bound.and_then(|bound| bound(name, figures, profiles))));
                "**missed**"
            };
            let digits = if figure.fract() == 0.0 { 0 } else { 2 };
            let _ = write!(page, " {figure:.digits$} {verdict} |");
        }
        page.push('\n');
        results.push(Missed { what: gate.what, functions });
    }
    results.retain(|result| !result.functions.is_empty());
    results
}
