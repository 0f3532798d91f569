use serde::Serialize;
use serde_json::value::RawValue;

use super::conditions::{Conditions, False, Present, definition};
use super::respond::etag;
use super::versions::patch_json;
use super::{App, Problem, Request};
use crate::flow::{Difference, Document, FinalDocument, Flow, FlowId, Timestamp, tag_of};
use crate::json::join;

/// What a client says of the state of a flow that it is for (RFC 9110, 13.1). It is looked at after whether there is
/// such a flow and the caller may do this, and before its state and the rules; and where the flow is written, so
/// that nobody comes in between.
#[derive(Clone, Debug, Default)]
pub struct Precondition {
    conditions: Conditions,
    is_required: bool,
}

impl Precondition {
    /// Reads it from a request.
    ///
    /// # Errors
    /// As [`Conditions::of`].
    pub fn of(request: &Request) -> Result<Self, Problem> {
        Ok(Self { conditions: Conditions::of(request)?, is_required: false })
    }

    /// The same of a request that must have an `If-Match` where that is the rule.
    ///
    /// # Errors
    /// As [`Conditions::of`].
    pub fn of_change(request: &Request, app: &App) -> Result<Self, Problem> {
        Ok(Self { is_required: app.require_if_match, ..Self::of(request)? })
    }

    /// Whether there is only to be a new flow.
    ///
    /// # Errors
    /// 412 when there is to be a certain one as well.
    pub fn creates(&self) -> Result<bool, Problem> {
        if self.conditions.creates() && self.conditions.matches().is_some() {
            return Err(Problem::ConditionFalse(None));
        }
        Ok(self.conditions.creates())
    }

    /// Refuses a request for a flow that is in another state.
    ///
    /// # Errors
    /// 412, or 428 (RFC 6585, 3) when the client says nothing and has to.
    pub fn check(&self, flow: &Flow) -> Result<(), Problem> {
        if self.is_required && flow.deletion.is_none() && self.conditions.matches().is_none() {
            return Err(Problem::PreconditionRequired);
        }
        self.check_state(flow, |_| true)
    }

    /// The same where nothing is to be done, as the change is in effect already: then it may be so in whichever
    /// state (13.1.1), but not where there was to be none (13.1.2).
    ///
    /// # Errors
    /// 412.
    pub fn check_in_effect(&self, flow: &Flow) -> Result<(), Problem> {
        self.check_state(flow, |which| which == False::NoneMatch)
    }

    fn check_state(&self, flow: &Flow, counts: impl Fn(False) -> bool) -> Result<(), Problem> {
        let current = etag(flow)?;
        match self.conditions.on(Present::Tagged(&current)).filter(|which| counts(*which)) {
            None => Ok(()),
            Some(False::NoneMatch) => Err(Problem::ConditionFalse(Some(current))),
            Some(False::Match) => Err(Problem::PreconditionFailed(Box::new(Current {
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
        let known = self.conditions.matches().into_iter().flatten().find_map(revision);
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
    let (revision, tag) = definition(tag).split_once('-')?;
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
