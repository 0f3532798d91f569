use std::collections::BTreeMap;

use super::{Problem, Request};

/// How many a page has, unless its list says otherwise.
pub(super) const DEFAULT_SIZE: usize = 10;
const MAX_SIZE: usize = 1000;
/// Texts may have as many characters.
pub(super) const MAX_TEXT: usize = 256;

/// In the order in which upstream complains about them.
const KNOWN: [&str; 12] = [
    "filter[deleted]",
    "filter[status]",
    "filter[type]",
    "filter[user]",
    "filter[fromTemplate]",
    "sort",
    "search",
    "page[size]",
    "page[number]",
    "page[after]",
    "from",
    "to",
];

/// The parameters of a query, and what is wrong with them.
pub(super) struct Parameters {
    values: BTreeMap<String, String>,
    wrong: Vec<String>,
}

impl Parameters {
    /// Reads the parameters by name. One that is repeated is wrong, and so is one that continues a known
    /// name with more brackets. Unknown ones are ignored.
    pub(super) fn read(request: &Request) -> Self {
        let (mut values, mut wrong) = (BTreeMap::new(), Vec::new());
        for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            let extends =
                |known: &&&str| name.strip_prefix(**known).is_some_and(|rest| rest.starts_with('['));
            if let Some(known) = KNOWN.iter().find(extends) {
                wrong.push(display_name(known));
            } else if values.contains_key(name.as_ref()) {
                wrong.push(display_name(&name));
            }
            values.insert(name.into_owned(), value.into_owned());
        }
        Self { values, wrong }
    }

    /// The value of a parameter, if it is there and right.
    pub(super) fn parse<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = parse(self.values.get(name)?);
        if value.is_none() {
            self.wrong.push(display_name(name));
        }
        value
    }

    /// `page[size]`: how many a page, 1 to 1000, and so many by default.
    pub(super) fn page_size(&mut self, default: usize) -> usize {
        let size = self.parse("page[size]", |text| number(text).filter(|size| *size <= MAX_SIZE));
        size.unwrap_or(default)
    }

    /// `page[number]`, from 1.
    pub(super) fn page_number(&mut self) -> Option<usize> {
        self.parse("page[number]", number)
    }

    /// Takes what upstream's secret service reads as no number at all for one that is not there: its clients send
    /// `NaN` for the first page.
    pub(super) fn without_no_numbers(mut self) -> Self {
        for name in ["page[size]", "page[number]"] {
            if self.values.get(name).is_some_and(|text| is_no_number(text)) {
                self.values.remove(name);
            }
        }
        self
    }

    /// `page[after]`: a cursor that `decode` reads, or nothing for the beginning; never together with a
    /// number.
    #[allow(clippy::option_option, reason = "no cursor and one for the beginning are different things")]
    pub(super) fn page_after<T>(
        &mut self,
        number: Option<usize>,
        decode: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Option<T>> {
        let position = self
            .parse("page[after]", |text| if text.is_empty() { Some(None) } else { decode(text).map(Some) });
        if position.is_some() && number.is_some() {
            self.wrong.push(display_name("page[after]"));
        }
        position
    }

    /// Refuses the request if anything is wrong.
    ///
    /// # Errors
    /// 400 with everything that is wrong, each once.
    pub(super) fn check(mut self) -> Result<(), Problem> {
        self.wrong.sort_by_key(|name| {
            KNOWN.iter().position(|known| display_name(known) == *name).unwrap_or(KNOWN.len())
        });
        self.wrong.dedup();
        if self.wrong.is_empty() { Ok(()) } else { Err(Problem::InvalidParameters(self.wrong)) }
    }
}

/// Whether a parameter is `true`, by default not.
///
/// # Errors
/// 400 when it is neither `true` nor `false`, or there are several.
pub fn flag(request: &Request, name: &str) -> Result<bool, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known == name);
    match (values.next().as_ref().map(|(_, value)| value.as_ref()), values.next()) {
        (None | Some("false"), None) => Ok(false),
        (Some("true"), None) => Ok(true),
        _ => Err(Problem::InvalidParameters(vec![name.into()])),
    }
}

/// Whether JavaScript's `parseInt` reads zero or nothing in it.
fn is_no_number(text: &str) -> bool {
    let text = text.trim_start().trim_start_matches(['+', '-']);
    let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    text.get(..digits).is_none_or(|digits| digits.bytes().all(|digit| digit == b'0'))
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number >= 1)
}

/// The name by which a message calls a parameter.
fn display_name(name: &str) -> String {
    if name.starts_with("page[") { "page".into() } else { name.chars().take(MAX_TEXT).collect() }
}
