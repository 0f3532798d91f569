//! docs/performance.md

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use crate::bounds::Least;
use crate::charts;
use crate::compression::Compressed;
use crate::dynamodb::Cost;
use crate::figures::{Figures, Row, Timed, ratio};
use crate::gates;
use crate::http::Error;
use crate::levers::{self, Levers};
use crate::limits::Limits;
use crate::measure::{Instructions, Memory, Spread};
use crate::money;
use crate::profile::{self, Profiles};
use crate::real_flows;

/// Writes the page and its charts.
pub(crate) fn write(root: &Path, figures: &Figures) -> Result<(), Error> {
    charts::write(&root.join("docs/performance"), figures)?;
    Ok(std::fs::write(
        root.join("docs/performance.md"),
        figures.page(&levers::read(root)?, &profile::read_all(root)?)
            + &real_flows::section(root)?
            + &money::load_section(root),
    )?)
}

impl Figures {
    fn page(&self, levers: &Levers, profiles: &Profiles) -> String {
        let mut page = format!(
            "# Performance\n\nWritten by `tests/bench/run`; no figure is typed. Instructions are counted by callgrind on {}, the median of \
             three runs (of D, whose threads take turns as they like, of nine), with DynamoDB behind\nTLS on the same machine, RS256 tokens, and flows of 4 KB with two owners. list-flows lists a page \
             of 20 out of 60 flows.\nH is a hello world with `lambda_runtime`; D is the same read as get-flow's with the defaults of \
             `aws-config`, the SDK and\n`lambda_http`, which checks no token.\n",
            self.architecture,
        );
        let missed = gates::write(&mut page, self, profiles);
        if !missed.is_empty() {
            page += "\nMissed, with what they could be at best by [what a request has to do](#where-the-instructions-of-a-warm-request-are) \
                     and [what a start does](#instructions-and-size), and\nwith [what is mapped](#memory) and no more memory of its own than get-flow has, of a list with its documents twice: in the answer,\nand in what the runtime sends:\n\n";
            for gates::Missed { what, functions } in missed {
                let named = functions.into_iter().map(|(name, bound)| match bound {
                    Some(bound) if bound.fract() == 0.0 => format!("{name} (at best {bound:.0})"),
                    Some(bound) => format!("{name} (at best {bound:.2})"),
                    None => name.into(),
                });
                let _ = writeln!(page, "- {what}: {}", named.collect::<Vec<_>>().join(", "));
            }
        }
        write_profiles(&mut page, self, profiles);
        self.write_measured(&mut page);
        self.write_system_calls(&mut page);
        self.write_wall(&mut page);
        self.write_memory(&mut page, profiles);
        self.write_costs(&mut page);
        if let Some(limits) = &self.limits {
            write_limits(&mut page, limits);
        }
        self.write_compression(&mut page);
        self.write_documents(&mut page);
        self.write_levers(&mut page, levers);
        page
    }

    fn write_measured(&self, page: &mut String) {
        *page += "\n## Instructions and size\n\n![Instructions by phase and function](performance/instructions.svg)\n\n\
                  | function | init | init without the warm-up call | first request | warm request | system calls before the first event (without the warm-up call) | files opened | zip |\n\
                  |---|---|---|---|---|---|---|---|\n";
        for (name, Row { instructions, start, zip, .. }) in &self.rows {
            let phases = instructions.phases().map(|(_, count)| millions(count)).join(" | ");
            let zip = ratio(*zip as u64, 1_000_000);
            let _ = writeln!(
                page,
                "| {name} | {phases} | {} ({}) | {} | {zip:.2} MB |",
                start.syscalls, start.syscalls_alone, start.files
            );
        }
    }

    /// Which system calls a start makes.
    fn write_system_calls(&self, page: &mut String) {
        let calls =
            |name: &str| self.rows.get(name).map(|row| &row.start.by_name).filter(|calls| !calls.is_empty());
        let (Some(own), Some(hello)) = (calls("get-flow"), calls("hello")) else { return };
        let mut own: Vec<_> = own.iter().collect();
        own.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let parts = own.into_iter().map(|(name, count)| {
            format!("{name} {count} ({})", hello.get(name).copied().unwrap_or_default())
        });
        let _ = writeln!(
            page,
            "\nThe system calls of get-flow before its first event, and in brackets H's: {}. Each `futex` is a part of AWS-LC that \
             gets ready when TLS\nneeds it first, and glibc looks the endpoint's name up in a thread of its own, by {} system calls.",
            parts.collect::<Vec<_>>().join(", "),
            self.rows.get("get-flow").map_or(0, |row| row.start.elsewhere),
        );
    }

    fn write_wall(&self, page: &mut String) {
        *page += "\n## Wall time\n\nAs parts of D's and H's time in the same round, because times alone say more about the machine. The median, and \
                  between what half of the rounds lie.\n\n![Time against D's](performance/wall.svg)\n\n\
                  | function | from exec to the first answer, of D's | warm request, of D's | init, of H's |\n|---|---|---|---|\n";
        let spread = |Spread { low, median, high }: Spread| format!("{median:.3} ({low:.3} – {high:.3})");
        for (name, Row { wall, .. }) in &self.rows {
            let parts = [wall.until_first, wall.warm, wall.init].map(spread).join(" | ");
            let _ = writeln!(page, "| {name} | {parts} |");
        }
    }

    fn write_memory(&self, page: &mut String, profiles: &Profiles) {
        let _ = write!(
            page,
            "\n## Memory\n\nThe most that a sandbox has had, in MB, after so many requests: the median of {} runs, all functions in turn, because what the kernel \
             maps\naround a page differs from run to run.\n",
            crate::measure::WATCHED
        );
        self.write_peaks(page, |row| &row.memory.peaks);
        *page += "\nWhose pages they are after 1,000 requests. Of the binary the kernel maps 64 KB around each page that is executed, and need never write one \
                  back.\n\n| function | of the binary | of the system's libraries | its own |\n|---|---|---|---|\n";
        for (name, Row { memory: Memory { peaks, anonymous, mapped }, .. }) in &self.rows {
            let Some(peak) = peaks.get(&crate::FEW_REQUESTS) else { continue };
            let rest = peak.saturating_sub(anonymous + mapped);
            let parts = [*mapped, rest, *anonymous].map(|part| format!("{:.2}", ratio(part, 1024)));
            let _ = writeln!(page, "| {name} | {} |", parts.join(" | "));
        }
        *page += "\nWhat is mapped of the binary is most of its code, whose KB are, by crate:\n\n| function | code |\n|---|---|\n";
        for (function, profile) in profiles {
            let code = by_crate(&profile.code, |bytes| format!("{:.0}", ratio(bytes, 1024)));
            let _ = writeln!(page, "| {function} | {code} |");
        }
        *page += "\n`h2` is of the SDK's HTTP client, which cannot be built without it, though no service asked here speaks HTTP/2.\n";
        *page += "\nOf one sandbox each that answers 100,000:\n\n![Memory over requests](performance/memory.svg)\n";
        self.write_peaks(page, |row| &row.long_run);
    }

    /// The most memory of each function by the number of requests.
    fn write_peaks(&self, page: &mut String, of: fn(&Row) -> &BTreeMap<usize, u64>) {
        let counts: BTreeSet<_> = self.rows.values().flat_map(|row| of(row).keys()).collect();
        *page += "\n| function |";
        for count in &counts {
            let _ = write!(page, " {count} |");
        }
        let _ = writeln!(page, "\n|---{}|", "|---".repeat(counts.len()));
        for (name, row) in self.rows.iter().filter(|(_, row)| !of(row).is_empty()) {
            let peaks = of(row).values().map(|peak| format!("{:.2}", ratio(*peak, 1024)));
            let _ = writeln!(page, "| {name} | {} |", peaks.collect::<Vec<_>>().join(" | "));
        }
    }

    fn write_compression(&self, page: &mut String) {
        if self.compression.is_empty() {
            return;
        }
        *page += "\n## Compression\n\nThe document of the flow of 4 KB in its head: as it is, with zstd, and with zstd and the dictionary, which is what \
                  is stored\n([ADR 0020](adr/0020-dictionary.md)). Units of the head alone, written in a transaction, and instructions of one document.\n\n\
                  | | document, bytes | head, bytes | write units | read units | to pack | to unpack |\n|---|---|---|---|---|---|---|\n";
        for name in ["none", "zstd", "dictionary"] {
            let Some(Compressed { document, head, write, read, pack, unpack }) = self.compression.get(name)
            else {
                continue;
            };
            let (pack, unpack) = (millions(*pack), millions(*unpack));
            let _ = writeln!(page, "| {name} | {document} | {head} | {write} | {read} | {pack} | {unpack} |");
        }
    }

    fn write_documents(&self, page: &mut String) {
        if self.documents.is_empty() {
            return;
        }
        *page += "\n## Reading a document\n\nWhat it takes to read the flow of 4 KB, by what becomes of it. What is only shown is read in none of these ways: its text \
                  goes into\nthe answer as it was stored ([ADR 0022](adr/0022-shown.md)). A body is read as its members, and they as theirs where something is \
                  looked for\nin them; values that are only passed on stay as they came.\n\n\
                  | read as | instructions |\n|---|---|\n";
        let mut ways: Vec<_> = self.documents.iter().collect();
        ways.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (way, count) in ways {
            let _ = writeln!(page, "| {way} | {:.3} M |", ratio(*count, 1_000_000));
        }
    }

    fn write_levers(&self, page: &mut String, levers: &Levers) {
        if levers.is_empty() {
            return;
        }
        *page += "\n## Levers\n\nWhat each setting does by itself, measured by `tests/bench/levers`. `as deployed` has five roots, the warm-up call, keys in a \
                  setting, no\nentropy by jitter, fat LTO, one codegen unit, opt-level s but 3 for the crates of get-flow and list-flows themselves, overflow \
                  checks in\nour own crates alone, and of zstd what is asked for; every other line changes what it says. The lines of one function are of the same code, \
                  which may be\nolder than that of the tables above. Of entropy by jitter look at init: it can take so long that the \
                  first requests are\nanswered without the connection of the warm-up call. The lines of `naive` are D, each with what those before it have.\n\n\
                  | function | variant | init | first request | warm request | zip | memory after 1,000 requests |\n|---|---|---|---|---|---|---|\n";
        for (function, variants) in levers {
            let (deployed, others): (Vec<_>, Vec<_>) =
                variants.iter().partition(|(name, _)| *name == "as deployed");
            for (name, variant) in deployed.into_iter().chain(others) {
                let Instructions { init, first, warm, .. } = variant.instructions;
                let _ = writeln!(
                    page,
                    "| {function} | {name} | {} | {} | {} | {:.2} MB | {:.2} MB |",
                    millions(init),
                    millions(first),
                    millions(warm),
                    ratio(variant.zip as u64, 1_000_000),
                    ratio(variant.peak, 1024),
                );
            }
        }
        let _ = writeln!(
            page,
            "\nOne more client of the SDK takes {} of init: get-secret's for Secrets Manager. No function has one that it does not use, so \
             none is made later\nthan in init. What compression does, and what reading documents otherwise would take, is above.",
            millions(self.second_client)
        );
    }

    fn write_costs(&self, page: &mut String) {
        *page += "\n## Calls and capacity units of a request\n\nCounted at the endpoint, by the rules that AWS documents. What connecting costs, \
                  once a sandbox, is left out.\n\n\
                  | request | calls | read units | write units | of them of the index | time here | most memory |\n|---|---|---|---|---|---|---|\n";
        for (name, row) in &self.rows {
            if let Some(cost) = &row.cost {
                write_cost(page, name, cost, None);
            }
        }
        for (count, cost) in &self.lists {
            write_cost(page, &format!("a page of 20 by cursor, of {count} flows of one owner"), cost, None);
        }
        for (query, timed) in &self.whole {
            let what = format!("`{query}`, of {} flows of one owner", crate::WHOLE);
            write_cost(page, &what, &timed.cost, Some(timed));
        }
    }
}

/// The most first.
fn by_crate(crates: &BTreeMap<String, u64>, shown: fn(u64) -> String) -> String {
    let mut crates: Vec<_> = crates.iter().collect();
    crates.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let parts = crates.into_iter().map(|(name, count)| format!("{name} {}", shown(*count)));
    parts.collect::<Vec<_>>().join(", ")
}

/// Why a gate is missed.
fn write_profiles(page: &mut String, figures: &Figures, profiles: &Profiles) {
    if profiles.is_empty() {
        return;
    }
    *page += "\n## Where the instructions of a warm request are\n\nBy crate, as `tests/bench/profile` finds them in a build with symbols. \
              What is inlined counts for the crate that it is inlined into.\n\n\
              | function | instructions of a warm request |\n|---|---|\n";
    for (function, profile) in profiles {
        let _ = writeln!(page, "| {function} | {} |", by_crate(&profile.crates, millions));
    }
    let warm = |name: &str| figures.rows.get(name).map(|row| row.instructions.warm).unwrap_or_default();
    let naive = warm("naive");
    let _ = writeln!(
        page,
        "\nWhat a warm request takes at least: all that D does ({}), the verification of its token, its other calls of the SDK ({} each, \
         which is D's\nwithout H's), packing and unpacking documents, and, of a page, what the SDK's and the runtime's JSON takes for the \
         other {} flows. Nothing is counted for\nwhat is validated, hashed, logged, sorted, or copied.\n\n\
         | function | calls | verification of RS256 | other calls | compression | other flows | at least | of D's | measured, of D's |\n\
         |---|---|---|---|---|---|---|---|---|",
        millions(naive),
        millions(naive.saturating_sub(warm("hello"))),
        crate::PAGE_SIZE - 1,
    );
    for function in profiles.keys() {
        let Some(least) = Least::of(function, figures, profiles) else { continue };
        let _ = writeln!(
            page,
            "| {function} | {} | {} | {} | {} | {} | {} | {:.2} | {:.2} |",
            least.calls,
            millions(least.verification),
            millions(least.further_calls),
            millions(least.compression),
            millions(least.passing_on),
            millions(least.sum()),
            ratio(least.sum(), naive),
            ratio(warm(function), naive),
        );
    }
}

fn write_cost(page: &mut String, what: &str, cost: &Cost, timed: Option<&Timed>) {
    let calls: Vec<_> = cost.calls.iter().map(|(call, count)| format!("{count} × {call}")).collect();
    let Cost { read, write, index, .. } = cost;
    let time = timed.map(|timed| format!("{:.0} ms", timed.millis)).unwrap_or_default();
    let peak = timed.map(|timed| format!("{:.1} MB", ratio(timed.peak, 1024))).unwrap_or_default();
    let (calls, write) = (calls.join(", "), write + index);
    let _ = writeln!(page, "| {what} | {calls} | {read} | {write} | {index} | {time} | {peak} |");
}

fn write_limits(page: &mut String, limits: &Limits) {
    *page += "\n## Limits\n\nThe lists of 100,000 flows are above. The largest flow that a body can hold, and a page of as many of \
              them as fit an answer of 6 MB:\n\n\
              | request | calls | read units | write units | of them of the index | time here | most memory |\n|---|---|---|---|---|---|---|\n";
    let Limits { bytes, nodes, validate, create, read, list, owners, hot } = limits;
    for (what, timed) in [
        ("validate a flow", validate),
        ("create a flow", create),
        ("read a flow", read),
        ("a page of flows", list),
    ] {
        let what = format!("{what} of {nodes} nodes, {bytes} bytes");
        write_cost(page, &what, &timed.cost, Some(timed));
    }
    let _ = writeln!(
        page,
        "\nA flow with {} owners is refused: {} `{}`, \"{}\".",
        owners.owners, owners.status, owners.reason, owners.message,
    );
    let statuses: Vec<_> = hot.statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    let _ = writeln!(
        page,
        "\nA flow that is started {0} times a second and stopped as often, for {1} seconds, on the local server with an \
         orchestrator\nthat answers, nobody waiting for the answer before: {2}. A 409 is a conflict with the run that is under way. Half were \
         answered in\n{3:.1} ms, 99 % in {4:.1} ms; of the last second 99 % in {5:.1} ms.",
        hot.hertz,
        hot.seconds,
        statuses.join(", "),
        hot.p50_millis,
        hot.p99_millis,
        hot.p99_last_millis,
    );
}

fn millions(count: u64) -> String {
    format!("{:.2} M", ratio(count, 1_000_000))
}
