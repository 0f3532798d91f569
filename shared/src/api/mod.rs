//! HTTP in and out.

mod body;
mod conditions;
mod cursor;
mod deadline;
mod effect;
mod fit;
mod flows;
mod headers;
mod list;
mod media;
mod parameters;
mod precondition;
mod problem;
mod respond;
mod secrets;
mod serve;
mod versions;
mod warm_up;

use std::str::FromStr;
use std::time::Duration;

use aws_config::SdkConfig;
use lambda_http::RequestExt;

use crate::config::{Config, ConfigError};
use crate::flow::{
    Checks, ComponentCheck, CredentialCheck, Diagnostic, EditError, Fault, FinalDocument, FlowId, Invalid,
    InvalidId, Level, Role, Rule, RuleLevels, SecretId, Timestamp,
};
use crate::identity::{Caller, Permission, Verifier};
use crate::store::{Scope, Store};
use warm_up::open;

pub use body::{Body, FlowPatch, read_body, read_patch};
pub use conditions::{Conditions, False, Present};
pub use deadline::{Deadline, time_left};
pub use effect::{Effect, Intent, Parts};
pub use flows::{
    MAX_BULK_WRITE, change_flow, change_seen, control_many, insert_flow, patch, replace, require_role,
    run_answer, start_flow, stop_flow,
};
pub use list::{list_query, page_response, usage_query};
pub use parameters::flag;
pub use precondition::{Current, Precondition};
pub use problem::{Problem, Wording};
pub use respond::{
    Part, bulk_response, deleted, diagnostics_of_faults, flow_response, json, notes, nothing_stored,
    part_prefix, plain_flow, validation_response, with_notes,
};
pub use secrets::{
    SecretsApp, read_secret, secret_query, secret_response, secret_tag, secrets_response, usages_response,
};
pub use serve::{Request, Response, answer, encoded_path, path, serve};
pub use versions::{
    compared_versions, difference_response, find_flow, find_version, version_number, version_response,
    versions_response,
};

/// What the flow routes share: who calls, and the table.
pub struct App {
    /// Verifies tokens.
    pub verifier: Verifier,
    /// The flows.
    pub store: Store,
    /// When nodes must be complete.
    pub component_check: ComponentCheck,
    /// The role of a tenant in the flows that its users create.
    pub tenant_role: Role,
    /// What becomes of literal credentials.
    pub credential_check: CredentialCheck,
    /// The levels of other rules.
    pub rule_levels: RuleLevels,
    /// Whether changes of one flow must say which state they are of.
    pub require_if_match: bool,
    /// For how long a deleted flow can be restored.
    pub keep_deleted: Duration,
}

impl App {
    /// Reads the settings of this process, opens its clients and warms them up.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub async fn from_env() -> Result<Self, ConfigError> {
        open(Self::new, |app| (&app.verifier, &app.store)).await
    }

    /// An app with these settings.
    ///
    /// # Errors
    /// When a setting is missing or makes no sense.
    pub fn new(config: &Config, aws: &SdkConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            verifier: Verifier::new(config.auth()?)?,
            store: Store::open(config, aws)?,
            component_check: config.component_check()?,
            tenant_role: config.tenant_role()?,
            credential_check: config.credential_check()?,
            rule_levels: config.rule_levels()?,
            require_if_match: config.require_if_match()?,
            keep_deleted: config.keep_deleted()?,
        })
    }

    /// How the body of this request is read: with `strict=true` what would be dropped is an error.
    ///
    /// # Errors
    /// 400 when the parameter is neither true nor false.
    pub fn checks(&self, request: &Request) -> Result<Checks, Problem> {
        let level = || Rule::find("member.unknown").map_or(Level::Warning, |rule| self.rule_levels.of(rule));
        let unknown = if flag(request, "strict")? { Level::Error } else { level() };
        Ok(Checks { components: self.component_check, unknown })
    }

    /// What there is to say about a document by the rules of this installation, if it is at least this bad.
    #[must_use]
    pub fn diagnose(&self, document: &FinalDocument, at_least: Level) -> Vec<Diagnostic> {
        let Self { rule_levels, component_check, credential_check, .. } = self;
        document.diagnose(rule_levels, *component_check, *credential_check, at_least, Timestamp::now())
    }

    /// The same of a draft, beside the faults of its body.
    #[must_use]
    pub fn diagnose_beside(
        &self,
        faults: &[Fault],
        draft: &FinalDocument,
        at_least: Level,
    ) -> Vec<Diagnostic> {
        let checks = (self.component_check, self.credential_check);
        draft.diagnose_beside(faults, &self.rule_levels, checks, at_least, Timestamp::now())
    }

    /// Why a document does not become that of a flow: beside what makes it none, the rules that it breaks and
    /// that are errors here.
    #[must_use]
    pub fn refusal(&self, error: impl Into<EditError>) -> Problem {
        match error.into() {
            EditError::Invalid(Invalid { mut faults, draft, .. }) => {
                let more = draft
                    .map(|draft| self.diagnose_beside(&faults, &(*draft).into(), Level::Error))
                    .unwrap_or_default();
                faults.extend(more.into_iter().map(Diagnostic::into_fault));
                Problem::InvalidFlow(faults)
            }
            error @ EditError::Role(_) => error.into(),
        }
    }

    /// The caller, if it may do this.
    ///
    /// # Errors
    /// 401 without a valid token, 403 without the permission.
    pub async fn authorize(&self, request: &Request, permission: Permission) -> Result<Caller, Problem> {
        let caller = authenticate(&self.verifier, request).await?;
        require(&caller, permission)?;
        Ok(caller)
    }
}

/// The caller, whatever it may do.
///
/// # Errors
/// 401 without a valid token.
pub async fn authenticate(verifier: &Verifier, request: &Request) -> Result<Caller, Problem> {
    Ok(verifier.verify(headers::authorization(request)).await?)
}

/// Refuses a caller without this permission.
///
/// # Errors
/// 403.
pub fn require(caller: &Caller, permission: Permission) -> Result<(), Problem> {
    if caller.may(permission) { Ok(()) } else { Err(Problem::MissingPermission("MISSING_PERMISSION")) }
}

/// Whose flows a caller sees.
#[must_use]
pub fn scope(caller: &Caller) -> Scope {
    if caller.is_admin() { Scope::All } else { Scope::Owners(caller.owner_keys()) }
}

/// The flow id in the path.
///
/// # Errors
/// 400 when it is not well-formed.
pub fn flow_id(request: &Request) -> Result<FlowId, Problem> {
    id(request)
}

/// The secret id in the path.
///
/// # Errors
/// 400 when it is not well-formed.
pub fn secret_id(request: &Request) -> Result<SecretId, Problem> {
    id(request)
}

fn id<T: FromStr<Err = InvalidId>>(request: &Request) -> Result<T, Problem> {
    let id = request.path_parameters_ref().and_then(|parameters| parameters.first("id")).unwrap_or_default();
    id.parse().map_err(|_| Problem::InvalidId)
}
