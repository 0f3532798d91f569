//! How cron-parser 2.7.3 reads expressions, which the scheduler of the Open Integration Hub uses: that one is
//! frozen, so what it does is written down here. `expressions.tsv` has what it was seen to do.

use std::collections::BTreeSet;

use croner::Cron;

use super::dialect::{FIELDS, Field, named, read};
use crate::flow::Help;
use crate::flow::cast::shorten;

/// Who reads.
const WHO: &str = "cron-parser 2.7.3, the scheduler of the Open Integration Hub,";
/// Days of each month as that scheduler knows them.
const DAYS_IN_MONTH: [u16; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const DAY_OF_MONTH: usize = 3;
const MONTH: usize = 4;
const DAY_OF_WEEK: usize = 5;

/// What is read otherwise there, and an expression that is read there as this one is here.
pub(super) fn difference(text: &str, cron: &Cron) -> Option<Help> {
    let differences = differences(text, cron);
    if differences.is_empty() {
        return None;
    }
    let detail = format!("{WHO} {}.", differences.join(", and "));
    let portable = candidates(text, cron).into_iter().find(|candidate| {
        read(candidate)
            .is_some_and(|other| self::differences(candidate, &other).is_empty() && are_same(cron, &other))
    });
    Some(Help { detail: Some(detail), fix: portable.map(|text| format!("Write `{text}`.")) })
}

fn differences(text: &str, cron: &Cron) -> Vec<String> {
    let fields: Vec<_> = text.split_whitespace().collect();
    let Some(named) = named(&fields) else { return Vec::new() };
    let first = FIELDS.len() - fields.len();
    let mut differences = Vec::new();
    // Seconds that are left out are 0 there too.
    let mut values = vec![vec![0]; first];
    for ((field, text), ours) in named.clone().zip(ours(cron).into_iter().skip(first)) {
        let shown = shorten(text);
        match values_of(field, text) {
            None => differences.push(format!("cannot read the {} `{shown}`", field.name)),
            Some(theirs) => {
                let effective = effective(&theirs, field);
                if effective != ours && Some(theirs.len()) != number_of_all(field) {
                    let as_read = written(&effective, field);
                    differences.push(format!("reads the {} `{shown}` as {as_read}", field.name));
                }
                values.push(theirs);
            }
        }
    }
    if !differences.is_empty() {
        return differences;
    }
    let [.., days, months, days_of_week] = values.as_slice() else { return differences };
    // A field counts as `*` when it has so many values, whatever it says.
    let [.., of_month, _, of_week] = &FIELDS;
    let is_whole = [(days, of_month), (days_of_week, of_week)]
        .map(|(values, field)| Some(values.len()) == number_of_all(field));
    let theirs = |day: u16, weekday: u16| {
        let (in_month, in_week) = (days.contains(&day), days_of_week.contains(&weekday));
        match is_whole {
            [true, true] => true,
            [false, true] => in_month,
            [true, false] => in_week,
            [false, false] => in_month || in_week,
        }
    };
    let ours = Days::of(cron);
    let mut every_day = (1..=31).flat_map(|day| (0..=6).map(move |weekday| (day, weekday)));
    if every_day.any(|(day, weekday)| theirs(day, weekday) != ours.have(day, weekday)) {
        let stars = [cron.pattern.is_dom_wildcard(), cron.pattern.is_dow_wildcard()];
        let texts: Vec<_> = named.skip(DAY_OF_MONTH - first).collect();
        for ((is_whole, is_star), place) in is_whole.into_iter().zip(stars).zip([0, 2]) {
            if let Some((field, text)) = texts.get(place).filter(|_| is_whole && !is_star) {
                differences.push(format!(
                    "takes the {} `{}` for `*`, which adds no days to those of the other field",
                    field.name,
                    shorten(text)
                ));
            }
        }
    }
    if let (Some(first), Some(last)) = (months.first().copied().filter(|_| months.len() < 12), days.last())
        && days_in(first) < *last
    {
        let name = |month: u16| {
            FIELDS
                .get(MONTH)
                .and_then(|field| field.names.get(usize::from(month).wrapping_sub(1)))
                .copied()
                .unwrap_or_default()
        };
        differences.push(format!(
            "gives up in {}, unless the year is a leap year, because {} has no day {last}",
            name(first + 1),
            name(first)
        ));
    }
    differences
}

/// With how many values a field of days counts as `*`.
fn number_of_all(field: &Field) -> Option<usize> {
    match field.max {
        31 => Some(31),
        7 => Some(8),
        _ => None,
    }
}

/// The values of a field there, in rising order, some of them twice.
fn values_of(field: &Field, text: &str) -> Option<Vec<u16>> {
    let mut text = text.to_ascii_uppercase();
    for (name, value) in field.names.iter().zip(field.min..) {
        text = text.replace(name, &value.to_string());
    }
    let is_day = matches!(field.max, 31 | 7);
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"/*-,".contains(&byte) || is_day && byte == b'?') {
        return None;
    }
    let whole = format!("{}-{}", field.min, field.max);
    let text = if text.contains('*') { text.replace('*', &whole) } else { text.replace('?', &whole) };
    let mut values: Vec<u16> = Vec::new();
    for item in text.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        if let Some((first, last)) = range.split_once('-') {
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            if first < field.min || last > field.max || first >= last {
                return None;
            }
            let range = (first..=last).step_by(step.parse().ok().filter(|step| *step > 0)?);
            // What is not beyond all that is there already is dropped.
            let most = values.iter().copied().max();
            values.extend(range.filter(|value| most.is_none_or(|most| *value > most)));
        } else {
            // A step after a single value means nothing.
            let value: u16 = range.parse().ok()?;
            values.push(if field.max == 7 { value % 7 } else { value });
        }
    }
    values.sort_unstable();
    Some(values)
}

/// Those of its values that there are: a Sunday that is 7 never comes there.
fn effective(values: &[u16], field: &Field) -> BTreeSet<u16> {
    values.iter().copied().filter(|value| *value <= field.last()).collect()
}

/// The values of each field here.
fn ours(cron: &Cron) -> [BTreeSet<u16>; 6] {
    let pattern = &cron.pattern;
    [
        &pattern.seconds,
        &pattern.minutes,
        &pattern.hours,
        &pattern.days,
        &pattern.months,
        &pattern.days_of_week,
    ]
    .map(|component| component.values().into_iter().collect())
}

/// On which days an expression without `L`, `W`, `#` and `+` runs here.
struct Days {
    in_month: BTreeSet<u16>,
    in_week: BTreeSet<u16>,
    /// Whether these are a `*`.
    are_stars: (bool, bool),
}

impl Days {
    fn of(cron: &Cron) -> Self {
        let pattern = &cron.pattern;
        let [_, _, _, in_month, _, in_week] = ours(cron);
        Self { in_month, in_week, are_stars: (pattern.is_dom_wildcard(), pattern.is_dow_wildcard()) }
    }

    fn have(&self, day: u16, weekday: u16) -> bool {
        let (in_month, in_week) = (self.in_month.contains(&day), self.in_week.contains(&weekday));
        match self.are_stars {
            (true, true) => true,
            (false, true) => in_month,
            (true, false) => in_week,
            (false, false) => in_month || in_week,
        }
    }
}

/// Whether both run at the same times here.
fn are_same(one: &Cron, other: &Cron) -> bool {
    let times = |cron: &Cron| {
        let [seconds, minutes, hours, _, months, _] = ours(cron);
        (seconds, minutes, hours, months)
    };
    let is_odd = |cron: &Cron| {
        let pattern = &cron.pattern;
        pattern.days.has_modifiers() || pattern.days_of_week.has_modifiers() || pattern.matches_dom_and_dow()
    };
    let (ours, theirs) = (Days::of(one), Days::of(other));
    let days = times(one).3.into_iter().flat_map(|month| 1..=days_in(month));
    let mut days = days.flat_map(|day| (0..=6).map(move |weekday| (day, weekday)));
    !is_odd(one)
        && !is_odd(other)
        && times(one) == times(other)
        && days.all(|(day, weekday)| ours.have(day, weekday) == theirs.have(day, weekday))
}

/// Expressions that may be read alike.
fn candidates(text: &str, cron: &Cron) -> Vec<String> {
    let fields: Vec<_> = text.split_whitespace().collect();
    let first = FIELDS.len() - fields.len().min(FIELDS.len());
    let ours = ours(cron);
    let fields = FIELDS.iter().zip(&ours).skip(first).zip(fields).map(|((field, values), text)| {
        let is_read = values_of(field, text).is_some_and(|theirs| effective(&theirs, field) == *values);
        if is_read { text.into() } else { written(values, field) }
    });
    let plain: Vec<String> = fields.collect();
    let with = |days: &str, week: Option<&str>| {
        let mut fields = plain.clone();
        for (place, text) in [(DAY_OF_MONTH, Some(days)), (DAY_OF_WEEK, week)] {
            if let (Some(field), Some(text)) = (fields.get_mut(place - first), text) {
                text.clone_into(field);
            }
        }
        fields.join(" ")
    };
    let [.., days, months, _] = &ours;
    let [.., day_of_month, _, _] = &FIELDS;
    let shortest = months.iter().map(|month| days_in(*month)).min().unwrap_or(31);
    let to_the_end = days.iter().copied().filter(|day| *day <= shortest).collect();
    vec![plain.join(" "), with("*", Some("*")), with(&written(&to_the_end, day_of_month), None)]
}

/// Values as every cron reads them: in rising order, without names.
fn written(values: &BTreeSet<u16>, field: &Field) -> String {
    if values.iter().copied().eq(field.min..=field.last()) {
        return "*".into();
    }
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for value in values {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *value => *last = *value,
            _ => ranges.push((*value, *value)),
        }
    }
    let ranges = ranges.iter().map(
        |(first, last)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        },
    );
    ranges.collect::<Vec<_>>().join(",")
}

fn days_in(month: u16) -> u16 {
    DAYS_IN_MONTH.get(usize::from(month).wrapping_sub(1)).copied().unwrap_or(31)
}
