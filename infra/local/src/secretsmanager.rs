//! As much of Secrets Manager as the functions call, with its rules for versions and their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::limits::SECRET_BYTES;
use tokio::net::TcpListener;

const FILE: &str = "secrets.json";
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// The secrets of a local server.
#[derive(Debug, Default)]
pub struct SecretsManager {
    secrets: Mutex<BTreeMap<String, Stored>>,
    /// Where they are kept; in memory without.
    file: Option<PathBuf>,
}

/// A secret by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its versions by their ids.
    pub versions: BTreeMap<String, Version>,
    /// Whether it only waits for the end of its recovery window.
    pub is_deleted: bool,
}

/// One version of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// What it keeps.
    pub value: String,
    /// `AWSCURRENT` and others.
    pub labels: BTreeSet<String>,
}

/// An answer that is none: its error code.
type Refusal = &'static str;

const NOT_FOUND: Refusal = "ResourceNotFoundException";
const INVALID: Refusal = "InvalidRequestException";
const PARAMETER: Refusal = "InvalidParameterException";
const EXISTS: Refusal = "ResourceExistsException";

impl SecretsManager {
    /// The secrets kept in this folder; in memory without one.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(folder: Option<&Path>) -> io::Result<Self> {
        let file = folder.map(|folder| folder.join(FILE));
        let secrets = match file.as_deref().map(std::fs::read) {
            Some(Ok(text)) => serde_json::from_slice(&text)?,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => BTreeMap::new(),
        };
        Ok(Self { secrets: Mutex::new(secrets), file })
    }

    /// Listens until the server ends.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn listen(&'static self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(post(move |headers: HeaderMap, body: Bytes| async move {
            let target =
                headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
            let operation = target.strip_prefix("secretsmanager.").unwrap_or_default();
            let request = serde_json::from_slice(&body).unwrap_or_default();
            match self.answer(operation, &request) {
                Ok(answer) => (StatusCode::OK, answer.to_string()).into_response(),
                Err(code) => (StatusCode::BAD_REQUEST, json!({"__type": code}).to_string()).into_response(),
            }
        }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    /// All secrets, those too that can still be restored.
    pub fn all(&self) -> BTreeMap<String, Stored> {
        self.lock().clone()
    }

    /// Takes back that this secret was deleted.
    pub fn restore(&self, name: &str) {
        if let Some(secret) = self.lock().get_mut(name) {
            secret.is_deleted = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        if text("SecretString").is_some_and(|value| value.len() > SECRET_BYTES) {
            return Err("ValidationException");
        }
        let name = text("SecretId").or_else(|| text("Name")).ok_or(PARAMETER)?;
        let mut secrets = self.lock();
        let found = secrets.get(name).cloned();
        let live = || match &found {
            None => Err(NOT_FOUND),
            Some(secret) if secret.is_deleted => Err(INVALID),
            Some(secret) => Ok(secret.clone()),
        };
        let arn = format!("arn:aws:secretsmanager:local:000000000000:secret:{name}");
        let answer = json!({"ARN": arn, "Name": name});
        let changed = match operation {
            "GetSecretValue" => {
                let secret = live()?;
                let label = text("VersionStage").unwrap_or(CURRENT);
                let (id, version) = match text("VersionId") {
                    Some(id) => secret.versions.get_key_value(id),
                    None => secret.versions.iter().find(|(_, version)| version.labels.contains(label)),
                }
                .ok_or(NOT_FOUND)?;
                return Ok(
                    json!({"ARN": arn, "Name": name, "VersionId": id, "VersionStages": version.labels,
                    "SecretString": version.value}),
                );
            }
            "DescribeSecret" => {
                let secret = found.ok_or(NOT_FOUND)?;
                let labelled = secret.versions.iter().filter(|(_, version)| !version.labels.is_empty());
                let labels: BTreeMap<_, _> =
                    labelled.map(|(id, version)| (id, version.labels.clone())).collect();
                // Whether it is deleted is looked at, but not when.
                let deleted = secret.is_deleted.then_some(0);
                return Ok(
                    json!({"ARN": arn, "Name": name, "VersionIdsToStages": labels, "DeletedDate": deleted}),
                );
            }
            "CreateSecret" => {
                let version = text("ClientRequestToken").ok_or(PARAMETER)?;
                let value = text("SecretString").ok_or(PARAMETER)?;
                match &found {
                    Some(secret) if secret.is_deleted => return Err(INVALID),
                    Some(secret)
                        if secret.versions.get(version).is_none_or(|version| version.value != value) =>
                    {
                        return Err(EXISTS);
                    }
                    Some(_) => return Ok(answer),
                    None => {}
                }
                let mut secret = Stored { tags: tags(request), ..Stored::default() };
                secret.put(version, value, [CURRENT.to_owned()].into())?;
                Some(secret)
            }
            "PutSecretValue" => {
                let mut secret = live()?;
                let labels = request.get("VersionStages").and_then(Value::as_array);
                let labels = match labels {
                    Some(labels) => labels.iter().filter_map(Value::as_str).map(Into::into).collect(),
                    None => [CURRENT.to_owned()].into(),
                };
                let version = text("ClientRequestToken").ok_or(PARAMETER)?;
                secret.put(version, text("SecretString").ok_or(PARAMETER)?, labels)?;
                Some(secret)
            }
            "UpdateSecretVersionStage" => {
                let mut secret = live()?;
                let label = text("VersionStage").ok_or(PARAMETER)?;
                secret.move_label(label, text("MoveToVersionId"), text("RemoveFromVersionId"))?;
                Some(secret)
            }
            "DeleteSecret" => {
                let force = request.get("ForceDeleteWithoutRecovery") == Some(&Value::Bool(true));
                match found {
                    // Asked to make sure, it does not mind.
                    None if force => return Ok(answer),
                    None => return Err(NOT_FOUND),
                    Some(_) if force => None,
                    Some(secret) if secret.is_deleted => return Err(INVALID),
                    Some(secret) => Some(Stored { is_deleted: true, ..secret }),
                }
            }
            _ => return Err("UnknownOperationException"),
        };
        match changed {
            Some(secret) => drop(secrets.insert(name.to_owned(), secret)),
            None => drop(secrets.remove(name)),
        }
        self.keep(&secrets).map_err(|_| "InternalServiceError")?;
        Ok(answer)
    }

    /// Writes the file anew, readable by its owner alone.
    fn keep(&self, secrets: &BTreeMap<String, Stored>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let draft = file.with_extension("draft");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&draft)?.write_all(&serde_json::to_vec(secrets)?)?;
        std::fs::rename(&draft, file)
    }
}

fn tags(request: &Value) -> BTreeMap<String, String> {
    let tags = request.get("Tags").and_then(Value::as_array).into_iter().flatten();
    let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    tags.filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value")?))).collect()
}

impl Stored {
    /// A version that is there already must be the same.
    fn put(&mut self, id: &str, value: &str, labels: BTreeSet<String>) -> Result<(), Refusal> {
        match self.versions.get(id) {
            Some(version) if version.value != value => return Err(EXISTS),
            Some(_) => return Ok(()),
            None => {}
        }
        self.versions.insert(id.into(), Version { value: value.into(), labels: BTreeSet::new() });
        for label in labels {
            let holder = self.holder(&label);
            self.move_label(&label, Some(id), holder.as_deref())?;
        }
        Ok(())
    }

    fn holder(&self, label: &str) -> Option<String> {
        self.versions.iter().find(|(_, version)| version.labels.contains(label)).map(|(id, _)| id.clone())
    }

    /// A label is at one version; to move it one has to say where it is.
    fn move_label(&mut self, label: &str, to: Option<&str>, from: Option<&str>) -> Result<(), Refusal> {
        let holder = self.holder(label);
        if [to, from].into_iter().flatten().any(|id| !self.versions.contains_key(id)) {
            return Err(NOT_FOUND);
        }
        let is_moved = holder.as_deref() != to;
        if is_moved && holder.as_deref() != from {
            return Err(PARAMETER);
        }
        if let Some(version) = holder.as_ref().filter(|_| is_moved).and_then(|id| self.versions.get_mut(id)) {
            version.labels.remove(label);
        }
        if let Some(version) = to.and_then(|id| self.versions.get_mut(id)) {
            version.labels.insert(label.into());
        }
        if label == CURRENT && is_moved {
            for version in self.versions.values_mut() {
                version.labels.remove(PREVIOUS);
            }
            if let Some(version) = holder.and_then(|id| self.versions.get_mut(&id)) {
                version.labels.insert(PREVIOUS.into());
            }
        }
        Ok(())
    }
}
