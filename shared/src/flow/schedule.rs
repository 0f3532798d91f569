//! When a flow runs by itself. What a cron expression is here: docs/schedules.md.

mod dialect;
mod portable;

use std::sync::OnceLock;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use croner::{Cron, YEAR_UPPER_LIMIT};
use serde::{Deserialize, Serialize};

use super::parse::MAX_TEXT;
use super::{Help, Timestamp};

/// When a flow runs by itself: a cron expression as it was sent. It is read once, when somebody needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule {
    text: String,
    #[serde(skip)]
    cron: OnceLock<Option<Box<Cron>>>,
}

impl Schedule {
    /// What was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Why it is no cron expression, and what would be one; nothing when it is, or is empty: none.
    #[must_use]
    pub fn refusal(&self) -> Option<Help> {
        (!self.text.is_empty() && self.cron().is_none())
            .then(|| if self.is_short() { dialect::explain(&self.text) } else { Help::default() })
    }

    /// Whether there is no day on which it runs. Every kind of year there is (common or leap, with the days
    /// of the week in any place) is among these last ones that can be looked at; to look at all thousands
    /// from now on would take many times as long.
    #[must_use]
    pub fn never_runs(&self) -> bool {
        let start =
            NaiveDate::from_ymd_opt(YEAR_UPPER_LIMIT - 40, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
        let (Some(cron), Some(start)) = (self.cron(), start) else { return false };
        cron.find_next_occurrence(&start.and_utc(), true).is_err()
    }

    /// What to do about a schedule that never runs, where that is not to name another day of the month.
    #[must_use]
    pub fn fix_of_never(&self) -> Option<&'static str> {
        let pattern = &self.cron()?.pattern;
        let day_of_week = self.text.split_whitespace().next_back()?;
        if day_of_week.eq_ignore_ascii_case("L") {
            return Some("Name the day of the week before `L`, such as `5L` for the last Friday of a month.");
        }
        if pattern.matches_dom_and_dow() {
            return Some("Correct the day of the month, the month or the day of the week.");
        }
        pattern.is_dom_wildcard().then_some("Correct the day of the week.")
    }

    /// How the scheduler of the Open Integration Hub would read it otherwise, and an expression that both read
    /// as it is read here, if there is one.
    #[must_use]
    pub fn elsewhere(&self) -> Option<Help> {
        self.cron().filter(|_| self.is_short()).and_then(|cron| portable::difference(&self.text, cron))
    }

    /// Whether it is no longer than it may be, in bytes: of others little is said.
    fn is_short(&self) -> bool {
        self.text.len() <= 4 * MAX_TEXT
    }

    /// When it runs after this time, as RFC 3339 in UTC; at most `count`.
    #[must_use]
    pub fn next_runs(&self, now: Timestamp, count: usize) -> Vec<String> {
        let Some(cron) = self.cron() else { return Vec::new() };
        let now = i64::try_from(now.millis()).ok().and_then(DateTime::from_timestamp_millis);
        let next = |time: &DateTime<Utc>| cron.find_next_occurrence(time, false).ok();
        let runs = std::iter::successors(now, next).skip(1).take(count);
        runs.map(|run| run.to_rfc3339_opts(SecondsFormat::Secs, true)).collect()
    }

    fn cron(&self) -> Option<&Cron> {
        self.cron.get_or_init(|| dialect::read(&self.text).map(Box::new)).as_deref()
    }
}

impl From<String> for Schedule {
    fn from(text: String) -> Self {
        Self { text, cron: OnceLock::new() }
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

#[cfg(test)]
mod tests;
