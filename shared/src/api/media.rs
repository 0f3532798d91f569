//! Media types: what a body is in, and what a client likes to have (RFC 9110, 12.5.1).

use lambda_http::http::header;

use super::Request;

/// The one of these media types that the client likes best: by quality, then the one that it names more
/// exactly, then earlier; the first of them when it says nothing, or wants none.
pub(super) fn preferred<'a>(request: &Request, offered: &[&'a str]) -> Option<&'a str> {
    let lines = request.headers().get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let ranges: Vec<Range> = lines.flat_map(|line| unquoted(line, ',')).filter_map(Range::parse).collect();
    let mut best = offered.first().copied();
    let mut highest = None;
    for media in offered {
        let matching = ranges.iter().enumerate().filter_map(|(place, range)| {
            Some((range.exactness(media)?, std::cmp::Reverse(place), range.quality))
        });
        // What is said of a type is what is said most exactly.
        let Some((exactness, place, quality)) = matching.max() else { continue };
        let rank = Some((quality, exactness, place));
        if quality > 0 && rank > highest {
            (best, highest) = (Some(*media), rank);
        }
    }
    best
}

/// One element of `Accept`.
struct Range<'a> {
    media: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = unquoted(text, ';');
        let media = parts.next()?.trim();
        let mut parameters = parts.filter_map(|part| part.split_once('='));
        let quality = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let quality = quality.map_or(Some(1000), |(_, value)| thousandths(value.trim()))?;
        Some(Self { media, quality }).filter(|range| !range.media.is_empty())
    }

    /// How exactly it names a type, if it does.
    fn exactness(&self, media: &str) -> Option<u8> {
        let kind = |text: &str| text.split('/').next().unwrap_or_default().to_ascii_lowercase();
        match self.media {
            range if range.eq_ignore_ascii_case(media) => Some(2),
            "*/*" => Some(0),
            range if range.ends_with("/*") && kind(range) == kind(media) => Some(1),
            _ => None,
        }
    }
}

/// A quality: up to three digits after the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

/// The parts of a header's value between these, but not those in quotation marks.
pub(super) fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |letter: char| {
        let is_end = letter == separator && !is_quoted;
        match letter {
            '"' if !is_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        is_escaped = is_quoted && letter == '\\' && !is_escaped;
        is_end
    })
}
