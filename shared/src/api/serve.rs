//! From a Lambda event to a handler and back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_http::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Body, LambdaEvent, RequestExt, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::fit::fitted;
use super::{Conditions, Deadline, Problem};
use crate::telemetry;

/// A request as a handler gets it.
pub type Request = lambda_http::Request;
/// An answer as a handler gives it.
pub type Response = lambda_http::Response<Body>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const VERSION: HeaderName = HeaderName::from_static("x-api-version");
/// The version of the contract.
const API_VERSION: HeaderValue = HeaderValue::from_static("1");
/// References in answers are cut after this many characters.
const MAX_INSTANCE: usize = 256;

/// What the gateway has decoded in a segment of a path, and a URI reference must not have (RFC 3986, 3.3).
const NOT_IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same of a whole path.
const NOT_IN_PATH: &AsciiSet = &NOT_IN_SEGMENT.remove(b'/');

/// What a URI's query cannot hold, though gateways pass it on.
const NOT_IN_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Runs a function whose `handle` answers requests with the help of what `open` gives, until the
/// sandbox ends.
///
/// # Errors
/// When `open` fails, or the runtime cannot be reached.
pub async fn serve<A, E, F, O>(
    open: impl AsyncFnOnce() -> Result<A, E>,
    handle: F,
) -> Result<(), lambda_http::Error>
where
    A: 'static,
    E: Into<lambda_http::Error>,
    F: Fn(&'static A, Request) -> O,
    O: Future<Output = Result<Response, Problem>>,
{
    telemetry::init()?;
    // The app lives as long as the sandbox.
    let app: &'static A = Box::leak(Box::new(open().await.map_err(Into::into)?));
    let handle = &handle;
    lambda_runtime::run(service_fn(|event| answer(app, handle, event))).await
}

/// Answers one event of an HTTP API (payload format 2.0). Every failure becomes an answer.
///
/// The event is read as its type at once: as `LambdaRequest` it would be read twice. What `lambda_http` does
/// to an answer is left out: it decodes the text by its charset, which is always UTF-8, and copies it.
///
/// # Errors
/// Never.
pub async fn answer<A, F, O>(
    app: &'static A,
    handle: F,
    event: LambdaEvent<ApiGatewayV2httpRequest>,
) -> Result<ApiGatewayV2httpResponse, Infallible>
where
    F: Fn(&'static A, Request) -> O,
    O: Future<Output = Result<Response, Problem>>,
{
    let LambdaEvent { mut payload, context } = event;
    repair(&mut payload);
    let request = Request::from(LambdaRequest::ApiGatewayV2(payload)).with_lambda_context(context);
    let is_safe = request.method().is_safe();
    let (answer, instance, request_id) = respond(app, handle, request).await;
    let answer = fitted(lambda_answer(answer)).unwrap_or_else(|| {
        // Whoever only reads can ask for less.
        let too_large = || Problem::Internal("the answer is too large".into());
        let problem = if is_safe { Problem::PageTooLarge } else { too_large() };
        log_problem(&problem, &request_id);
        lambda_answer(with_headers(problem.into_response(&instance, &request_id), &request_id))
    });
    Ok(answer)
}

/// The answer as the function gives it.
fn lambda_answer(answer: Response) -> ApiGatewayV2httpResponse {
    let (head, body) = answer.into_parts();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = head.status.as_u16().into();
    answer.headers = head.headers;
    answer.is_base64_encoded = matches!(body, Body::Binary(_));
    answer.body = Some(body).filter(|body| !matches!(body, Body::Empty));
    answer
}

/// The answer, with what a problem says of the request: its path, and its id.
async fn respond<A, F, O>(app: &'static A, handle: F, request: Request) -> (Response, String, String)
where
    F: Fn(&'static A, Request) -> O,
    O: Future<Output = Result<Response, Problem>>,
{
    let start = Instant::now();
    let is_head = request.method() == Method::HEAD;
    let instance = cut(reference(&request));
    let reads = is_head || request.method() == Method::GET;
    let conditions = reads.then(|| Conditions::of(&request));
    let request_id = request_id(&request);
    let route = route_key(&request).to_owned();
    let deadline = Deadline::of(&request);
    // Boxed, because each layer from here to `main` would have room for all that a handler holds, and move it.
    let work = Box::pin(handle(app, request));
    let work = AssertUnwindSafe(deadline.bound(work)).catch_unwind();
    let result = work.await.unwrap_or_else(|_| Err(Problem::Internal("the handler panicked".into())));
    let result = result.and_then(|response| match conditions {
        // Whoever reads is told alike whatever it reads.
        Some(conditions) if response.status() == StatusCode::OK => conditions?.on_answer(response),
        _ => Ok(response),
    });
    let mut response = result.unwrap_or_else(|problem| {
        log_problem(&problem, &request_id);
        problem.into_response(&instance, &request_id)
    });
    if is_head {
        // What the answer to GET would have; one without a body says nothing.
        let length = response.body().as_ref().len();
        if length > 0 {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        *response.body_mut() = Body::Empty;
    }
    let response = with_headers(response, &request_id);
    telemetry::answered(&route, &request_id, response.status(), start.elapsed());
    (response, instance, request_id)
}

/// With the headers that every answer has.
fn with_headers(mut response: Response, request_id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(VERSION, API_VERSION);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What went wrong with the parts of a request: of each kind one is logged, with how many there were.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<BTreeMap<StatusCode, (String, usize)>>);

impl Failures {
    /// Notes a part that went wrong. What a client did wrong is logged as ever.
    pub(super) fn note(&self, problem: &Problem, request_id: &str) {
        let status = problem.status();
        if !problem.is_refusal() || status < StatusCode::INTERNAL_SERVER_ERROR {
            return log_problem(problem, request_id);
        }
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.entry(status).or_insert_with(|| (chain(problem), 0)).1 += 1;
    }

    /// Logs what there is.
    pub(super) fn log(self, request_id: &str) {
        for (chain, parts) in self.0.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
            tracing::error!(request.id = %request_id, error = %chain, parts, "failed");
        }
    }
}

/// The whole chain of causes, once; what a client did wrong is no error of ours.
pub(super) fn log_problem(problem: &Problem, request_id: &str) {
    if !problem.is_refusal() {
        return;
    }
    if problem.status() < StatusCode::INTERNAL_SERVER_ERROR {
        let check = problem.failed_check();
        tracing::debug!(request.id = %request_id, problem = %problem, check, "refused");
        return;
    }
    tracing::error!(request.id = %request_id, error = %chain(problem), "failed");
}

/// A problem with all its causes.
fn chain(problem: &Problem) -> String {
    let mut chain = problem.to_string();
    let mut source = std::error::Error::source(problem);
    while let Some(cause) = source {
        chain.push_str(": ");
        chain.push_str(&cause.to_string());
        source = cause.source();
    }
    chain
}

/// The path, as the gateway decoded it.
#[must_use]
pub fn path(request: &Request) -> &str {
    request.raw_http_path()
}

/// The same as a reference (RFC 3986, 4.1) that leads there again: what the gateway has decoded is encoded. A
/// separator in a parameter is told from one of the path by the pattern of the route.
pub(super) fn reference(request: &Request) -> String {
    let path = path(request);
    let Some((_, pattern)) = route_key(request).split_once(' ') else { return encoded_path(path) };
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    if path.bytes().all(is_plain) && slashes(path) == slashes(pattern) {
        return path.to_owned();
    }
    let parameters = request.path_parameters_ref();
    let segments = pattern.split('/').map(|segment| {
        let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let value = name.and_then(|name| parameters?.first(name.trim_end_matches('+')));
        utf8_percent_encode(value.unwrap_or(segment), NOT_IN_SEGMENT).to_string()
    });
    segments.collect::<Vec<_>>().join("/")
}

/// A path that the gateway has decoded, encoded again.
#[must_use]
pub fn encoded_path(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_PATH).to_string()
}

/// A reference that is not too long, and does not end in the middle of what is encoded.
fn cut(mut reference: String) -> String {
    if reference.len() > MAX_INSTANCE {
        let rest = reference.get(MAX_INSTANCE - 2..MAX_INSTANCE).unwrap_or_default();
        let half = rest.find('%').map_or(0, |place| 2 - place);
        reference.truncate(MAX_INSTANCE - half);
    }
    reference
}

/// The gateway's name for the route, such as `GET /flows/{id}` or `$default`: no path that a client
/// could choose.
fn route_key(request: &Request) -> &str {
    let key = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.route_key.as_deref(),
        _ => None,
    };
    key.filter(|key| !key.is_empty()).unwrap_or("$default")
}

pub(super) fn request_id(request: &Request) -> String {
    let gateway = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    gateway
        .or_else(|| request.lambda_context_ref().map(|context| context.request_id.clone()))
        .unwrap_or_default()
}

/// Makes an event out of which a request can be built whatever the client sent: the library panics
/// over a host or a query that is none.
fn repair(event: &mut ApiGatewayV2httpRequest) {
    event.headers.remove(header::HOST);
    event.request_context.domain_name = None;
    if !event.raw_path.as_deref().is_some_and(|path| path.starts_with('/')) {
        event.raw_path = Some("/".into());
    }
    if let Some(query) = &mut event.raw_query_string {
        *query = utf8_percent_encode(query, NOT_IN_QUERY).to_string();
    }
}
