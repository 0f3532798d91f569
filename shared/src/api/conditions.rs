//! Entity tags, and the conditions of a request that name them (RFC 9110, 8.8.3 and 13.1).
//!
//! A tag is `"<definition>.<rest>"`: the part before the dot changes with what clients write, all of it with
//! whatever they are shown. `If-Match` is about the first, `If-None-Match` about all of it.

use lambda_http::Body;
use lambda_http::http::{HeaderName, HeaderValue, StatusCode, header};

use super::{Problem, Request, Response};

/// What a compressed answer's tag ends in: it is of the same state.
const COMPRESSED: &str = ".gz";

/// What a request says of the state it is for.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

/// What one of the headers says.
#[derive(Clone, Debug)]
enum Tags {
    /// `*`
    Any,
    These(Vec<Tag>),
}

#[derive(Clone, Debug)]
struct Tag {
    is_weak: bool,
    /// Without quotation marks.
    text: String,
}

/// What is there for a condition to be about.
#[derive(Clone, Copy, Debug)]
pub enum Present<'a> {
    /// Nothing that could be got at this path.
    Nothing,
    /// Something without a tag.
    Untagged,
    /// Something with this one.
    Tagged(&'a str),
}

/// Which of the two is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum False {
    /// `If-Match`
    Match,
    /// `If-None-Match`
    NoneMatch,
}

impl Conditions {
    /// Reads them from a request.
    ///
    /// # Errors
    /// 400 when one is neither `*` nor a list of entity tags: nobody knows what it was meant to keep from.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        Ok(Self {
            matches: read(request, header::IF_MATCH, "If-Match")?,
            none_matches: read(request, header::IF_NONE_MATCH, "If-None-Match")?,
        })
    }

    /// Whether there is only to be something new.
    #[must_use]
    pub const fn creates(&self) -> bool {
        matches!(self.none_matches, Some(Tags::Any))
    }

    /// The tags that one of must be the current one.
    pub(super) fn matches(&self) -> Option<impl Iterator<Item = &str>> {
        self.matches.as_ref().map(|tags| {
            let tags: &[Tag] = if let Tags::These(tags) = tags { tags } else { &[] };
            tags.iter().map(|tag| tag.text.as_str())
        })
    }

    /// Which of them is false, in the order of RFC 9110, 13.2.2.
    #[must_use]
    pub fn on(&self, current: Present<'_>) -> Option<False> {
        let named = |tags: &Tags, is_current: &dyn Fn(&Tag, &str) -> bool| match (tags, current) {
            (_, Present::Nothing) | (Tags::These(_), Present::Untagged) => false,
            (Tags::Any, _) => true,
            (Tags::These(tags), Present::Tagged(current)) => {
                let current = current.trim_matches('"');
                tags.iter().any(|tag| is_current(tag, current))
            }
        };
        let is_match =
            |tag: &Tag, current: &str| !tag.is_weak && definition(&tag.text) == definition(current);
        let is_same =
            |tag: &Tag, current: &str| tag.text.strip_suffix(COMPRESSED).unwrap_or(&tag.text) == current;
        if self.matches.as_ref().is_some_and(|tags| !named(tags, &is_match)) {
            return Some(False::Match);
        }
        self.none_matches.as_ref().is_some_and(|tags| named(tags, &is_same)).then_some(False::NoneMatch)
    }

    /// Refuses what is only to be done in another state.
    ///
    /// # Errors
    /// 412.
    pub fn check(&self, current: Present<'_>) -> Result<(), Problem> {
        match self.on(current) {
            None => Ok(()),
            Some(_) => Err(Problem::ConditionFalse(current.tag().map(Into::into))),
        }
    }

    /// The answer to a client that reads, if it is not to have what is there.
    ///
    /// # Errors
    /// 412.
    pub fn unread(&self, current: Present<'_>) -> Result<Option<Response>, Problem> {
        match self.on(current) {
            None => Ok(None),
            Some(False::Match) => Err(Problem::ConditionFalse(current.tag().map(Into::into))),
            Some(False::NoneMatch) => {
                let mut response = Response::default();
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                if let Some(tag) = current.tag() {
                    tagged(&mut response, tag)?;
                }
                Ok(Some(response))
            }
        }
    }

    /// The answer to `GET`, as far as the client is to have it.
    ///
    /// # Errors
    /// 412.
    pub(super) fn on_answer(&self, mut response: Response) -> Result<Response, Problem> {
        if self.matches.is_none() && self.none_matches.is_none() {
            return Ok(response);
        }
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let current = tag.map_or(Present::Untagged, Present::Tagged);
        match self.on(current) {
            None => Ok(response),
            Some(False::Match) => Err(Problem::ConditionFalse(current.tag().map(Into::into))),
            Some(False::NoneMatch) => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = Body::Empty;
                response.headers_mut().remove(header::CONTENT_TYPE);
                Ok(response)
            }
        }
    }
}

impl Present<'_> {
    const fn tag(&self) -> Option<&str> {
        if let Present::Tagged(tag) = self { Some(tag) } else { None }
    }
}

/// The part of a tag that is the definition's.
pub(super) fn definition(tag: &str) -> &str {
    tag.split_once('.').map_or(tag, |(definition, _)| definition)
}

/// Gives an answer this entity tag.
///
/// # Errors
/// 500 when it is none.
pub(super) fn tagged(response: &mut Response, tag: &str) -> Result<(), Problem> {
    let tag = HeaderValue::from_str(tag).map_err(|error| Problem::Internal(error.into()))?;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(())
}

/// What a header says, which may be on several lines.
fn read(request: &Request, name: HeaderName, shown: &str) -> Result<Option<Tags>, Problem> {
    let lines = request.headers().get_all(name);
    let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let tags = parse(&lines.join(","));
    tags.map(Some).ok_or_else(|| Problem::InvalidParameters(vec![shown.into()]))
}

fn parse(text: &str) -> Option<Tags> {
    if text.trim() == "*" {
        return Some(Tags::Any);
    }
    let (mut tags, mut rest) = (Vec::new(), text);
    loop {
        // Elements may be empty (5.6.1.2).
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(Tags::These(tags))
                .filter(|tags| !matches!(tags, Tags::These(tags) if tags.is_empty()));
        }
        let opaque = rest.strip_prefix("W/");
        let (tag, after) = opaque.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if tag.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        tags.push(Tag { is_weak: opaque.is_some(), text: tag.to_owned() });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}
