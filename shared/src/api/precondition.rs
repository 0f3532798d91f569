use lambda_http::http::header;

use super::respond::etag;
use super::{App, Problem, Request};
use crate::flow::Flow;

/// What a client says of the state it wants to change: `If-Match` (RFC 9110, 13.1.1). It is looked at
/// after everything else that may be wrong with a change (13.2.1), and not of one that changes nothing.
#[derive(Clone, Debug)]
pub struct Precondition {
    /// The entity tags; none when the client says nothing.
    tags: Option<Vec<String>>,
    is_required: bool,
}

impl Precondition {
    /// Reads it from a request.
    #[must_use]
    pub fn of(request: &Request, app: &App) -> Self {
        let values = request.headers().get_all(header::IF_MATCH).iter();
        let tags: Vec<String> = values
            .flat_map(|value| value.to_str().unwrap_or_default().split(','))
            .map(|tag| tag.trim().to_owned())
            .collect();
        Self { tags: Some(tags).filter(|tags| !tags.is_empty()), is_required: app.require_if_match }
    }

    /// Refuses a change of a flow that is in another state. A weak tag is none that matches.
    ///
    /// # Errors
    /// 412, or 428 (RFC 6585, 3) when the client says nothing and has to.
    pub fn check(&self, flow: &Flow) -> Result<(), Problem> {
        let current = etag(flow)?;
        match &self.tags {
            None if self.is_required => Err(Problem::PreconditionRequired),
            None => Ok(()),
            Some(tags) if tags.iter().any(|tag| tag == "*" || *tag == current) => Ok(()),
            Some(_) => Err(Problem::PreconditionFailed(Box::new(Current {
                etag: current,
                changed_by: flow.author.user.clone(),
                changed_at: flow.updated_at,
            }))),
        }
    }
}

/// The state that a flow is in, for a client that has another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its entity tag.
    pub etag: String,
    /// Who made it so; empty for the platform.
    pub changed_by: String,
    /// When.
    pub changed_at: crate::flow::Timestamp,
}
