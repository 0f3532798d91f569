//! What was measured, and the page that says it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::dynamodb::Cost;
use crate::http::Error;
use crate::measure::{Instructions, Start};

/// Instructions repeat to about half a percent; more than this is a change.
const TOLERANCE: f64 = 1.03;

/// All that is measured.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) rows: BTreeMap<String, Row>,
    /// What a page costs of lists of so many flows.
    pub(crate) lists: BTreeMap<usize, Cost>,
}

/// What is measured of one function.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) instructions: Instructions,
    pub(crate) start: Start,
    pub(crate) zip: usize,
    pub(crate) peak_kb: u64,
    pub(crate) cost: Option<Cost>,
}

/// A figure that a function must keep to.
struct Gate {
    what: &'static str,
    limit: f64,
    stretch: f64,
    measure: fn(&Row, &Row, &Row) -> f64,
}

/// The figures of a function, of H and of D.
const GATES: [Gate; 6] = [
    Gate {
        what: "instructions from exec to the first answer, times which they are less than D's",
        limit: 45.0,
        stretch: 80.0,
        measure: |own, _, naive| ratio(naive.instructions.until_first(), own.instructions.until_first()),
    },
    Gate {
        what: "first request against a warm one, instructions",
        limit: 1.5,
        stretch: 1.1,
        measure: |own, _, _| ratio(own.instructions.first, own.instructions.warm),
    },
    Gate {
        what: "warm request against D's, instructions",
        limit: 1.6,
        stretch: 1.0,
        measure: |own, _, naive| ratio(own.instructions.warm, naive.instructions.warm),
    },
    Gate {
        what: "init against H's, instructions",
        limit: 5.0,
        stretch: 2.5,
        measure: |own, hello, _| ratio(own.instructions.init, hello.instructions.init),
    },
    Gate {
        what: "system calls before the first event is asked for",
        limit: 150.0,
        stretch: 80.0,
        measure: |own, _, _| ratio(own.start.syscalls as u64, 1),
    },
    Gate {
        what: "peak memory after 1,000 requests against H's",
        limit: 3.0,
        stretch: 2.0,
        measure: |own, hello, _| ratio(own.peak_kb, hello.peak_kb),
    },
];

#[allow(clippy::cast_precision_loss, reason = "counts of a few billion at most")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

impl Figures {
    /// Fails when a function executes more instructions than it did.
    pub(crate) fn check(&self, before: &Self) -> Result<(), Error> {
        let mut risen = String::new();
        // D's many threads take turns as they like.
        for (name, now) in self.rows.iter().filter(|(name, _)| *name != "naive") {
            let Some(then) = before.rows.get(name) else { continue };
            let parts = [
                ("init", now.instructions.init, then.instructions.init),
                ("first", now.instructions.first, then.instructions.first),
                ("warm", now.instructions.warm, then.instructions.warm),
            ];
            for (part, now, then) in parts.into_iter().filter(|(_, now, then)| ratio(*now, *then) > TOLERANCE)
            {
                writeln!(risen, "{name}: {part} executes {now} instructions instead of {then}")?;
            }
        }
        if risen.is_empty() { Ok(()) } else { Err(risen.into()) }
    }

    /// docs/performance.md
    pub(crate) fn page(&self) -> String {
        let mut page = String::from(
            "# Performance\n\nWritten by `tests/bench/run`; no figure is typed. Instructions are counted by callgrind on x86_64, \
             with DynamoDB\nbehind TLS on the same machine, RS256 tokens, and a flow of 4 KB with two owners. H is a hello world with \
             `lambda_runtime`;\nD is the same read as get-flow's with the defaults of `aws-config`, the SDK and `lambda_http`, \
             which checks no token.\nlist-flows lists a single flow here: a page of 20 takes several times as many, and misses the gates of instructions.\n\n## Measured\n\n\
             | function | init | first request | warm request | system calls before the first event | files opened | zip | peak memory |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        let millions = |count: u64| format!("{:.2} M", ratio(count, 1_000_000));
        for (name, row) in &self.rows {
            let Instructions { init, first, warm } = row.instructions;
            let _ = writeln!(
                page,
                "| {name} | {} | {} | {} | {} | {} | {:.2} MB | {:.1} MB |",
                millions(init),
                millions(first),
                millions(warm),
                row.start.syscalls,
                row.start.files,
                ratio(row.zip as u64, 1_000_000),
                ratio(row.peak_kb, 1024),
            );
        }
        self.write_gates(&mut page);
        page += "\n## Calls and capacity units of a request\n\n| function | calls | read units | write units | of the index |\n|---|---|---|---|---|\n";
        for (name, row) in &self.rows {
            if let Some(cost) = &row.cost {
                write_cost(&mut page, name, cost);
            }
        }
        for (count, cost) in &self.lists {
            write_cost(
                &mut page,
                &format!("a page of 20 by cursor, of {count} flows of a user and its tenant"),
                cost,
            );
        }
        page
    }

    fn write_gates(&self, page: &mut String) {
        *page += "\n## Gates\n\n| figure | gate | stretch | get-flow | list-flows | create-flow | start-flow |\n|---|---|---|---|---|---|---|\n";
        let (Some(hello), Some(naive)) = (self.rows.get("hello"), self.rows.get("naive")) else { return };
        for Gate { what, limit, stretch, measure } in GATES {
            let _ = write!(page, "| {what} | {limit} | {stretch} |");
            for name in ["get-flow", "list-flows", "create-flow", "start-flow"] {
                let Some(row) = self.rows.get(name) else { continue };
                let figure = measure(row, hello, naive);
                // Of the first gate more is better.
                let is_met = if stretch > limit { figure >= limit } else { figure <= limit };
                let _ = write!(page, " {figure:.2}{} |", if is_met { "" } else { " **missed**" });
            }
            page.push('\n');
        }
    }
}

fn write_cost(page: &mut String, name: &str, cost: &Cost) {
    let calls: Vec<_> = cost.calls.iter().map(|(call, count)| format!("{count} × {call}")).collect();
    let _ =
        writeln!(page, "| {name} | {} | {} | {} | {} |", calls.join(", "), cost.read, cost.write, cost.index);
}
