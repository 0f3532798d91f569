use lambda_http::http::header;
use serde::Serialize;
use serde_json::value::RawValue;

use super::respond::etag;
use super::versions::patch_json;
use super::{App, Problem, Request};
use crate::flow::{Difference, Document, FinalDocument, Flow, FlowId, Timestamp, tag_of};
use crate::json::join;

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
                revision: flow.revision,
                document: flow.document.clone(),
                difference: None,
            }))),
        }
    }

    /// Adds to a refusal what has changed since the state that the client knows, if that is still kept:
    /// two calls more, and none for any other problem.
    pub async fn explain(&self, app: &App, id: FlowId, problem: Problem) -> Problem {
        let Problem::PreconditionFailed(mut current) = problem else { return problem };
        let known = self.tags.iter().flatten().find_map(|tag| revision(tag));
        if let Some((revision, tag)) = known.filter(|(revision, _)| *revision < current.revision) {
            match app.store.version(id, revision).await {
                Ok(Some((version, base))) if tag_of(&version.hash) == tag => {
                    let between = (revision, current.revision);
                    current.difference = difference(between, &base, &current.document).ok();
                }
                Ok(_) => {}
                // The refusal stands without it.
                Err(error) => tracing::warn!(flow.id = %id, error = %error, "precondition.not_explained"),
            }
        }
        Problem::PreconditionFailed(current)
    }
}

/// The revision that an entity tag is of, and the document's own tag.
fn revision(tag: &str) -> Option<(u64, &str)> {
    let (revision, tag) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
    Some((revision.parse().ok()?, tag))
}

/// What has changed between two revisions, as JSON: for people, and, as far as there is room, as operations
/// (RFC 6902) that make the one of the other.
///
/// # Errors
/// When a document cannot be written as JSON.
fn difference(
    (from, to): (u64, u64),
    base: &Document,
    current: &Document,
) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct More<'a> {
        from: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        patch: Option<&'a RawValue>,
        to: u64,
    }

    let patch = patch_json(base, current);
    let patch = patch.as_deref().map(serde_json::from_str).transpose()?;
    join(&serde_json::to_string(&Difference::between(base, current))?, &More { from, patch, to })
}

/// The state that a flow is in, for a client that has another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Current {
    /// Its entity tag.
    pub etag: String,
    /// Who made it so; empty for the platform.
    pub changed_by: String,
    /// When.
    pub changed_at: Timestamp,
    /// Its number.
    pub revision: u64,
    /// What it says.
    pub document: FinalDocument,
    /// What has changed since the state that the client has, as JSON, if that is known.
    pub difference: Option<String>,
}
