//! The parameters of the versions' routes, and their answers.

use lambda_http::RequestExt;
use lambda_http::http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use super::body::JSON_PATCH;
use super::conditions::tagged;
use super::list::{listed, page_meta};
use super::media::preferred;
use super::parameters::{DEFAULT_SIZE, Parameters};
use super::respond::{body, json as answer, version_etag};
use super::{App, Problem, Request, Response, Wording, cursor, scope};
use crate::flow::{Difference, Document, FinalDocument, Flow, FlowId, json_patch, tag_of};
use crate::identity::Caller;
use crate::store::Version;

/// In what a comparison is answered.
const ANSWERS: [&str; 2] = ["application/json", JSON_PATCH];

/// A patch in JSON; where it stands in JSON once more, it may take twice as much of a function's 6 MB.
const MAX_PATCH_BYTES: usize = 2_500_000;

/// The number of the version in the path.
///
/// # Errors
/// 404 when it is no number that a version can have.
pub fn version_number(request: &Request) -> Result<u64, Problem> {
    let parameters = request.path_parameters_ref();
    let text = parameters.and_then(|parameters| parameters.first("version")).unwrap_or_default();
    number(text).ok_or(Problem::VersionNotFound)
}

/// From 1 on, in digits alone, as keys have room for.
fn number(text: &str) -> Option<u64> {
    let is_number = text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number >= 1)
}

/// A flow of the caller's. One call.
///
/// # Errors
/// 404.
pub async fn find_flow(app: &App, caller: &Caller, id: FlowId, wording: Wording) -> Result<Flow, Problem> {
    app.store.find(id, &scope(caller)).await?.ok_or(Problem::FlowNotFound(wording))
}

/// A version of a flow, which may be the one it is now. Two calls, none for that one.
///
/// # Errors
/// 404.
pub async fn find_version(app: &App, flow: &Flow, number: u64) -> Result<(Version, FinalDocument), Problem> {
    if number == flow.revision {
        return Ok((Version::of(flow)?, flow.document.clone()));
    }
    if number > flow.revision {
        return Err(Problem::VersionNotFound);
    }
    app.store.version(flow.id, number).await?.ok_or(Problem::VersionNotFound)
}

/// A version as clients see it.
#[derive(Serialize)]
struct VersionView<'a> {
    number: u64,
    /// Empty for the platform.
    author: &'a str,
    time: String,
    summary: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'a Document>,
}

impl<'a> VersionView<'a> {
    fn new(version: &'a Version, flow: Option<&'a Document>) -> Self {
        Self {
            number: version.revision,
            author: &version.author.user,
            time: version.created_at.to_string(),
            summary: version.summary.as_deref().unwrap_or("Created"),
            flow,
        }
    }
}

/// The answer with one page of a flow's versions, the newest first: `page[size]` and `page[after]`. At
/// most one call.
///
/// # Errors
/// 400 with everything that is wrong with the parameters.
pub async fn versions_response(app: &App, request: &Request, flow: &Flow) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(request);
    let (size, number) = (parameters.page_size(DEFAULT_SIZE), parameters.page_number());
    let list = cursor::fingerprint(&("versions", flow.id));
    let after = parameters.page_after(number, |text| cursor::decode::<u64>(text, &list)).flatten();
    parameters.check()?;
    if number.is_some_and(|number| number > 1) {
        return Err(Problem::InvalidParameters(vec!["page".into()]));
    }
    let current = Version::of(flow)?;
    let before = after.unwrap_or(current.revision).min(current.revision);
    let is_first = current.is_first();
    let current = after.is_none().then_some(current);
    let page = match size - usize::from(current.is_some()) {
        // Whether there is a next page is known without asking.
        _ if is_first => crate::store::VersionPage { versions: Vec::new(), next: None },
        0 => crate::store::VersionPage { versions: Vec::new(), next: Some(before) },
        rest => app.store.versions(flow.id, before, rest).await?,
    };
    let versions = current.iter().chain(&page.versions).map(|version| VersionView::new(version, None));
    let next = page.next.map(|next| cursor::encode(&next, &list)).transpose()?;
    let versions = serde_json::to_string(&versions.collect::<Vec<_>>())?;
    listed(request, &versions, page_meta(size, None, None), next)
}

/// The answer with one version and its document; it never changes.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn version_response(version: &Version, document: &Document) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Enveloped<'a> {
        data: VersionView<'a>,
        meta: Value,
    }

    let data = VersionView::new(version, Some(document));
    let mut response = answer(StatusCode::OK, &Enveloped { data, meta: json!({}) })?;
    tagged(&mut response, &version_etag(version.revision, &tag_of(&version.hash)))?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The two versions that a client wants compared: `from`, by default the one before, and `to`, by default the
/// one that the flow is. Before the first one there is none, so that is compared with itself. At most four
/// calls.
///
/// # Errors
/// 400 with everything that is wrong, 404.
pub async fn compared_versions(
    app: &App,
    request: &Request,
    flow: &Flow,
) -> Result<[(Version, FinalDocument); 2], Problem> {
    let mut parameters = Parameters::read(request);
    let (from, to) = (parameters.parse("from", number), parameters.parse("to", number));
    parameters.check()?;
    let to = find_version(app, flow, to.unwrap_or(flow.revision)).await?;
    let from = match from {
        None if to.0.is_first() => to.clone(),
        from => find_version(app, flow, from.unwrap_or(to.0.revision.saturating_sub(1))).await?,
    };
    Ok([from, to])
}

/// The operations (RFC 6902) that make the one of the other, in JSON, if a function can answer as much.
pub(super) fn patch_json(from: &Document, to: &Document) -> Option<String> {
    let json = json_patch(from, to).and_then(|patch| serde_json::to_string(&patch)).ok();
    json.filter(|json| json.len() <= MAX_PATCH_BYTES)
}

/// The answer with what has changed from one version to another: for people, or as operations (RFC
/// 6902) when the client likes these better.
///
/// # Errors
/// 413 when these take more than a function can answer, 500 when it cannot be written as JSON.
pub fn difference_response(
    request: &Request,
    (from, from_document): &(Version, FinalDocument),
    (to, to_document): &(Version, FinalDocument),
) -> Result<Response, Problem> {
    let mut response = if preferred(request, &ANSWERS) == Some(JSON_PATCH) {
        let patch = patch_json(from_document, to_document).ok_or(Problem::TooLarge)?;
        let mut response = body(StatusCode::OK, patch);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_PATCH));
        response
    } else {
        let difference = Difference::between(from_document, to_document);
        let mut data = serde_json::to_value(&difference)?;
        if let Value::Object(members) = &mut data {
            members.insert("from".into(), from.revision.into());
            members.insert("to".into(), to.revision.into());
            members.insert("summary".into(), difference.summary().into());
        }
        answer(StatusCode::OK, &json!({"data": data, "meta": {}}))?
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{ComponentCheck, read_fields};

    #[test]
    fn a_patch_that_no_answer_has_room_for_is_none() {
        let document = |settings: &str| {
            let body = format!(r#"{{"graph":{{"nodes":[{{"id":"a"}}]}},"flowSettings":{settings}}}"#);
            let raw: &serde_json::value::RawValue = serde_json::from_str(&body).unwrap();
            Document::parse(read_fields(raw).unwrap(), ComponentCheck::AtStart.into()).unwrap().document
        };
        let text = format!("\"{}\"", "x".repeat(10_000));
        let many = |count: usize| document(&format!("[{}]", vec![text.as_str(); count].join(",")));
        assert!(patch_json(&document("0"), &many(200)).is_some());
        assert!(patch_json(&document("0"), &many(300)).is_none());
    }
}
