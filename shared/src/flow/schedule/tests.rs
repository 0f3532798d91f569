use std::fmt::Write;
use std::{env, fs};

use super::*;

/// What cron-parser 2.7.3 was seen to do: `tests/cron/measure`.
const EXPRESSIONS: &str = include_str!("expressions.tsv");
/// Around what is generated in docs/schedules.md.
const BEGIN: &str = "<!-- begin: made of shared/src/flow/schedule/expressions.tsv: UPDATE_DOCS=1 cargo test -p shared schedule -->\n";
const END: &str = "<!-- end -->";

fn schedule(text: &str) -> Schedule {
    text.to_owned().into()
}

/// The next run after each of the moments of `tests/cron/measure`.
fn runs(schedule: &Schedule) -> Vec<String> {
    const FIRST: u64 = 1_768_472_430_000;
    const STEP: u64 = (((9 * 24 + 5) * 60 + 17) * 60 + 13) * 1000;
    let run = |index| schedule.next_runs(Timestamp::from_millis(FIRST + index * STEP), 1).pop();
    (0..100).map(|index| run(index).unwrap_or_else(|| "refused".into())).collect()
}

fn digest(runs: &[String]) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let bytes = runs.iter().flat_map(|run| run.bytes());
    format!("{:016x}", bytes.fold(0xcbf2_9ce4_8422_2325, step))
}

/// Expressions, what they are read as elsewhere at first, and a digest of all that.
fn expressions() -> Vec<(&'static str, &'static str, &'static str)> {
    let fields = |line: &'static str| {
        let mut fields = line.split('\t');
        (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap())
    };
    EXPRESSIONS.lines().skip(1).map(fields).collect()
}

#[test]
fn what_is_read_otherwise_elsewhere_is_told_and_nothing_else() {
    let mut different = 0;
    for (text, theirs, digest_of_theirs) in expressions() {
        let schedule = schedule(text);
        assert_eq!(schedule.refusal(), None, "{text}");
        if schedule.never_runs() {
            continue;
        }
        let ours = runs(&schedule);
        let told = schedule.elsewhere();
        let differs = digest(&ours) != digest_of_theirs;
        assert_eq!(told.is_some(), differs, "{text}: here {}, there {theirs}; {told:?}", ours[0]);
        different += usize::from(differs);
        // What is to be written instead is read alike, and as this one is here.
        if let Some(fix) = told.and_then(|told| told.fix) {
            let other = super::Schedule::from(fix.split('`').nth(1).unwrap().to_owned());
            assert_eq!(runs(&other), ours, "{text}: {fix}");
            assert_eq!(other.elsewhere(), None, "{text}: {fix}");
        }
    }
    assert_eq!((expressions().len(), different), (232, 59), "docs/schedules.md has these numbers");
}

#[test]
fn the_page_has_what_both_read() {
    let mut table = String::from("| expression | there | to be written instead |\n|---|---|---|\n");
    for (text, ..) in expressions() {
        let schedule = schedule(text);
        let Some(told) = schedule.elsewhere().filter(|_| !schedule.never_runs()) else { continue };
        let detail = told.detail.unwrap();
        let detail = detail.split_once("Hub, ").unwrap().1.trim_end_matches('.');
        let fix = told.fix.as_deref().and_then(|fix| fix.split('`').nth(1)).map(|fix| format!("`{fix}`"));
        writeln!(table, "| `{text}` | {detail} | {} |", fix.unwrap_or_default()).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schedules.md");
    let page = fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let after = rest.split_once(END).unwrap().1;
    let wanted = format!("{before}{BEGIN}{table}{END}{after}");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &wanted).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap() == wanted, "docs/schedules.md is old");
}

#[test]
fn differences_are_told_in_words() {
    for (text, detail, fix) in [
        ("0 22-23,0-6 * * *", "reads the hour `22-23,0-6` as 22-23.", Some("0 0-6,22-23 * * *")),
        ("0 0 * * 5-7", "reads the day of the week `5-7` as 5-6.", Some("0 0 * * 0,5-6")),
        ("0 0 * * FRI-SUN", "cannot read the day of the week `FRI-SUN`.", Some("0 0 * * 0,5-6")),
        ("5-5 * * * *", "cannot read the minute `5-5`.", Some("5 * * * *")),
        ("0 0 L * *", "cannot read the day of the month `L`.", None),
        (
            "0 0 15 * 0-7",
            "takes the day of the week `0-7` for `*`, which adds no days to those of the other field.",
            Some("0 0 * * *"),
        ),
        (
            "0 0 * 4 *",
            "gives up in MAY, unless the year is a leap year, because APR has no day 31.",
            Some("0 0 1-30 4 *"),
        ),
        ("0 0 * 4-6 *", "gives up in MAY, unless the year is a leap year, because APR has no day 31.", None),
        (
            "0 0 22-23,0-6 * * 6-7",
            "reads the hour `22-23,0-6` as 22-23, and reads the day of the week `6-7` as 6.",
            Some("0 0 0-6,22-23 * * 0,6"),
        ),
    ] {
        let told = schedule(text).elsewhere().unwrap_or_else(|| panic!("{text}"));
        let expected = format!("cron-parser 2.7.3, the scheduler of the Open Integration Hub, {detail}");
        assert_eq!(told.detail, Some(expected), "{text}");
        assert_eq!(told.fix, fix.map(|fix| format!("Write `{fix}`.")), "{text}");
    }
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_write_instead() {
    for (text, detail, fix) in [
        ("0/15 * * * *", "Minute `0/15`: Invalid step syntax", "Write `*/15 * * * *` or `0-59/15 * * * *`."),
        ("5/15 * * * *", "Minute `5/15`: Invalid step syntax", "Write `5-59/15 * * * *`."),
        ("* /2 * * * *", "A blank is inside a field", "Write `*/2 * * * *`."),
        ("/5 * * * *", "Minute `/5`: Invalid step syntax", "Write `*/5 * * * *`."),
        ("*/0 * * * *", "Minute `*/0`: Step cannot be zero.", "Write `* * * * *`."),
        ("60 * * * *", "Minute `60`: Number out of bounds.", "Take values from 0 to 59."),
        ("0 22-6 * * *", "Hour `22-6`: Range out of bounds.", "Write `0 0-6,22-23 * * *`."),
        (
            "0 0 * * FRI-MON",
            "Day of the week `FRI-MON`: Range out of bounds.",
            "Write `0 0 * * SUN-MON,FRI-SAT`.",
        ),
        ("0 0 * NOV-JAN *", "Month `NOV-JAN`: Range out of bounds.", "Write `0 0 * JAN,NOV-DEC *`."),
        ("0 0 * * MONDAY", "Day of the week `MONDAY`: it has a word", "Write `0 0 * * MON`."),
        ("MON * * * *", "Minute `MON`: it has a word", "Take values from 0 to 59."),
        ("0 0 * MON *", "Month `MON`: it has a word", "Take values from 1 to 12."),
        ("0 0 15W3 * *", "Day of the month `15W3`: `W` ends a day.", "Take values from 1 to 31."),
        ("0 0 * * +", "Day of the week `+`: something is missing.", "Take values from 0 to 7."),
        ("1, 2 * * * *", "A blank is inside a field", "Write `1,2 * * * *`."),
        ("1,,2 * * * *", "Minute `1,,2`: something is missing.", "Write `1,2 * * * *`."),
        ("0/5 22-6 * * *", "Minute `0/5`: ", "Write `*/5 0-6,22-23 * * *`."),
        ("@daily", "`@daily` is a nickname", "Write `0 0 * * *`."),
        ("@Weekly", "`@Weekly` is a nickname", "Write `0 0 * * SUN`."),
        ("@reboot", "`@reboot` is a nickname", ""),
        (
            "0 0 12 1 1 ? 2020",
            "It has 7 fields; five",
            "Write `0 0 12 1 1 ?`: there is no field for the year.",
        ),
        ("* * * *", "It has 4 fields; five", ""),
        ("1", "It has 1 field; five", ""),
        ("a b c d e", "Minute `a`: it has a word", ""),
        (" ", "It has 0 fields; five", ""),
    ] {
        let help = schedule(text).refusal().unwrap_or_else(|| panic!("{text}"));
        let told = help.detail.unwrap_or_default();
        assert!(told.starts_with(detail), "{text}: {told}");
        assert_eq!(help.fix.unwrap_or_default(), fix, "{text}");
    }
}

#[test]
fn a_schedule_that_never_runs_is_corrected_where_it_is_wrong() {
    for (text, fix) in [
        (
            "0 0 * * L",
            Some("Name the day of the week before `L`, such as `5L` for the last Friday of a month."),
        ),
        ("0 6 30 2 *", None),
        ("0 0 1-7 * +5#2", Some("Correct the day of the month, the month or the day of the week.")),
    ] {
        assert_eq!((schedule(text).never_runs(), schedule(text).fix_of_never()), (true, fix), "{text}");
    }
}

#[test]
fn of_what_is_longer_than_it_may_be_little_is_said() {
    let items = "1,1-2,".repeat(100_000);
    assert_eq!(schedule(&format!("{items}1 * * * *")).elsewhere(), None);
    assert_eq!(schedule(&format!("{items}0/5 * * * *")).refusal(), Some(Help::default()));
}
