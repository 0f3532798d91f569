//! The parameters of the secrets' routes, and their answers.

use aws_config::SdkConfig;
use lambda_http::http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Map;

use super::body::{Body, read_body};
use super::conditions::tagged;
use super::cursor;
use super::list::{flow_cursor, listed, page_meta};
use super::parameters::Parameters;
use super::problem::Use;
use super::respond::{body, enveloped};
use super::warm_up::open;
use super::{Problem, Request, Response, authenticate, id, require, scope};
use crate::config::{Config, ConfigError};
use crate::flow::{Fields, FlowId, SecretId, Status};
use crate::identity::{Caller, Permission, Verifier};
use crate::secrets::{Secret, SecretError, SecretValue, SecretView, Secrets, Shown};
use crate::store::{FlowPage, ListQuery, SecretPage, SecretPaging, SecretQuery};

/// How many secrets a page has by default: as many as upstream's, whose web page looks no further.
const PAGE_SIZE: usize = 30;

/// What the secrets' routes share: who calls, the table, and Secrets Manager.
pub struct SecretsApp {
    /// Verifies tokens.
    pub verifier: Verifier,
    /// The secrets.
    pub secrets: Secrets,
    /// Whether everybody with a token may store secrets.
    pub everybody_stores: bool,
    /// Whether components get what renews credentials.
    pub components_renew: bool,
}

impl SecretsApp {
    /// Reads the settings of this process, opens its clients and warms them up.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub async fn from_env() -> Result<Self, ConfigError> {
        open(Self::new, |app| (&app.verifier, &app.secrets.store)).await
    }

    /// An app with these settings.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub fn new(config: &Config, aws: &SdkConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            verifier: Verifier::new(config.auth()?)?,
            secrets: Secrets::open(config, aws)?,
            everybody_stores: config.everybody_stores_secrets()?,
            components_renew: config.components_renew_secrets()?,
        })
    }

    /// The caller, and the secret id in the path.
    ///
    /// # Errors
    /// 401 without a valid token, 400 when the id is not well-formed.
    pub async fn caller_and_id(&self, request: &Request) -> Result<(Caller, SecretId), Problem> {
        Ok((authenticate(&self.verifier, request).await?, id(request)?))
    }

    /// The caller, if it may store secrets.
    ///
    /// # Errors
    /// 401 without a valid token, 403 without the permission where it is needed.
    pub async fn author(&self, request: &Request) -> Result<Caller, Problem> {
        let caller = authenticate(&self.verifier, request).await?;
        if !self.everybody_stores {
            require(&caller, Permission::WriteSecrets)?;
        }
        Ok(caller)
    }

    /// What this caller is shown of values.
    #[must_use]
    pub fn shown_to(&self, caller: &Caller) -> Shown {
        match caller.may(Permission::ReadRawSecrets) {
            false => Shown::Masked,
            true if self.components_renew => Shown::Whole,
            true => Shown::Raw,
        }
    }

    /// Why a caller cannot do something with a secret; flows that are in the way are named if it sees them.
    #[must_use]
    pub fn problem(&self, caller: &Caller, error: SecretError) -> Problem {
        let scope = scope(caller);
        match error {
            SecretError::InUse(flows) => {
                Problem::SecretInUse(flows.iter().map(|flow| Use::of(flow, scope.contains(flow))).collect())
            }
            SecretError::OtherState(sequence) => {
                Problem::ConditionFalse(Some(secret_tag(sequence, self.shown_to(caller))))
            }
            other => other.into(),
        }
    }
}

/// The parameters of `GET /secrets`: paging as of flows, but for pages of another size and numbers that are none,
/// always in the order of creation.
///
/// # Errors
/// 400 with everything that is wrong.
pub fn secret_query(request: &Request, caller: &Caller) -> Result<SecretQuery, Problem> {
    let mut parameters = Parameters::read(request).without_no_numbers();
    let (size, number) = (parameters.page_size(PAGE_SIZE), parameters.page_number());
    let list = list_name(caller);
    let paging = match parameters.page_after(number, |text| cursor::decode(text, &list)) {
        Some(after) => SecretPaging::After(after),
        None => SecretPaging::Number(number.unwrap_or(1)),
    };
    parameters.check()?;
    Ok(SecretQuery { owners: caller.into(), size, paging })
}

/// The members of the body of a request. Its refusals repeat nothing of what was sent, so no names either.
///
/// # Errors
/// As [`read_body`]; 400 when it is no object.
pub fn read_secret(request: &Request) -> Result<Fields<'_>, Problem> {
    read_body(request).and_then(Body::object).map_err(|problem| match problem {
        Problem::RepeatedName(_) => Problem::RepeatedName(String::new()),
        problem => problem,
    })
}

/// Which list a cursor belongs to.
fn list_name(caller: &Caller) -> String {
    cursor::fingerprint(&("secrets", &caller.sub, &caller.tenant))
}

/// The answer with one page of secrets, without anything of their values.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn secrets_response(
    request: &Request,
    caller: &Caller,
    query: &SecretQuery,
    page: &SecretPage,
) -> Result<Response, Problem> {
    let number = if let SecretPaging::Number(number) = query.paging { Some(number) } else { None };
    let meta = page_meta(query.size, number, page.total);
    let next = page.next.map(|next| cursor::encode(&next, &list_name(caller))).transpose()?;
    let secrets: Vec<_> = page.secrets.iter().map(|secret| SecretView::new(secret, None)).collect();
    listed(request, &serde_json::to_string(&secrets)?, meta, next)
}

/// A strong entity tag of a secret as it is after so many changes: what is shown of its value comes after the dot.
#[must_use]
pub fn secret_tag(sequence: u64, shown: Shown) -> String {
    let view = match shown {
        Shown::Masked => "masked",
        Shown::Raw => "raw",
        Shown::Whole => "whole",
    };
    format!("\"{sequence}.{view}\"")
}

/// The answer with one secret, and so much of its value; for a new one with its `Location`, which is the same
/// whatever path it was stored by.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn secret_response(
    status: StatusCode,
    secret: &Secret,
    value: &SecretValue,
    shown: Shown,
) -> Result<Response, Problem> {
    let data = serde_json::to_string(&SecretView::new(secret, Some(value.shown(shown))))?;
    let mut response = body(status, enveloped(&data, &Map::new())?);
    tagged(&mut response, &secret_tag(secret.sequence, shown))?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::CREATED
        && let Ok(location) = HeaderValue::from_str(&format!("/secrets/{}", secret.id))
    {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A flow that uses a secret.
#[derive(Serialize)]
struct Usage<'a> {
    id: FlowId,
    name: Option<&'a str>,
    status: Status,
    /// The first of the nodes that refer to it.
    node: Option<&'a str>,
    nodes: Vec<&'a str>,
}

/// The answer with one page of flows that use a secret.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn usages_response(
    request: &Request,
    caller: &Caller,
    query: &ListQuery,
    page: &FlowPage,
) -> Result<Response, Problem> {
    let usages = page.flows.iter().map(|flow| {
        let nodes = flow.document.graph.nodes.iter();
        let nodes: Vec<&str> = nodes
            .filter(|node| node.credentials_id.value().copied() == query.filter.secret)
            .map(|node| node.id.as_str())
            .collect();
        let name = flow.document.name.value().map(String::as_str);
        Usage { id: flow.id, name, status: flow.status, node: nodes.first().copied(), nodes }
    });
    let next = page.next.as_ref().map(|next| flow_cursor(caller, query, next)).transpose()?;
    let usages = serde_json::to_string(&usages.collect::<Vec<_>>())?;
    listed(request, &usages, page_meta(query.size, None, None), next)
}
