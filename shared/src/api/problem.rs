use std::collections::BTreeMap;
use std::str::FromStr;

use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::Response;
use super::body::PATCHES;
use super::effect::REPLAYED;
use super::precondition::Current;
use super::respond::{MAX_ENTRIES, body};
use crate::flow::{
    EditError, Fault, Flow, FlowId, Help, MAX_FAULTS, PatchError, Role, StartError, Status, bounded,
    more_faults,
};
use crate::identity::AuthError;
use crate::json::join;
use crate::secrets::{SecretError, VaultError};
use crate::store::{self, StoredAnswer};

/// Everything that can be wrong with a request. The only place that knows HTTP statuses.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// There is no caller.
    #[error("the caller is not known")]
    Unauthenticated(#[source] AuthError),
    /// The caller may not do this; the text clients know for it.
    #[error("{0}")]
    MissingPermission(&'static str),
    /// The id in the path is not well-formed.
    #[error("the id is not well-formed")]
    InvalidId,
    /// The id that was chosen for a new flow is of a time to come.
    #[error("the id is of the future")]
    FutureId,
    /// Query parameters are wrong; their names.
    #[error("parameters are not valid")]
    InvalidParameters(Vec<String>),
    /// The body is not what the route reads.
    #[error("the body is not valid: {0}")]
    InvalidBody(String),
    /// Some operations of the body are none.
    #[error("operations are not valid")]
    InvalidOperations(Vec<Fault>),
    /// A name is there twice in one object of the body; where.
    #[error("the body has a name twice")]
    RepeatedName(String),
    /// The body is in a language the route does not read.
    #[error("the media type is not supported")]
    UnsupportedMediaType,
    /// The body is in a coding that is not read.
    #[error("the content coding is not supported")]
    UnsupportedCoding,
    /// The body is in a language in which no flow is patched.
    #[error("the language of the patch is not supported")]
    UnsupportedPatch,
    /// A patch has no place in the flow, or its test fails.
    #[error("the patch does not fit the flow")]
    PatchNotApplicable(Fault),
    /// The body is larger than 1 MiB, or a flow larger than an item.
    #[error("the request is too large")]
    TooLarge,
    /// A page does not fit an answer.
    #[error("the page is too large")]
    PageTooLarge,
    /// The flow obeys not every rule.
    #[error("the flow is not valid")]
    InvalidFlow(Vec<Fault>),
    /// Nothing of a list was stored: what is wrong with each item, as JSON.
    #[error("nothing of the list was stored")]
    NothingStored(Box<RawValue>),
    /// The flow lacks what it needs to run.
    #[error("the flow is not complete")]
    IncompleteFlow(Vec<Fault>),
    /// The flow holds literal credentials, and that is not allowed here.
    #[error("the flow holds credentials")]
    LiteralCredentials(Vec<Fault>),
    /// The secret obeys not every rule.
    #[error("the secret is not valid")]
    InvalidSecret(Vec<Fault>),
    /// There is no such secret, or it is not the caller's.
    #[error("there is no such secret")]
    SecretNotFound,
    /// Flows that run use the secret.
    #[error("the secret is in use")]
    SecretInUse(Vec<Use>),
    /// There is no such flow, or it is not the caller's; in the route's words.
    #[error("there is no such flow")]
    FlowNotFound(Wording),
    /// The caller's role in the flow is lower than this one.
    #[error("the caller's role in the flow is too low")]
    MissingRole(Role),
    /// The caller's role in the flow is too low to give others these roles.
    #[error("the caller may not give these roles")]
    RolesOfOthers(Vec<Fault>),
    /// The flow is of another tenant than the caller, who cannot start it.
    #[error("the flow is of another tenant")]
    OtherTenant,
    /// The caller was deleted, and its token has not ended yet.
    #[error("the caller was deleted")]
    CallerGone,
    /// The flow runs.
    #[error("the flow is not inactive")]
    NotInactive(Status, Wording),
    /// The last run has not ended.
    #[error("the flow is stopping")]
    Stopping,
    /// The flow is not in the state that the client says.
    #[error("the flow has been changed")]
    PreconditionFailed(Box<Current>),
    /// A condition of the request is false; with the tag of what is there.
    #[error("a condition is false")]
    ConditionFalse(Option<String>),
    /// The client has to say which state it changes.
    #[error("the request has no condition")]
    PreconditionRequired,
    /// There is no such route.
    #[error("there is no such route")]
    RouteNotFound,
    /// The route has other methods.
    #[error("the method is not allowed")]
    MethodNotAllowed(Vec<&'static str>),
    /// No problem: this request, or one that is only validated, has its answer already.
    #[error("the request has its answer")]
    Answered(Box<StoredAnswer>),
    /// The key of the request belongs to another one.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// The same request is under way.
    #[error("the same request is under way")]
    UnderWay,
    /// A flow has the chosen id already, or had it until lately.
    #[error("the id is taken")]
    IdTaken,
    /// The flow has no such version, or not any more.
    #[error("there is no such version")]
    VersionNotFound,
    /// Not now: later.
    #[error("not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Our fault.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A flow that uses a secret; without name and id when the caller may not see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    flow: Option<(FlowId, String)>,
    status: Status,
}

impl Use {
    /// Of this flow, which the caller sees or not.
    #[must_use]
    pub fn of(flow: &Flow, is_seen: bool) -> Self {
        let name = || flow.document.name.value().cloned().unwrap_or_default();
        Self { flow: is_seen.then(|| (flow.id, name())), status: flow.status }
    }

    fn entry(&self, code: u16) -> Map<String, Value> {
        let message = match &self.flow {
            Some((_, name)) => format!("Secret is used by flow \"{name}\", which is {}", self.status),
            None => format!("Secret is used by a flow of somebody else, which is {}", self.status),
        };
        let mut entry = entry(&message, code, "secret.in_use", None);
        if let Some((id, name)) = &self.flow {
            entry.insert("flowId".into(), id.to_string().into());
            entry.insert("flowName".into(), name.as_str().into());
        }
        entry.insert("status".into(), self.status.as_str().into());
        entry
    }
}

/// The routes say the same in different words, and clients know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wording {
    /// `GET /flows/{id}`
    Get,
    /// `PATCH` and `DELETE /flows/{id}`
    Write,
    /// start and stop
    Control,
    /// An item of `PATCH /flows/bulk`, with the id as it was sent.
    Item(String),
}

impl Wording {
    fn not_found(&self) -> String {
        match self {
            Self::Get => "No flow found".into(),
            Self::Write => "Flow not found".into(),
            Self::Control => "No flow with this ID found".into(),
            Self::Item(id) => format!("Flow {id} not found"),
        }
    }

    fn not_inactive(&self, status: Status) -> String {
        match self {
            Self::Item(id) => format!("Flow {id} is not inactive. Current status: {status}"),
            _ => format!("Flow is not inactive. Current status: {status}"),
        }
    }
}

/// What a kind of problem is: status, the last part of its `type`, and its title.
struct Kind(StatusCode, &'static str, &'static str);

impl Problem {
    #[allow(clippy::too_many_lines, reason = "it is a table")]
    fn kind(&self) -> Kind {
        match self {
            Self::Unauthenticated(AuthError::NoKeys(_)) | Self::Unavailable(_) => Kind(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The service is not available at the moment",
            ),
            Self::Unauthenticated(_) => {
                Kind(StatusCode::UNAUTHORIZED, "unauthenticated", "A valid bearer token is needed")
            }
            Self::MissingPermission(_) => {
                Kind(StatusCode::FORBIDDEN, "missing-permission", "The token lacks a permission")
            }
            Self::InvalidId | Self::FutureId | Self::InvalidParameters(_) => {
                Kind(StatusCode::BAD_REQUEST, "invalid-parameter", "A parameter is not valid")
            }
            Self::InvalidBody(_) | Self::InvalidOperations(_) | Self::RepeatedName(_) => {
                Kind(StatusCode::BAD_REQUEST, "invalid-body", "The body cannot be read")
            }
            Self::UnsupportedMediaType => {
                Kind(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON")
            }
            Self::UnsupportedCoding => Kind(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must come as it is, in no coding",
            ),
            Self::UnsupportedPatch => Kind(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The patch must be in another language",
            ),
            Self::PatchNotApplicable(_) => {
                Kind(StatusCode::CONFLICT, "patch-not-applicable", "The patch does not fit the flow")
            }
            Self::TooLarge => Kind(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::PageTooLarge => {
                Kind(StatusCode::PAYLOAD_TOO_LARGE, "page-too-large", "The page is too large")
            }
            Self::InvalidFlow(_) => {
                Kind(StatusCode::BAD_REQUEST, "validation-failed", "The flow is not valid")
            }
            Self::NothingStored(_) => {
                Kind(StatusCode::BAD_REQUEST, "nothing-stored", "Nothing of the list was stored")
            }
            Self::IncompleteFlow(_) => Kind(
                StatusCode::UNPROCESSABLE_ENTITY,
                "incomplete-flow",
                "The flow lacks what it needs to run",
            ),
            Self::LiteralCredentials(_) => {
                Kind(StatusCode::UNPROCESSABLE_ENTITY, "literal-credentials", "The flow holds credentials")
            }
            Self::InvalidSecret(_) => {
                Kind(StatusCode::BAD_REQUEST, "validation-failed", "The secret is not valid")
            }
            Self::SecretNotFound => {
                Kind(StatusCode::NOT_FOUND, "secret-not-found", "There is no such secret")
            }
            Self::SecretInUse(_) => {
                Kind(StatusCode::CONFLICT, "secret-in-use", "Flows that run use the secret")
            }
            Self::FlowNotFound(_) => Kind(StatusCode::NOT_FOUND, "flow-not-found", "There is no such flow"),
            Self::MissingRole(_) | Self::RolesOfOthers(_) => {
                Kind(StatusCode::FORBIDDEN, "missing-role", "The caller's role in the flow is too low")
            }
            Self::CallerGone => Kind(StatusCode::FORBIDDEN, "caller-deleted", "The caller was deleted"),
            Self::OtherTenant => Kind(StatusCode::FORBIDDEN, "other-tenant", "The flow is of another tenant"),
            Self::NotInactive(..) => {
                Kind(StatusCode::CONFLICT, "flow-not-inactive", "The flow is not inactive")
            }
            Self::PreconditionFailed(_) => {
                Kind(StatusCode::PRECONDITION_FAILED, "flow-changed", "The flow has been changed meanwhile")
            }
            Self::ConditionFalse(_) => Kind(
                StatusCode::PRECONDITION_FAILED,
                "condition-false",
                "A condition of the request is false",
            ),
            Self::PreconditionRequired => Kind(
                StatusCode::PRECONDITION_REQUIRED,
                "if-match-required",
                "The request must say which state of the flow it changes",
            ),
            Self::Answered(answer) => {
                let status = StatusCode::from_u16(answer.status).unwrap_or_default();
                Kind(status, "answered", "The request has its answer")
            }
            Self::KeyReused => Kind(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The idempotency key belongs to another request",
            ),
            Self::UnderWay => {
                Kind(StatusCode::CONFLICT, "request-under-way", "The same request is under way")
            }
            Self::IdTaken => Kind(StatusCode::PRECONDITION_FAILED, "flow-exists", "The id is taken"),
            Self::VersionNotFound => {
                Kind(StatusCode::NOT_FOUND, "version-not-found", "The flow has no such version")
            }
            Self::Stopping => Kind(StatusCode::CONFLICT, "flow-stopping", "The flow is stopping"),
            Self::RouteNotFound => Kind(StatusCode::NOT_FOUND, "route-not-found", "There is no such route"),
            Self::MethodNotAllowed(_) => {
                Kind(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The route has other methods")
            }
            Self::Internal(_) => {
                Kind(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here")
            }
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// The entries of `errors[]`: upstream's texts and numbers, a stable `reason`, and a `pointer`
    /// into the body where there is one. At most about `max` of them.
    #[must_use]
    #[allow(clippy::too_many_lines, reason = "it is a table")]
    pub fn entries(&self, max: usize) -> Vec<Map<String, Value>> {
        let code = self.status().as_u16();
        let entry = |message: &str, reason: &str| entry(message, code, reason, None);
        match self {
            Self::InvalidFlow(faults)
            | Self::IncompleteFlow(faults)
            | Self::LiteralCredentials(faults)
            | Self::RolesOfOthers(faults)
            | Self::InvalidOperations(faults)
            | Self::InvalidSecret(faults) => {
                bounded(faults.iter().cloned(), max).iter().map(|fault| fault_entry(fault, code)).collect()
            }
            Self::InvalidParameters(names) => names
                .iter()
                .map(|name| entry(&format!("Invalid {name} parameter"), "parameter.invalid"))
                .collect(),
            Self::Unauthenticated(error) => vec![match error {
                AuthError::MissingHeader => entry("Missing authorization header.", "token.missing"),
                AuthError::InvalidHeader => entry("Invalid authorization header", "token.malformed"),
                AuthError::InvalidToken(_) => entry("Token invalid.", "token.invalid"),
                AuthError::NoKeys(_) => entry("Tokens cannot be verified at the moment.", "unavailable"),
            }],
            Self::MissingPermission(message) => vec![entry(message, "permission.missing")],
            Self::InvalidId => vec![entry("Invalid id", "id.invalid")],
            Self::FutureId => {
                vec![entry("The first eight digits of the id are a time to come", "id.future")]
            }
            Self::InvalidBody(message) => vec![entry(message, "body.invalid")],
            Self::RepeatedName(pointer) => {
                let fault = Fault {
                    message: "This name is there twice. Programs differ in which one they read.".into(),
                    reason: "body.repeated_name",
                    pointer: pointer.clone(),
                    help: None,
                };
                vec![fault_entry(&fault, code)]
            }
            Self::UnsupportedMediaType => vec![entry("unsupported media type", "body.media_type")],
            Self::UnsupportedCoding => {
                vec![entry("The body must be in no content coding", "body.coding")]
            }
            Self::UnsupportedPatch => {
                vec![entry(&format!("Expecting one of {PATCHES}"), "body.media_type")]
            }
            Self::PatchNotApplicable(fault) => vec![fault_entry(fault, code)],
            Self::TooLarge => vec![entry("request entity too large", "body.too_large")],
            Self::PageTooLarge => {
                vec![entry(
                    "The flows of this page are too large for one answer. Ask for a smaller page[size].",
                    "page.too_large",
                )]
            }
            Self::SecretNotFound => vec![entry("Secret not found", "secret.not_found")],
            Self::SecretInUse(uses) => uses.iter().map(|flow| flow.entry(code)).collect(),
            Self::FlowNotFound(wording) => vec![entry(&wording.not_found(), "flow.not_found")],
            Self::MissingRole(role) => {
                let mut entry =
                    entry(&format!("This needs the role {role} in the flow"), "flow.role.missing");
                entry.insert("role".into(), role.as_str().into());
                vec![entry]
            }
            Self::CallerGone => {
                vec![entry("Who has been deleted cannot start a flow", "flow.start.deleted")]
            }
            Self::OtherTenant => {
                vec![entry("Only users of the flow's tenant can start it", "flow.start.tenant")]
            }
            Self::NotInactive(status, wording) => {
                vec![entry(&wording.not_inactive(*status), "flow.not_inactive")]
            }
            Self::PreconditionFailed(current) => {
                let Current { etag, changed_by, changed_at, .. } = &**current;
                let mut entry = entry("Flow has been changed meanwhile", "flow.changed");
                entry.insert("etag".into(), etag.as_str().into());
                entry.insert("changedBy".into(), changed_by.as_str().into());
                entry.insert("changedAt".into(), changed_at.to_string().into());
                vec![entry]
            }
            Self::ConditionFalse(etag) => {
                let mut entry =
                    entry("If-Match or If-None-Match is false of what is there", "condition.false");
                entry.extend(etag.iter().map(|etag| ("etag".into(), etag.as_str().into())));
                vec![entry]
            }
            Self::PreconditionRequired => {
                vec![entry(
                    "If-Match is required: send the ETag of the flow as you know it",
                    "if_match.required",
                )]
            }
            // It has those of its items, which are not read again.
            Self::Answered(_) | Self::NothingStored(_) => Vec::new(),
            Self::KeyReused => vec![entry(
                "The Idempotency-Key has been used for a request that said something else",
                "idempotency_key.reused",
            )],
            Self::UnderWay => vec![entry(
                "A request with this Idempotency-Key is under way. Please try again later.",
                "idempotency_key.under_way",
            )],
            Self::IdTaken => {
                vec![entry("A flow with this id exists, or existed until lately", "flow.exists")]
            }
            Self::VersionNotFound => vec![entry("Version not found", "version.not_found")],
            Self::Stopping => vec![entry("Flow is stopping", "flow.stopping")],
            Self::RouteNotFound => vec![entry("Not found", "route.not_found")],
            Self::MethodNotAllowed(_) => {
                vec![entry("Method not allowed", "route.method_not_allowed")]
            }
            Self::Unavailable(_) => vec![entry("Please try again later.", "unavailable")],
            Self::Internal(_) => vec![entry("Internal server error", "internal")],
        }
    }

    /// The same with no more of its faults than the answer to a request of many parts tells.
    #[must_use]
    pub fn of_part(mut self) -> Self {
        if let Self::InvalidFlow(faults)
        | Self::IncompleteFlow(faults)
        | Self::LiteralCredentials(faults)
        | Self::RolesOfOthers(faults) = &mut self
        {
            *faults = bounded(std::mem::take(faults), MAX_ENTRIES);
        }
        self
    }

    /// The answer that the same request got before.
    #[must_use]
    pub fn replay(mut answer: StoredAnswer) -> Self {
        answer.headers.push((REPLAYED.into(), "true".into()));
        Self::Answered(Box::new(answer))
    }

    /// Why there is no caller, in a word for the log.
    #[must_use]
    pub const fn failed_check(&self) -> Option<&'static str> {
        if let Self::Unauthenticated(error) = self { Some(error.check()) } else { None }
    }

    /// Whether the request was refused or has failed.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        !matches!(self, Self::Answered(_))
    }

    /// `errors[]`. What is not known of a flow is put in as it is written: a [`Value`] would round its numbers.
    fn errors(&self) -> serde_json::Result<Box<RawValue>> {
        if let Self::NothingStored(items) = self {
            return errors_of_items(items);
        }
        let entries = self.entries(usize::MAX);
        let difference = match self {
            Self::PreconditionFailed(current) => current.difference.as_deref(),
            _ => None,
        };
        let Some((entry, difference)) = entries.first().zip(difference) else {
            return to_raw_value(&entries);
        };
        let difference: &RawValue = serde_json::from_str(difference)?;
        let entry = join(&serde_json::to_string(entry)?, &BTreeMap::from([("diff", difference)]))?;
        RawValue::from_string(format!("[{entry}]"))
    }

    /// The answer (RFC 9457), which also carries upstream's array.
    #[must_use]
    pub fn into_response(self, instance: &str, request_id: &str) -> Response {
        if let Self::Answered(answer) = self {
            return stored_response(*answer);
        }
        let Kind(status, kind, title) = self.kind();
        let errors = self.errors().unwrap_or_else(|_| RawValue::NULL.to_owned());
        let kind = format!("/problems/{kind}");
        let data = if let Self::NothingStored(items) = &self { Some(&**items) } else { None };
        let status_code = status.as_u16();
        let text =
            Text { data, errors: &errors, instance, request_id, status: status_code, title, kind: &kind };
        let mut response = body(status, serde_json::to_string(&text).unwrap_or_default());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let mut challenge = |challenge| {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        };
        match self {
            Self::UnsupportedPatch => {
                headers.insert("accept-patch", HeaderValue::from_static(PATCHES));
            }
            Self::PreconditionFailed(current) => with_tag(headers, &current.etag),
            Self::ConditionFalse(Some(etag)) => with_tag(headers, &etag),
            Self::UnsupportedCoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Self::MethodNotAllowed(methods) => {
                if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
                    headers.insert(header::ALLOW, methods);
                }
            }
            // RFC 6750, 3.1: who has sent no token is only told that one is needed.
            Self::Unauthenticated(AuthError::InvalidToken(_)) => challenge(r#"Bearer error="invalid_token""#),
            Self::Unauthenticated(AuthError::MissingHeader | AuthError::InvalidHeader) => challenge("Bearer"),
            Self::MissingPermission(_) => challenge(r#"Bearer error="insufficient_scope""#),
            _ if status == StatusCode::SERVICE_UNAVAILABLE || matches!(self, Self::UnderWay) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The errors of all these items, one after the other, but of so many only the first.
fn errors_of_items(items: &RawValue) -> serde_json::Result<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Failed<'a> {
        #[serde(borrow)]
        errors: Vec<&'a RawValue>,
    }

    let items: Vec<Failed<'_>> = serde_json::from_str(items.get())?;
    let mut errors = items.into_iter().flat_map(|item| item.errors);
    let mut told: Vec<_> = errors.by_ref().take(MAX_FAULTS).map(RawValue::to_owned).collect();
    if errors.next().is_some() {
        let code = StatusCode::BAD_REQUEST.as_u16();
        told.push(to_raw_value(&fault_entry(&more_faults(), code))?);
    }
    to_raw_value(&told)
}

fn with_tag(headers: &mut HeaderMap, etag: &str) {
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
}

/// A problem as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Text<'a> {
    /// What has become of each item of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    errors: &'a RawValue,
    instance: &'a str,
    request_id: &'a str,
    status: u16,
    title: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// An answer as it was kept.
fn stored_response(answer: StoredAnswer) -> Response {
    let mut response = Response::new(answer.body.into());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = answer.headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_str(name).ok()?, HeaderValue::from_str(value).ok()?))
    });
    response.headers_mut().extend(headers);
    response
}

/// What a flow lacks, in the form of an error that was not raised.
pub(super) fn fault_entry(fault: &Fault, code: u16) -> Map<String, Value> {
    let mut entry = entry(&fault.message, code, fault.reason, Some(&fault.pointer));
    if let Some(Help { detail, fix }) = fault.help.as_deref() {
        let told = [("detail", detail), ("fix", fix)];
        entry.extend(told.into_iter().filter_map(|(name, text)| Some((name.into(), text.clone()?.into()))));
    }
    entry
}

/// The code under which a flow that is not complete is refused, and warned of.
pub(super) const INCOMPLETE: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

fn entry(message: &str, code: u16, reason: &str, pointer: Option<&str>) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("message".into(), message.into());
    entry.insert("code".into(), code.into());
    entry.insert("reason".into(), reason.into());
    if let Some(pointer) = pointer {
        entry.insert("pointer".into(), pointer.into());
    }
    entry
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        Self::Unauthenticated(error)
    }
}

impl From<PatchError> for Problem {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::NotApplicable { message, pointer } => Self::PatchNotApplicable(Fault {
                message,
                reason: "patch.not_applicable",
                pointer,
                help: None,
            }),
            PatchError::TooLarge => Self::TooLarge,
            PatchError::Edit(error) => error.into(),
        }
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Invalid(invalid) => Self::InvalidFlow(invalid.faults),
            EditError::Role(faults) => Self::RolesOfOthers(faults),
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::OtherTenant => Self::OtherTenant,
            StartError::Stopping => Self::Stopping,
            StartError::Incomplete(missing) => Self::IncompleteFlow(missing),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::UnknownSecrets(faults) | store::Error::OwnersGone(faults) => {
                Self::InvalidFlow(faults)
            }
            store::Error::TooLarge => Self::TooLarge,
            store::Error::Answered(answer) => Self::replay(*answer),
            store::Error::KeyReused => Self::KeyReused,
            store::Error::UnderWay => Self::UnderWay,
            store::Error::Taken(_) => Self::IdTaken,
            store::Error::PageTooLarge => Self::PageTooLarge,
            store::Error::Unavailable(_) => Self::Unavailable(error.into()),
            store::Error::Unreadable(_) | store::Error::Refused(_) => Self::Internal(error.into()),
        }
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::NotFound => Self::SecretNotFound,
            SecretError::Invalid(faults) => Self::InvalidSecret(faults),
            SecretError::TooLarge => Self::TooLarge,
            SecretError::OtherState(_) => Self::ConditionFalse(None),
            SecretError::OwnersOfOthers => {
                Self::MissingPermission("Only a user among its owners may change the owners of a secret")
            }
            SecretError::InUse(flows) => {
                Self::SecretInUse(flows.iter().map(|flow| Use::of(flow, false)).collect())
            }
            // What is wrong with a secret never repeats what was sent.
            SecretError::Store(store::Error::OwnersGone(faults)) => {
                let message = || "One of the owners has been deleted.".into();
                Self::InvalidSecret(
                    faults.into_iter().map(|fault| Fault { message: message(), ..fault }).collect(),
                )
            }
            SecretError::Store(error) => error.into(),
            SecretError::Vault(VaultError::Unavailable(_)) => Self::Unavailable(error.into()),
            SecretError::Vault(VaultError::Missing | VaultError::State(_) | VaultError::Refused(_)) => {
                Self::Internal(error.into())
            }
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.into())
    }
}
