//! Every environment variable, read once, typed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use lambda_http::http::Uri;
use tracing::Level;

use crate::flow::{ComponentCheck, CredentialCheck, InvalidLevels, Role, RuleLevels};
use crate::identity::{AuthSettings, KeySource, Permission, are_certificates};
use crate::secrets::{Recovery, VaultSettings};

/// No single attempt may eat the whole request.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The roots of Amazon Trust Services, to which all endpoints of AWS lead
/// (<https://www.amazontrust.com/repository/>); docs/adr/0019-start.md.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// The AWS settings of this process, as Lambda gives them: all from the environment. The SDK's own chain
/// would look in more places, and costs every function a tenth of its size; docs/adr/0019-start.md.
///
/// # Errors
/// When there is no region, or a setting makes no sense.
pub fn aws() -> Result<SdkConfig, ConfigError> {
    let config = environment();
    let default = config.word("AWS_DEFAULT_REGION", "-")?;
    let region = config.region()?.or(default);
    let region = region.ok_or(ConfigError { name: "AWS_REGION", problem: "is not set".into() })?;
    for name in ENDPOINTS {
        config.url(name)?;
    }
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let credentials = SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new());
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region))
        .credentials_provider(credentials)
        .timeout_config(timeouts)
        .http_client(config.http_client()?)
        .use_fips(config.flag("AWS_USE_FIPS_ENDPOINT", false)?)
        .use_dual_stack(config.flag("AWS_USE_DUALSTACK_ENDPOINT", false)?)
        .service_config(EnvironmentServiceConfig);
    builder.set_endpoint_url(config.optional("AWS_ENDPOINT_URL"));
    Ok(builder.build())
}

/// Of all services, and of each that is called: the SDK asks for these when it is too late to refuse them.
const ENDPOINTS: [&str; 5] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SQS",
];

/// What is set for one service, such as `AWS_ENDPOINT_URL_DYNAMODB`.
#[derive(Debug)]
struct EnvironmentServiceConfig;

impl LoadServiceConfig for EnvironmentServiceConfig {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace([' ', '-'], "_");
        environment().optional(&format!("{}_{service}", key.env()))
    }
}

/// A setting is missing or makes no sense.
#[derive(thiserror::Error, PartialEq, Eq)]
#[error("{name} {problem}")]
pub struct ConfigError {
    /// The environment variable.
    pub name: &'static str,
    /// What is wrong with it.
    pub problem: Cow<'static, str>,
}

/// A function that does not start says why in this form.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads settings from the environment, or from anything like it.
pub struct Config(Lookup);

type Lookup = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The settings of this process.
#[must_use]
pub fn environment() -> Config {
    // What is no Unicode is not taken for what is not set.
    Config::new(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
}

impl Config {
    /// Reads settings from `lookup`.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Box::new(lookup))
    }

    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.optional(name).ok_or(ConfigError { name, problem: "is not set".into() })
    }

    fn required_word(&self, name: &'static str, others: &str) -> Result<String, ConfigError> {
        self.word(name, others)?;
        self.required(name)
    }

    /// What consists of letters, digits and these others.
    fn word(&self, name: &'static str, others: &str) -> Result<Option<String>, ConfigError> {
        let value = self.optional(name);
        let is_strange = |letter: char| !letter.is_ascii_alphanumeric() && !others.contains(letter);
        if value.as_ref().is_some_and(|value| value.contains(is_strange)) {
            let problem =
                format!("has a character that is neither a letter nor a digit nor one of {others:?}");
            return Err(ConfigError { name, problem: problem.into() });
        }
        Ok(value)
    }

    fn url(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let url = self.optional(name);
        if url.as_ref().is_some_and(|url| read_url(url).is_none()) {
            return Err(ConfigError { name, problem: "is no http or https URL".into() });
        }
        Ok(url)
    }

    /// `AWS_CA_BUNDLE`: a file with the certificates (PEM) that lead to AWS, instead of Amazon's own.
    fn http_client(&self) -> Result<SharedHttpClient, ConfigError> {
        let name = "AWS_CA_BUNDLE";
        let roots = match self.optional(name) {
            Some(path) => {
                let roots = read(name, &path)?;
                if !are_certificates(&roots) {
                    return Err(no_certificates(name));
                }
                roots.into_bytes()
            }
            None => AMAZON_ROOTS.to_vec(),
        };
        let trust = TrustStore::empty().with_pem_certificate(roots);
        let context = TlsContext::builder().with_trust_store(trust).build();
        let context = context
            .map_err(|error| ConfigError { name, problem: format!("is not trusted: {error}").into() })?;
        let provider = Provider::Rustls(CryptoMode::AwsLc);
        Ok(Builder::new().tls_provider(provider).tls_context(context).build_https())
    }

    /// `AWS_REGION`: what requests are signed for.
    ///
    /// # Errors
    /// When it is no such name.
    pub fn region(&self) -> Result<Option<String>, ConfigError> {
        self.word("AWS_REGION", "-")
    }

    /// `DYNAMODB_ENDPOINT`: another DynamoDB than the embedded one, for the local server alone.
    ///
    /// # Errors
    /// When it is no URL.
    pub fn other_dynamodb(&self) -> Result<Option<String>, ConfigError> {
        self.url("DYNAMODB_ENDPOINT")
    }

    /// `TABLE_NAME`: the one table.
    ///
    /// # Errors
    /// When it is not set, or no such name.
    pub fn table_name(&self) -> Result<String, ConfigError> {
        self.required_word("TABLE_NAME", "_.-:/")
    }

    /// `EVENT_BUS_NAME`: where events go.
    ///
    /// # Errors
    /// When it is not set, or no such name.
    pub fn event_bus_name(&self) -> Result<String, ConfigError> {
        self.required_word("EVENT_BUS_NAME", "_.-:/")
    }

    /// `UNREADABLE_QUEUE_URL`: where changes go that cannot be read.
    ///
    /// # Errors
    /// When it is not set, or no URL.
    pub fn unreadable_queue_url(&self) -> Result<String, ConfigError> {
        self.url("UNREADABLE_QUEUE_URL")?;
        self.required("UNREADABLE_QUEUE_URL")
    }

    /// `WARM_UP`: whether a sandbox connects while it starts, or with its first request; default `true`.
    ///
    /// # Errors
    /// When it is neither `true` nor `false`.
    pub fn warms_up(&self) -> Result<bool, ConfigError> {
        self.flag("WARM_UP", true)
    }

    /// `LOG_LEVEL`: `error`, `warn`, `info` (default) or `debug`, in any case.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn log_level(&self) -> Result<Level, ConfigError> {
        match self.optional("LOG_LEVEL").map(|level| level.to_ascii_lowercase()).as_deref() {
            Some("error") => Ok(Level::ERROR),
            Some("warn") => Ok(Level::WARN),
            None | Some("info") => Ok(Level::INFO),
            Some("debug") => Ok(Level::DEBUG),
            Some(_) => Err(ConfigError {
                name: "LOG_LEVEL",
                problem: "is none of error, warn, info and debug".into(),
            }),
        }
    }

    /// `METRICS_NAMESPACE`: the CloudWatch namespace of all metrics; default `FlowRepository`.
    ///
    /// # Errors
    /// When it is no such name.
    pub fn metrics_namespace(&self) -> Result<String, ConfigError> {
        Ok(self.word("METRICS_NAMESPACE", ".-_/#: ")?.unwrap_or_else(|| "FlowRepository".into()))
    }

    /// `COMPONENT_CHECK`: `at-start` (default) or `at-save`.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn component_check(&self) -> Result<ComponentCheck, ConfigError> {
        let words = [("at-start", ComponentCheck::AtStart), ("at-save", ComponentCheck::AtSave)];
        self.one_of("COMPONENT_CHECK", words)
    }

    /// `TENANT_ROLE`: the role of a tenant in the flows that its users create; default `owner`.
    ///
    /// # Errors
    /// When it is none.
    pub fn tenant_role(&self) -> Result<Role, ConfigError> {
        let role = self.optional("TENANT_ROLE").map_or(Some(Role::Owner), |name| Role::of(&name));
        role.ok_or(ConfigError {
            name: "TENANT_ROLE",
            problem: "is none of viewer, operator, editor and owner".into(),
        })
    }

    /// `CONFIRMATION_MINUTES`: how long the orchestrator may take to confirm a start or a stop before it
    /// is announced again; default 5.
    ///
    /// # Errors
    /// When it is no number from 1 to 1440.
    pub fn confirmation_limit(&self) -> Result<Duration, ConfigError> {
        match self.optional("CONFIRMATION_MINUTES").map(|minutes| minutes.parse()) {
            None => Ok(Duration::from_mins(5)),
            Some(Ok(minutes @ 1..=1440)) => Ok(Duration::from_mins(minutes)),
            Some(_) => {
                Err(ConfigError { name: "CONFIRMATION_MINUTES", problem: "is not from 1 to 1440".into() })
            }
        }
    }

    /// `ORCHESTRATOR_SOURCE`: the `source` of the events that say what became of runs; default
    /// `component-orchestrator`.
    #[must_use]
    pub fn orchestrator_source(&self) -> String {
        self.optional("ORCHESTRATOR_SOURCE").unwrap_or_else(|| "component-orchestrator".into())
    }

    /// `IDENTITY_SOURCE`: the `source` of the events that say which users and tenants are gone; default `iam`.
    #[must_use]
    pub fn identity_source(&self) -> String {
        self.optional("IDENTITY_SOURCE").unwrap_or_else(|| "iam".into())
    }

    /// `VERSION_DAYS`: how long a version of a flow is kept after it was replaced; default 365, 0 is for
    /// ever, which is none.
    ///
    /// # Errors
    /// When it is no number up to 9999.
    pub fn keep_versions(&self) -> Result<Option<Duration>, ConfigError> {
        let days = self.days("VERSION_DAYS", 365, 0..=9999, "is not from 0 to 9999")?;
        Ok(Some(days).filter(|days| !days.is_zero()))
    }

    /// `DELETED_DAYS`: how long a deleted flow can be restored; default 30.
    ///
    /// # Errors
    /// When it is no number from 1 to 365.
    pub fn keep_deleted(&self) -> Result<Duration, ConfigError> {
        self.days("DELETED_DAYS", 30, 1..=365, "is not from 1 to 365")
    }

    fn days(
        &self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
        problem: &'static str,
    ) -> Result<Duration, ConfigError> {
        let days = self.optional(name).map_or(Ok(default), |days| days.parse());
        let days = days
            .ok()
            .filter(|days| range.contains(days))
            .ok_or_else(|| ConfigError { name, problem: problem.into() })?;
        Ok(Duration::from_hours(24 * days))
    }

    /// `REQUIRE_IF_MATCH`: whether changes of one flow must say which state they are of; default `false`.
    ///
    /// # Errors
    /// When it is neither `true` nor `false`.
    pub fn require_if_match(&self) -> Result<bool, ConfigError> {
        self.flag("REQUIRE_IF_MATCH", false)
    }

    /// What one of two words says; if there is none, what the first does.
    fn one_of<T>(&self, name: &'static str, words: [(&str, T); 2]) -> Result<T, ConfigError> {
        let word = self.optional(name);
        let [(first, by_default), (second, other)] = words;
        match word.as_deref() {
            None => Ok(by_default),
            Some(word) if word == first => Ok(by_default),
            Some(word) if word == second => Ok(other),
            Some(_) => Err(ConfigError { name, problem: format!("is neither {first} nor {second}").into() }),
        }
    }

    fn flag(&self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        let value = self.optional(name).map_or(Ok(default), |value| value.parse());
        value.map_err(|_| ConfigError { name, problem: "is neither true nor false".into() })
    }

    /// `CREDENTIAL_CHECK`: `warn` (default) or `refuse`.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn credential_check(&self) -> Result<CredentialCheck, ConfigError> {
        let words = [("warn", CredentialCheck::Warn), ("refuse", CredentialCheck::Refuse)];
        self.one_of("CREDENTIAL_CHECK", words)
    }

    /// `RULE_LEVELS`: levels of rules, such as `graph.cycle=error,edge.self=off`; by default those of the
    /// rules themselves.
    ///
    /// # Errors
    /// When it gives no levels to adjustable rules.
    pub fn rule_levels(&self) -> Result<RuleLevels, ConfigError> {
        let levels = self.optional("RULE_LEVELS").unwrap_or_default();
        levels.parse().map_err(|error: InvalidLevels| ConfigError {
            name: "RULE_LEVELS",
            problem: error.to_string().into(),
        })
    }

    /// `SECRET_CREATION`: `permission` (default) or `authenticated`; whether everybody with a token may
    /// store secrets.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn everybody_stores_secrets(&self) -> Result<bool, ConfigError> {
        self.one_of("SECRET_CREATION", [("permission", false), ("authenticated", true)])
    }

    /// `SECRET_RENEWAL`: `withheld` (default) or `readable`; whether components get what renews credentials.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn components_renew_secrets(&self) -> Result<bool, ConfigError> {
        self.one_of("SECRET_RENEWAL", [("withheld", false), ("readable", true)])
    }

    /// `SECRETS_PREFIX`: what names in Secrets Manager begin with; `SECRETS_KMS_KEY`: the key, by default
    /// Secrets Manager's own; `SECRET_RECOVERY_DAYS`: how long a deleted one can be restored, 0 or 7
    /// (default) to 30.
    ///
    /// # Errors
    /// When the prefix is not set, or one of them makes no sense.
    pub fn vault(&self) -> Result<VaultSettings, ConfigError> {
        let recovery = match self.optional("SECRET_RECOVERY_DAYS").map(|days| days.parse()) {
            None => Recovery::Days(7),
            Some(Ok(0)) => Recovery::None,
            Some(Ok(days @ 7..=30)) => Recovery::Days(days),
            Some(_) => {
                return Err(ConfigError {
                    name: "SECRET_RECOVERY_DAYS",
                    problem: "is neither 0 nor 7 to 30".into(),
                });
            }
        };
        let kms_key = self.optional("SECRETS_KMS_KEY");
        Ok(VaultSettings { prefix: self.required_word("SECRETS_PREFIX", "/_+=.@-")?, kms_key, recovery })
    }

    /// `AUTH_ISSUER`, `AUTH_AUDIENCE` (several with commas) and exactly one of `AUTH_JWKS_URL`, `AUTH_JWKS` (JSON
    /// or a file's path) and `AUTH_HS256_SECRET`; of the rest docs/identity.md says what it means.
    ///
    /// # Errors
    /// When one is missing or makes no sense, or when there is more than one source of keys.
    pub fn auth(&self) -> Result<AuthSettings, ConfigError> {
        let authority = self.jwks_authority()?;
        let has_authority = authority.is_some();
        let url = self.optional("AUTH_JWKS_URL").map(|url| {
            check_jwks_url(&url)?;
            Ok(("AUTH_JWKS_URL", KeySource::Url { url, authority }))
        });
        let jwks = self.optional("AUTH_JWKS").map(|jwks| {
            let is_inline = jwks.trim_start().starts_with('{');
            let source =
                if is_inline { KeySource::Inline(jwks) } else { KeySource::File(PathBuf::from(jwks)) };
            Ok(("AUTH_JWKS", source))
        });
        let secret = self.optional("AUTH_HS256_SECRET");
        let secret = secret.map(|secret| Ok(("AUTH_HS256_SECRET", KeySource::Secret(secret))));
        let mut sources = [url, jwks, secret].into_iter().flatten();
        let name = "AUTH_JWKS_URL";
        let (name, keys) =
            sources.next().ok_or(ConfigError { name, problem: "is not set, nor is AUTH_JWKS".into() })??;
        if let Some(other) = sources.next() {
            let problem = format!("is set beside {}: keys come from one place", other?.0).into();
            return Err(ConfigError { name, problem });
        }
        if has_authority && !matches!(keys, KeySource::Url { .. }) {
            return Err(ConfigError { name: "AUTH_JWKS_CA", problem: "needs AUTH_JWKS_URL".into() });
        }
        let name = "AUTH_AUDIENCE";
        let audiences =
            self.names(name)?.ok_or_else(|| ConfigError { name, problem: "is not set".into() })?;
        let defaults = AuthSettings::new(&self.required("AUTH_ISSUER")?, "", keys);
        Ok(AuthSettings {
            audiences,
            client_claim: self.client_claim()?,
            tenant_claim: self.optional("AUTH_TENANT_CLAIM").unwrap_or(defaults.tenant_claim),
            permission_claims: self.names("AUTH_PERMISSION_CLAIMS")?.unwrap_or(defaults.permission_claims),
            permission_prefix: self.permission_prefix()?,
            groups: self.groups()?,
            ..defaults
        })
    }

    /// Names with commas between them: at least one, if it is set.
    fn names(&self, name: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(list) = self.optional(name) else { return Ok(None) };
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<_> = names.map(Into::into).collect();
        if names.is_empty() {
            return Err(ConfigError { name, problem: "has no name between its commas".into() });
        }
        Ok(Some(names))
    }

    fn permission_prefix(&self) -> Result<Option<String>, ConfigError> {
        let name = "AUTH_PERMISSION_PREFIX";
        match self.optional(name) {
            // Names have none: it would take nothing off, and let none of them count but in arrays.
            Some(prefix) if prefix.contains(|letter: char| letter.is_whitespace()) => {
                Err(ConfigError { name, problem: "has a blank".into() })
            }
            prefix => Ok(prefix),
        }
    }

    fn client_claim(&self) -> Result<Option<&'static str>, ConfigError> {
        match self.optional("AUTH_CLIENT_CLAIM").as_deref() {
            None => Ok(None),
            Some("client_id") => Ok(Some("client_id")),
            Some("azp") => Ok(Some("azp")),
            Some(_) => {
                Err(ConfigError { name: "AUTH_CLIENT_CLAIM", problem: "is neither client_id nor azp".into() })
            }
        }
    }

    fn groups(&self) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
        let Some(text) = self.optional("AUTH_GROUP_PERMISSIONS") else { return Ok(BTreeMap::new()) };
        let name = "AUTH_GROUP_PERMISSIONS";
        let groups: Option<BTreeMap<String, Vec<String>>> = serde_json::from_str(&text).ok();
        // Without any, all names would count, as without the setting.
        let groups = groups.filter(|groups| !groups.is_empty()).ok_or(ConfigError {
            name,
            problem: "is no JSON object with a list of permissions for each of one group or more".into(),
        })?;
        let mut given = groups.values().flatten();
        match given.find(|given| !Permission::names().any(|known| known == given.as_str())) {
            Some(unknown) => {
                let known = Permission::names().collect::<Vec<_>>().join(", ");
                let problem = format!("gives {unknown:?}, which is no permission; these are: {known}").into();
                Err(ConfigError { name, problem })
            }
            None => Ok(groups),
        }
    }

    /// The text, or that of the file.
    fn jwks_authority(&self) -> Result<Option<String>, ConfigError> {
        let name = "AUTH_JWKS_CA";
        match self.optional(name) {
            Some(path) if !path.contains("-----BEGIN") => read(name, &path).map(Some),
            text => Ok(text),
        }
    }
}

/// The text of the file that a setting names.
fn read(name: &'static str, path: &str) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| ConfigError { name, problem: format!("cannot be read: {error}").into() })
}

/// What is wrong with certificates, of whatever setting.
pub(crate) fn no_certificates(name: &'static str) -> ConfigError {
    ConfigError { name, problem: "holds no certificates (PEM), or one that cannot be read".into() }
}

/// A URL of http or https, with a host.
fn read_url(url: &str) -> Option<Uri> {
    let url: Uri = url.parse().ok()?;
    let is_one =
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|h| !h.is_empty());
    is_one.then_some(url)
}

/// Keys must not be changed on their way: plain http is for loopback only.
fn check_jwks_url(url: &str) -> Result<(), ConfigError> {
    let is_safe = |url: &Uri| {
        url.scheme_str() == Some("https") || matches!(url.host(), Some("127.0.0.1" | "localhost" | "[::1]"))
    };
    if read_url(url).as_ref().is_some_and(is_safe) {
        return Ok(());
    }
    Err(ConfigError {
        name: "AUTH_JWKS_URL",
        problem: "is neither an https URL nor one of http on loopback".into(),
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn auth(settings: &[(&str, &str)]) -> Result<AuthSettings, ConfigError> {
        let base = [("AUTH_ISSUER", "i"), ("AUTH_AUDIENCE", "a, b")];
        let all: Vec<_> = base.iter().chain(settings).map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Config::new(move |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())).auth()
    }

    #[test]
    fn a_deleted_value_can_be_restored_for_as_long_as_secrets_manager_can() {
        let recovery = |days: &str| {
            let days = days.to_owned();
            let config = Config::new(move |name: &str| match name {
                "SECRETS_PREFIX" => Some("p/".into()),
                "SECRET_RECOVERY_DAYS" => Some(days.clone()),
                _ => None,
            });
            config.vault().map(|settings| settings.recovery)
        };
        for (days, expected) in [
            ("", Recovery::Days(7)),
            ("0", Recovery::None),
            ("7", Recovery::Days(7)),
            ("30", Recovery::Days(30)),
        ] {
            assert_eq!(recovery(days), Ok(expected), "{days}");
        }
        for days in ["1", "6", "31", "-7", "x"] {
            assert_eq!(recovery(days).unwrap_err().name, "SECRET_RECOVERY_DAYS", "{days}");
        }
    }

    #[test]
    fn a_flag_is_true_or_false_and_has_a_default() {
        let warms_up = |value: Option<&'static str>| {
            Config::new(move |name: &str| value.filter(|_| name == "WARM_UP").map(Into::into)).warms_up()
        };
        let given = [None, Some(""), Some("true"), Some("false")].map(warms_up);
        assert_eq!(given, [Ok(true), Ok(true), Ok(true), Ok(false)]);
        assert_eq!(warms_up(Some("yes")).unwrap_err().to_string(), "WARM_UP is neither true nor false");
    }

    #[test]
    fn rules_have_their_own_levels_unless_others_are_set() {
        let levels = |levels: Option<&str>| {
            let levels = levels.map(str::to_owned);
            Config::new(move |name: &str| levels.clone().filter(|_| name == "RULE_LEVELS")).rule_levels()
        };
        for default in [None, Some("")] {
            assert_eq!(levels(default), Ok(RuleLevels::default()));
        }
        let set = levels(Some("graph.cycle=error,edge.self=off")).unwrap();
        assert_eq!(Ok(&set), "edge.self=off,graph.cycle=error".parse().as_ref());
        let wrong = levels(Some("cast=off")).unwrap_err().to_string();
        let expected =
            "RULE_LEVELS has no adjustable rule in \"cast\"; adjustable are member.unknown, edge.self, ";
        assert!(wrong.starts_with(expected), "{wrong}");
    }

    /// As <https://www.amazontrust.com/repository/> has them: SHA-256 of each certificate.
    const FINGERPRINTS: [&str; 5] = [
        "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
        "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
        "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
        "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
    ];

    #[test]
    fn calls_to_aws_trust_amazons_roots_or_the_file_that_is_named() {
        let pem = String::from_utf8(AMAZON_ROOTS.to_vec()).unwrap();
        let certificates = pem.split("-----BEGIN CERTIFICATE-----").skip(1).map(|rest| {
            let base64: String = rest.split("-----END").next().unwrap().split_whitespace().collect();
            let digest = digest(&SHA256, &STANDARD.decode(base64).unwrap());
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
        });
        assert_eq!(certificates.collect::<Vec<_>>(), FINGERPRINTS);
        let client = |bundle: &'static str| {
            Config::new(move |name| (name == "AWS_CA_BUNDLE").then(|| bundle.into())).http_client()
        };
        assert!(client("").is_ok());
        assert_eq!(client("/no/such/file").unwrap_err().name, "AWS_CA_BUNDLE");
    }

    #[test]
    fn keys_come_from_exactly_one_source() {
        assert_eq!(auth(&[]).err().unwrap().name, "AUTH_JWKS_URL");
        assert_eq!(
            auth(&[("AUTH_JWKS", "{}"), ("AUTH_HS256_SECRET", "s")]).err().unwrap().problem,
            "is set beside AUTH_HS256_SECRET: keys come from one place"
        );
        let settings = auth(&[("AUTH_JWKS", "/etc/jwks.json")]).ok().unwrap();
        assert!(matches!(settings.keys, KeySource::File(_)));
        assert_eq!(settings.audiences, ["a", "b"]);
        assert_eq!(settings.tenant_claim, "tenant");
    }

    #[test]
    fn a_setting_of_tokens_that_makes_no_sense_is_named() {
        let keys = ("AUTH_JWKS", "{}");
        for (name, wrong) in [
            ("AUTH_AUDIENCE", ","),
            ("AUTH_AUDIENCE", " , ,"),
            ("AUTH_PERMISSION_CLAIMS", ","),
            ("AUTH_CLIENT_CLAIM", "sub"),
            ("AUTH_GROUP_PERMISSIONS", "editors"),
            ("AUTH_GROUP_PERMISSIONS", "[]"),
            ("AUTH_GROUP_PERMISSIONS", "{}"),
            ("AUTH_PERMISSION_PREFIX", " "),
            ("AUTH_GROUP_PERMISSIONS", r#"{"editors": {"flows.read": true}}"#),
            ("AUTH_GROUP_PERMISSIONS", r#"{"editors": [1]}"#),
            ("AUTH_JWKS_CA", "/no/such/file"),
            ("AUTH_JWKS_CA", "-----BEGIN CERTIFICATE-----"),
        ] {
            // The first of a name counts.
            let all = [(name, wrong), keys, ("AUTH_ISSUER", "i"), ("AUTH_AUDIENCE", "a")];
            let config = Config::new(move |name: &str| {
                all.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            });
            let error = config.auth().err().unwrap_or_else(|| panic!("{name}={wrong}"));
            assert_eq!(error.name, name, "{wrong}");
        }
    }

    #[test]
    fn an_authority_is_one_or_more_certificates() {
        use crate::identity::Verifier;

        let amazon = String::from_utf8(AMAZON_ROOTS.to_vec()).unwrap();
        let open = |ca: &str| {
            let url = ("AUTH_JWKS_URL", "https://id.example/jwks");
            Verifier::new(auth(&[url, ("AUTH_JWKS_CA", ca)]).unwrap_or_else(|error| panic!("{error}")))
        };
        for good in [amazon.clone(), amazon.replace('\n', " "), amazon.replace('\n', "\r\n")] {
            assert!(open(&good).is_ok(), "{good}");
        }
        for wrong in [
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN CERTIFICATE----- -----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE----- AAAA -----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE----- !!! -----END CERTIFICATE-----",
            "-----BEGIN PRIVATE KEY----- AAAA -----END PRIVATE KEY-----",
        ] {
            assert_eq!(open(wrong).err().unwrap().name, "AUTH_JWKS_CA", "{wrong}");
        }
    }

    #[test]
    fn keys_are_fetched_over_https_or_from_loopback() {
        for (url, good) in [
            ("https://id.example/jwks", true),
            ("http://127.0.0.1:4000/jwks", true),
            ("http://localhost/jwks", true),
            ("http://id.example/jwks", false),
            ("http://localhost.evil.example/jwks", false),
            ("http://localhost:x@evil.example/jwks", false),
            ("https://", false),
            ("https://id example/jwks", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(auth(&[("AUTH_JWKS_URL", url)]).is_ok(), good, "{url}");
        }
    }
}
