//! The parameters of `GET /flows`, and its answer.

use std::collections::BTreeMap;

use lambda_http::http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use super::cursor;
use super::respond::json;
use super::{Problem, Request, Response, scope};
use crate::flow::{FlowView, Status};
use crate::identity::Caller;
use crate::store::{FlowPage, ListFilter, ListOrder, ListQuery, Paging, SortKey};

const DEFAULT_SIZE: usize = 10;
const MAX_SIZE: usize = 1000;
const MAX_TEXT: usize = 256;

const KNOWN: [&str; 9] = [
    "filter[status]",
    "filter[type]",
    "filter[user]",
    "filter[fromTemplate]",
    "sort",
    "search",
    "page[size]",
    "page[number]",
    "page[after]",
];

/// Reads the parameters. Unknown ones are ignored.
///
/// # Errors
/// 400 with everything that is wrong, in upstream's order.
pub fn list_query(request: &Request, caller: &Caller) -> Result<ListQuery, Problem> {
    let mut wrong = Vec::new();
    let parameters = parameters(request, &mut wrong);
    let mut read = Reader { parameters: &parameters, wrong: &mut wrong };

    let status = read.parse("filter[status]", |text| match text {
        "1" => Some(Status::Active),
        "0" => Some(Status::Inactive),
        name => name.parse().ok(),
    });
    let kind = read.parse("filter[type]", text);
    let user = read.parse("filter[user]", text);
    let from_template = read.parse("filter[fromTemplate]", |text| text.parse().ok());
    let order = read.parse("sort", order).unwrap_or_default();
    let search = read.parse("search", |text| {
        (text.chars().count() <= MAX_TEXT).then(|| text.replace('\0', "").trim().to_owned())
    });
    let search = search.filter(|text| !text.is_empty());
    let number = |text: &str| text.parse().ok().filter(|number| *number >= 1);
    let size = read
        .parse("page[size]", |text| number(text).filter(|size| *size <= MAX_SIZE))
        .unwrap_or(DEFAULT_SIZE);
    let page = read.parse("page[number]", number);

    let filter = ListFilter { status, kind, user, from_template, search };
    let mut query =
        ListQuery { scope: scope(caller), filter, order, size, paging: Paging::Number(page.unwrap_or(1)) };
    if let Some(after) = parameters.get("page[after]") {
        let position =
            if after.is_empty() { Some(None) } else { cursor::decode(after, caller, &query).map(Some) };
        match position {
            Some(position) if page.is_none() => query.paging = Paging::After(position),
            _ => wrong.push("page".into()),
        }
    }
    // In upstream's order, each once.
    wrong.sort_by_key(|name| {
        KNOWN.iter().position(|known| display_name(known) == *name).unwrap_or(KNOWN.len())
    });
    wrong.dedup();
    if wrong.is_empty() { Ok(query) } else { Err(Problem::InvalidParameters(wrong)) }
}

/// The parameters by name. One that is repeated is wrong, and so is one that continues a known name
/// with more brackets.
fn parameters(request: &Request, wrong: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        let extends = |known: &&&str| name.strip_prefix(**known).is_some_and(|rest| rest.starts_with('['));
        if let Some(known) = KNOWN.iter().find(extends) {
            wrong.push(display_name(known));
        } else if parameters.contains_key(name.as_ref()) {
            wrong.push(display_name(&name));
        }
        parameters.insert(name.into_owned(), value.into_owned());
    }
    parameters
}

/// The name by which a message calls a parameter.
fn display_name(name: &str) -> String {
    if name.starts_with("page[") { "page".into() } else { name.chars().take(MAX_TEXT).collect() }
}

struct Reader<'a> {
    parameters: &'a BTreeMap<String, String>,
    wrong: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn parse<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = parse(self.parameters.get(name)?);
        if value.is_none() {
            self.wrong.push(display_name(name));
        }
        value
    }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty() && text.chars().count() <= MAX_TEXT).then(|| text.to_owned())
}

fn order(text: &str) -> Option<ListOrder> {
    let (descending, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
    let key = match name {
        "createdAt" => SortKey::CreatedAt,
        "updatedAt" => SortKey::UpdatedAt,
        "name" => SortKey::Name,
        "" if !descending => SortKey::default(),
        _ => return None,
    };
    Some(ListOrder { key, descending })
}

/// The answer with one page of flows.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn page_response(
    request: &Request,
    caller: &Caller,
    query: &ListQuery,
    page: &FlowPage,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct List<'a> {
        data: Vec<FlowView<'a>>,
        meta: Map<String, Value>,
    }

    let mut meta = Map::new();
    if let (Some(total), Paging::Number(number)) = (page.total, &query.paging) {
        meta.insert("total".into(), total.into());
        meta.insert("page".into(), (*number).into());
        meta.insert("perPage".into(), query.size.into());
        meta.insert("totalPages".into(), total.div_ceil(query.size).into());
    } else {
        meta.insert("perPage".into(), query.size.into());
    }
    let next = page.next.as_ref().map(|position| cursor::encode(caller, query, position)).transpose()?;
    if let Some(next) = &next {
        meta.insert("next".into(), next.as_str().into());
    }
    let mut response =
        json(StatusCode::OK, &List { data: page.flows.iter().map(Into::into).collect(), meta })?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(link) = next.and_then(|next| HeaderValue::from_str(&link(request, &next)).ok()) {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

/// `Link: <…>; rel="next"` (RFC 8288): this request with the cursor as its page.
fn link(request: &Request, next: &str) -> String {
    let parameters = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| !matches!(name.as_ref(), "page[after]" | "page[number]"));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .append_pair("page[after]", next)
        .finish();
    format!("</flows?{query}>; rel=\"next\"")
}
