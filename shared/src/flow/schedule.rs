use std::sync::OnceLock;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, YEAR_UPPER_LIMIT};
use serde::{Deserialize, Serialize};

use super::Timestamp;

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

    /// Whether it is a cron expression as the platform's scheduler reads them, or empty: none.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.text.is_empty() || self.cron().is_some()
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
        self.cron.get_or_init(|| read(&self.text).map(Box::new)).as_deref()
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

/// Five fields, or six with seconds first, as the platform's scheduler reads them.
fn read(text: &str) -> Option<Cron> {
    // A nickname such as `@daily` is not among the fields the scheduler knows.
    let has_empty_item = |field: &str| field.split(',').any(str::is_empty);
    if text.contains('@') || text.split_whitespace().any(has_empty_item) {
        return None;
    }
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(text).ok()
}
