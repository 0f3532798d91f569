//! What a cron expression is here, and what to write instead of what is none.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

use crate::flow::Help;
use crate::flow::cast::shorten;

/// One field of an expression.
pub(super) struct Field {
    /// What people call it.
    pub(super) name: &'static str,
    pub(super) min: u16,
    pub(super) max: u16,
    /// The names of its values, from the least on.
    pub(super) names: &'static [&'static str],
    /// Words that are no names.
    words: &'static [&'static str],
}

const fn plain(name: &'static str, min: u16, max: u16) -> Field {
    Field { name, min, max, names: &[], words: &[] }
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// All fields; the first may be left out.
pub(super) const FIELDS: [Field; 6] = [
    plain("second", 0, 59),
    plain("minute", 0, 59),
    plain("hour", 0, 23),
    Field { words: &["L", "W", "LW"], ..plain("day of the month", 1, 31) },
    Field { names: &MONTHS, ..plain("month", 1, 12) },
    Field { names: &DAYS, words: &["L"], ..plain("day of the week", 0, 7) },
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Field {
    /// What the parser would pass over in silence, or take for something else.
    fn objection(&self, text: &str) -> Option<&'static str> {
        let text = text.to_ascii_uppercase();
        let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        let is_name = |word: &str| self.names.contains(&word.strip_suffix('L').unwrap_or(word));
        let mut others = words.filter(|word| !self.words.contains(word) && !self.names.contains(word));
        // The last Friday is `FRIL`.
        if others.any(|word| !(is_name(word) && self.words.contains(&"L"))) {
            return Some("it has a word that means nothing here");
        }
        let items = || text.strip_prefix('+').unwrap_or(&text).split(',');
        if items().any(str::is_empty) {
            return Some("something is missing");
        }
        let goes_on = |item: &str| self.words.contains(&"W") && item.contains('W') && !item.ends_with('W');
        items().any(goes_on).then_some("`W` ends a day")
    }

    /// Why this is no such field, in the parser's words where they are its own.
    fn refusal(&self, text: &str) -> Option<String> {
        if let Some(objection) = self.objection(text) {
            return Some(objection.into());
        }
        let fields = FIELDS.iter().map(|field| if field.name == self.name { text } else { "*" });
        let alone = fields.collect::<Vec<_>>().join(" ");
        let error = parser().parse(&alone).err()?;
        let (CronError::ComponentError(reason)
        | CronError::IllegalCharacters(reason)
        | CronError::InvalidPattern(reason)) = error
        else {
            return Some(error.to_string());
        };
        Some(reason.trim_end_matches('.').to_owned())
    }

    fn value(&self, text: &str) -> Option<u16> {
        let place = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = place.and_then(|place| u16::try_from(place).ok()).map(|place| place + self.min);
        named.or_else(|| text.parse().ok())
    }

    /// A value as it is written beside this one.
    fn write(&self, value: u16, beside: &str) -> String {
        let name = usize::from(value - self.min);
        match self.names.get(name).filter(|_| beside.starts_with(|c: char| c.is_ascii_alphabetic())) {
            Some(name) => (*name).into(),
            None => value.to_string(),
        }
    }

    /// The last value that is not another one again.
    pub(super) fn last(&self) -> u16 {
        if self.max == 7 { 6 } else { self.max }
    }

    /// What might have been meant, the likeliest first.
    fn repairs(&self, text: &str) -> Vec<String> {
        let items = text.split(',').filter(|item| !item.is_empty());
        let items: Vec<_> = items.map(|item| self.repairs_of_item(item)).collect();
        let longest = items.iter().map(Vec::len).max().unwrap_or(0);
        let repair = |variant: usize| {
            let chosen = items.iter().filter_map(|variants| variants.get(variant).or(variants.first()));
            chosen.map(String::as_str).collect::<Vec<_>>().join(",")
        };
        (0..longest).map(repair).collect()
    }

    fn repairs_of_item(&self, item: &str) -> Vec<String> {
        let unchanged = || vec![item.to_owned()];
        if let Some((start, step)) = item.split_once('/') {
            let value = self.value(start).filter(|value| (self.min..=self.max).contains(value));
            return match value {
                _ if step == "0" => vec![start.into()],
                _ if start.is_empty() => vec![format!("*/{step}")],
                Some(value) => {
                    let range = format!("{start}-{}/{step}", self.write(self.last(), start));
                    let whole = (value == self.min).then(|| format!("*/{step}"));
                    whole.into_iter().chain([range]).collect()
                }
                None => unchanged(),
            };
        }
        let Some((from, to)) = item.split_once('-') else { return vec![self.short(item).to_owned()] };
        let (from, to) = (self.short(from), self.short(to));
        match (self.value(from), self.value(to)) {
            (Some(first), Some(last)) if first > last && first <= self.last() && last >= self.min => {
                // Over the end, and on from the beginning; the lesser values first, as every scheduler reads them.
                let range = |(a, a_text): (u16, String), (b, b_text): (u16, String)| {
                    if a == b { a_text } else { format!("{a_text}-{b_text}") }
                };
                let named = |value: u16, beside: &str| (value, self.write(value, beside));
                let beginning = range(named(self.min, to), (last, to.to_ascii_uppercase()));
                let end = range((first, from.to_ascii_uppercase()), named(self.last(), from));
                vec![format!("{beginning},{end}")]
            }
            _ => vec![format!("{from}-{to}")],
        }
    }

    /// A name that is written out, as it is written here.
    fn short<'t>(&self, text: &'t str) -> &'t str {
        let is_long = text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
        let short = text.get(..3).filter(|short| is_long && self.value(short).is_some());
        short.unwrap_or(text)
    }
}

/// Five fields, or six with seconds first.
pub(super) fn read(text: &str) -> Option<Cron> {
    let fields: Vec<_> = text.split_whitespace().collect();
    let is_objectionable =
        text.contains('@') || named(&fields)?.any(|(field, text)| field.objection(text).is_some());
    if is_objectionable { None } else { parser().parse(text).ok() }
}

/// The fields of an expression with what they are; none when there are too many or too few.
pub(super) fn named<'t>(
    fields: &'t [&'t str],
) -> Option<impl Iterator<Item = (&'static Field, &'t str)> + Clone> {
    let kinds = FIELDS.get(FIELDS.len().checked_sub(fields.len())?..)?;
    (fields.len() >= 5).then(|| kinds.iter().zip(fields.iter().copied()))
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

/// Why this is no expression, and what would be one.
pub(super) fn explain(text: &str) -> Help {
    let fields: Vec<_> = text.split_whitespace().collect();
    let nickname = fields.iter().find(|field| field.starts_with('@'));
    if let Some(nickname) = nickname {
        let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        return Help {
            detail: Some(format!("`{}` is a nickname, and no expression.", shorten(nickname))),
            fix: known.map(|(_, expression)| format!("Write `{expression}`.")),
        };
    }
    // A blank where none belongs makes two fields of one.
    let joined = without_inner_blanks(&fields);
    if joined != fields.join(" ") && read(&joined).is_some() {
        return Help {
            detail: Some("A blank is inside a field, and so parts two.".into()),
            fix: Some(format!("Write `{joined}`.")),
        };
    }
    let Some(named) = named(&fields) else {
        let number = fields.len();
        let shorter = fields.get(..6).filter(|_| number == 7).map(|fields| fields.join(" "));
        let shorter = shorter.filter(|text| read(text).is_some());
        return Help {
            detail: Some(format!(
                "It has {number} field{}; five are expected, or six with seconds first.",
                if number == 1 { "" } else { "s" }
            )),
            fix: shorter.map(|text| format!("Write `{text}`: there is no field for the year.")),
        };
    };
    let wrong: Vec<_> = named
        .enumerate()
        .filter_map(|(place, (field, text))| Some((place, field, text, field.refusal(text)?)))
        .collect();
    let details = wrong.iter().map(|(_, field, text, reason)| {
        let mut name = field.name.to_owned();
        name.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
        format!("{name} `{}`: {reason}.", shorten(text))
    });
    let details = details.collect::<Vec<_>>().join(" ");
    Help { detail: Some(details).filter(|details| !details.is_empty()), fix: fix(&fields, &wrong) }
}

type Wrong<'t> = (usize, &'static Field, &'t str, String);

fn fix(fields: &[&str], wrong: &[Wrong<'_>]) -> Option<String> {
    let repairs: Vec<_> = wrong.iter().map(|(_, field, text, _)| field.repairs(text)).collect();
    let variants = if repairs.len() == 1 { repairs.first().map_or(0, Vec::len) } else { 1 };
    let mut written: Vec<String> = Vec::new();
    for variant in 0..variants {
        let mut fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
        for ((place, ..), repairs) in wrong.iter().zip(&repairs) {
            if let (Some(field), Some(repair)) = (fields.get_mut(*place), repairs.get(variant)) {
                field.clone_from(repair);
            }
        }
        let expression = fields.join(" ");
        if read(&expression).is_some() {
            written.push(format!("`{expression}`"));
        }
    }
    if !written.is_empty() {
        return Some(format!("Write {}.", written.join(" or ")));
    }
    match wrong {
        [(_, field, ..)] => Some(format!("Take values from {} to {}.", field.min, field.max)),
        _ => None,
    }
}

/// The fields, and those in one that a comma, a slash or a hyphen holds together.
fn without_inner_blanks(fields: &[&str]) -> String {
    let is_open = |c: char| matches!(c, ',' | '/' | '-');
    let mut text = String::new();
    for field in fields {
        if !text.is_empty() && !text.ends_with(is_open) && !field.starts_with(is_open) {
            text.push(' ');
        }
        text.push_str(field);
    }
    text
}
