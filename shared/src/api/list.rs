//! The parameters of `GET /flows`, and its answer.

use lambda_http::http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use super::cursor;
use super::parameters::{DEFAULT_SIZE, MAX_TEXT, Parameters};
use super::respond::{body, enveloped};
use super::serve::reference;
use super::{Problem, Request, Response, scope};
use crate::flow::{FlowView, SecretId, ShownDocument, Status};
use crate::identity::Caller;
use crate::store::{FlowPage, ListFilter, ListOrder, ListQuery, Paging, Position, SortKey};

/// Reads the parameters. Unknown ones are ignored.
///
/// # Errors
/// 400 with everything that is wrong, in upstream's order.
pub fn list_query(request: &Request, caller: &Caller) -> Result<ListQuery, Problem> {
    let mut parameters = Parameters::read(request);
    let deleted = parameters.parse("filter[deleted]", |text| text.parse().ok()).unwrap_or_default();
    let status = parameters.parse("filter[status]", |text| match text {
        "1" => Some(Status::Active),
        "0" => Some(Status::Inactive),
        name => name.parse().ok(),
    });
    let kind = parameters.parse("filter[type]", text);
    // As upstream reads it: nobody is no user to filter by.
    let user = parameters
        .parse("filter[user]", |user| if user.is_empty() { Some(None) } else { text(user).map(Some) });
    let from_template = parameters.parse("filter[fromTemplate]", |text| text.parse().ok());
    let order = parameters.parse("sort", order).unwrap_or_default();
    let search = parameters.parse("search", |text| {
        (text.chars().count() <= MAX_TEXT).then(|| text.replace('\0', "").trim().to_owned())
    });
    let search = search.filter(|text| !text.is_empty());
    let filter =
        ListFilter { status, kind, user: user.flatten(), from_template, search, secret: None, deleted };
    paged(parameters, caller, filter, order)
}

/// The flows that use a secret, as far as the caller may see them: `page[size]` and `page[after]`.
///
/// # Errors
/// 400 with everything that is wrong.
pub fn usage_query(request: &Request, caller: &Caller, secret: SecretId) -> Result<ListQuery, Problem> {
    let filter = ListFilter { secret: Some(secret), ..ListFilter::default() };
    let mut query = paged(Parameters::read(request), caller, filter, ListOrder::default())?;
    // How many there are that others see is not said.
    if query.paging == Paging::Number(1) {
        query.paging = Paging::After(None);
    }
    if matches!(query.paging, Paging::Number(_)) {
        return Err(Problem::InvalidParameters(vec!["page".into()]));
    }
    Ok(query)
}

fn paged(
    mut parameters: Parameters,
    caller: &Caller,
    filter: ListFilter,
    order: ListOrder,
) -> Result<ListQuery, Problem> {
    let (size, number) = (parameters.page_size(DEFAULT_SIZE), parameters.page_number());
    let paging = Paging::Number(number.unwrap_or(1));
    let mut query = ListQuery { scope: scope(caller), filter, order, size, paging };
    let list = list_name(caller, &query);
    if let Some(position) = parameters.page_after(number, |text| cursor::decode(text, &list)) {
        query.paging = Paging::After(position);
    }
    parameters.check()?;
    Ok(query)
}

/// The cursor that continues a list of flows after this one.
pub(super) fn flow_cursor(
    caller: &Caller,
    query: &ListQuery,
    next: &Position,
) -> Result<String, serde_json::Error> {
    cursor::encode(next, &list_name(caller, query))
}

/// Which list a cursor belongs to.
fn list_name(caller: &Caller, query: &ListQuery) -> String {
    cursor::fingerprint(&(&caller.sub, &caller.tenant, caller.is_admin(), &query.filter, &query.order))
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
    page: &FlowPage<ShownDocument>,
) -> Result<Response, Problem> {
    let number = if let Paging::Number(number) = query.paging { Some(number) } else { None };
    let meta = page_meta(query.size, number, page.total);
    let next = page.next.as_ref().map(|next| flow_cursor(caller, query, next)).transpose()?;
    let flows: Vec<_> =
        page.flows.iter().map(|flow| FlowView::from(flow).json()).collect::<Result<_, _>>()?;
    listed(request, &format!("[{}]", flows.join(",")), meta, next)
}

/// The answer with one page of anything, a JSON array: where the next one begins is in `meta` and in a header.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub(super) fn listed(
    request: &Request,
    data: &str,
    mut meta: Map<String, Value>,
    next: Option<String>,
) -> Result<Response, Problem> {
    if let Some(next) = &next {
        meta.insert("next".into(), next.as_str().into());
    }
    let mut response = body(StatusCode::OK, enveloped(data, &meta)?);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(link) = next.and_then(|next| HeaderValue::from_str(&link(request, &next)).ok()) {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

/// `meta` of a page.
pub(super) fn page_meta(size: usize, number: Option<usize>, total: Option<usize>) -> Map<String, Value> {
    let mut meta = Map::new();
    meta.insert("perPage".into(), size.into());
    if let (Some(total), Some(number)) = (total, number) {
        meta.insert("total".into(), total.into());
        meta.insert("page".into(), number.into());
        meta.insert("totalPages".into(), total.div_ceil(size).into());
    }
    meta
}

/// `Link: <…>; rel="next"` (RFC 8288): this request with the cursor as its page.
fn link(request: &Request, next: &str) -> String {
    let parameters = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| !matches!(name.as_ref(), "page[after]" | "page[number]"));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .append_pair("page[after]", next)
        .finish();
    format!("<{}?{query}>; rel=\"next\"", reference(request))
}
