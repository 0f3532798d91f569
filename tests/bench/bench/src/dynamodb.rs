//! DynamoDB over TLS: passes calls on to the local server, and counts them with their capacity units.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::http::{Answer, Error, Http, serve};
use crate::units::{self, Item};

/// About as many certificates as Lambda's own bundle has: a client reads them all.
const ROOTS: usize = 140;
/// The keys of the table's indexes, which are all that they have; the first is also the index's name.
const INDEXES: [&[&str]; 2] = [&["unconfirmed", "announcedAt", "pk", "sk"], &["startedBy", "id", "pk", "sk"]];

/// Where the keys are that tokens are verified with.
const KEYS: &str = "/jwks.json";

/// What requests cost.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) calls: BTreeMap<String, u32>,
    pub(crate) read: f64,
    pub(crate) write: f64,
    /// What the writes cost in the indexes beside the table.
    pub(crate) index: f64,
    /// Events put on the bus, for each 64 KB.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) events: usize,
    /// Their names.
    #[serde(skip)]
    pub(crate) announced: Vec<String>,
    /// The records that the stream has of the writes.
    #[serde(skip)]
    pub(crate) records: Vec<Value>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// How long each call takes at least, by its name; `other` for those without.
pub(crate) type Pace = BTreeMap<String, u64>;

/// The endpoint.
pub(crate) struct DynamoDb {
    http: Http,
    backend: String,
    /// The keys that tokens are verified with, which are at `KEYS` too.
    jwks: String,
    /// None while nothing is counted: to know sizes, items are read once more.
    cost: Mutex<Option<Cost>>,
    pace: Mutex<Pace>,
}

impl DynamoDb {
    /// Listens on a free port in front of `backend`; gives its own URL and the PEM of its roots too.
    pub(crate) async fn start(backend: String, jwks: String) -> Result<(Arc<Self>, String, String), Error> {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
        let mut roots = String::new();
        let mut issuer = None;
        for number in 0..ROOTS {
            let mut authority = CertificateParams::default();
            authority.distinguished_name.push(DnType::CommonName, format!("Bench Root CA {number}"));
            authority.distinguished_name.push(DnType::OrganizationName, "Flow Repository Bench");
            authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(authority, &key)?;
            roots += &authority.pem();
            issuer = Some(authority);
        }
        let issuer = issuer.ok_or("no root")?;
        let leaf = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&leaf, &issuer)?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(leaf.serialize_der()).into(),
        )?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let endpoint = Arc::new(Self {
            http: Http::new(),
            backend,
            jwks,
            cost: Mutex::default(),
            pace: Mutex::default(),
        });
        let state = Arc::clone(&endpoint);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, state, |state, request| async move { state.answer(request).await })
                            .await;
                    }
                });
            }
        });
        Ok((endpoint, url, roots))
    }

    /// Counts from now on.
    pub(crate) fn count(&self) {
        self.set(Some(Cost::default()));
    }

    /// What was counted.
    pub(crate) fn counted(&self) -> Cost {
        self.set(None).unwrap_or_default()
    }

    /// Answers no sooner from now on.
    pub(crate) fn keep_pace(&self, pace: Pace) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }

    /// What a call has to take.
    fn least(&self, call: &str) -> Duration {
        let pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(pace.get(call).or(pace.get("other")).copied().unwrap_or_default())
    }

    fn set(&self, cost: Option<Cost>) -> Option<Cost> {
        std::mem::replace(&mut *self.cost.lock().unwrap_or_else(PoisonError::into_inner), cost)
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Answer, Error> {
        if request.uri().path() == KEYS {
            return Ok(Response::new(Full::new(self.jwks.clone().into())));
        }
        let started = Instant::now();
        let counts = self.cost.lock().is_ok_and(|cost| cost.is_some());
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        // Calls of other services keep the service's name.
        let target = target.unwrap_or_default();
        let name = match target.split_once('.') {
            Some((service, operation)) if service.starts_with("DynamoDB_") => operation.to_owned(),
            _ => target.to_owned(),
        };
        let least = self.least(&name);
        let (mut head, body) = request.into_parts();
        head.uri = self.backend.parse()?;
        let mut cost = None;
        let mut update = None;
        if counts {
            let content = serde_json::from_slice(&body)?;
            let mut own = Cost::default();
            if name == "UpdateItem" {
                // What it becomes is only known afterwards.
                update = Some((self.item(&content, &content).await?, content));
            } else if name == "AWSEvents.PutEvents" {
                count_events(&content, &mut own);
            } else if !name.contains('.') {
                own = self.cost(&name, &content).await?;
            }
            cost = Some(own);
        }
        let answer = self.http.send(Request::from_parts(head, Full::new(body))).await?;
        if let (Some((before, content)), Some(cost)) = (update, &mut cost) {
            let after = self.item(&content, &content).await?;
            settle(before, after, false, cost);
        }
        if let (Some(more), Ok(mut guard)) = (cost, self.cost.lock())
            && let Some(cost) = guard.as_mut()
        {
            *cost.calls.entry(name).or_default() += 1;
            cost.read += more.read;
            cost.write += more.write;
            cost.index += more.index;
            cost.events += more.events;
            cost.announced.extend(more.announced);
            cost.records.extend(more.records);
        }
        let rest = least.saturating_sub(started.elapsed());
        if !rest.is_zero() {
            wait(rest).await?;
        }
        Ok(answer.map(Full::new))
    }

    /// What a call will cost, by what the table has before it.
    async fn cost(&self, operation: &str, request: &Value) -> Result<Cost, Error> {
        let mut cost = Cost::default();
        match operation {
            "GetItem" => {
                let item = self.item(request, request).await?;
                cost.read += units::read(units::size(&item), request["ConsistentRead"] == true);
            }
            "BatchGetItem" => {
                for (table, wanted) in request["RequestItems"].as_object().into_iter().flatten() {
                    for key in wanted["Keys"].as_array().into_iter().flatten() {
                        let item = self.item(&json!({"TableName": table}), &json!({"Key": key})).await?;
                        cost.read += units::read(units::size(&item), wanted["ConsistentRead"] == true);
                    }
                }
            }
            "Query" => {
                // What is read is whole items, whatever is filtered out of them.
                let mut whole = request.clone();
                let members = whole.as_object_mut().ok_or("no request")?;
                members.retain(|name, _| {
                    !matches!(name.as_str(), "ProjectionExpression" | "FilterExpression" | "Select")
                });
                let condition = request["KeyConditionExpression"].as_str().unwrap_or_default();
                for names in ["ExpressionAttributeNames", "ExpressionAttributeValues"] {
                    if let Some(used) = members.get_mut(names).and_then(Value::as_object_mut) {
                        used.retain(|name, _| condition.contains(name.as_str()));
                        if used.is_empty() {
                            members.remove(names);
                        }
                    }
                }
                let answer = self.call("Query", &whole).await?;
                let items = answer["Items"].as_array().into_iter().flatten().filter_map(Value::as_object);
                cost.read += units::read(items.map(units::size).sum(), request["ConsistentRead"] == true);
            }
            "TransactWriteItems" => {
                for write in request["TransactItems"].as_array().into_iter().flatten() {
                    for (kind, write) in write.as_object().into_iter().flatten() {
                        self.write(kind, write, true, &mut cost).await?;
                    }
                }
            }
            "PutItem" | "DeleteItem" => self.write(operation, request, false, &mut cost).await?,
            other => return Err(format!("no rule for {other}").into()),
        }
        Ok(cost)
    }

    async fn write(
        &self,
        kind: &str,
        write: &Value,
        transaction: bool,
        cost: &mut Cost,
    ) -> Result<(), Error> {
        let put = write["Item"].as_object();
        let key = match put {
            Some(item) => json!({"Key": {"pk": item.get("pk"), "sk": item.get("sk")}}),
            None => write.clone(),
        };
        let before = self.item(write, &key).await?;
        let after = match kind {
            "Put" | "PutItem" => put.cloned().unwrap_or_default(),
            "Delete" | "DeleteItem" => Item::default(),
            "ConditionCheck" => before.clone(),
            other => return Err(format!("no rule for {other}").into()),
        };
        settle(before, after, transaction, cost);
        Ok(())
    }

    async fn item(&self, table: &Value, key: &Value) -> Result<Item, Error> {
        let request = json!({"TableName": table["TableName"], "Key": key["Key"], "ConsistentRead": true});
        Ok(self.call("GetItem", &request).await?["Item"].as_object().cloned().unwrap_or_default())
    }

    /// Calls the local server itself, uncounted.
    pub(crate) async fn call(&self, operation: &str, request: &Value) -> Result<Value, Error> {
        let request = Request::post(&self.backend)
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
            .header("x-amz-date", "20260101T000000Z")
            .body(Full::new(request.to_string().into()))?;
        let answer: Response<Bytes> = self.http.send(request).await?;
        if !answer.status().is_success() {
            return Err(format!("{operation}: {}", String::from_utf8_lossy(answer.body())).into());
        }
        Ok(serde_json::from_slice(answer.body())?)
    }
}

/// The larger of the item before and after counts; in each index, whether its entry changes.
fn settle(before: Item, after: Item, transaction: bool, cost: &mut Cost) {
    cost.write += units::write(units::size(&before).max(units::size(&after)), transaction);
    for keys in INDEXES {
        let entry = |item: &Item| {
            keys.iter()
                .map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())))
                .collect::<Option<Item>>()
        };
        let (old, new) = (entry(&before), entry(&after));
        if old != new {
            // One that moves is removed and written.
            let entries = [old, new].into_iter().flatten();
            cost.index += entries.map(|entry| units::write(units::size(&entry), false)).sum::<f64>();
        }
    }
    if before != after {
        cost.records.push(record(before, after));
    }
}

/// What the stream says of a write.
fn record(before: Item, after: Item) -> Value {
    let some = if after.is_empty() { &before } else { &after };
    let name = match (before.is_empty(), after.is_empty()) {
        (true, _) => "INSERT",
        (_, true) => "REMOVE",
        _ => "MODIFY",
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut change = json!({
        "ApproximateCreationDateTime": now, "Keys": {"pk": some.get("pk"), "sk": some.get("sk")},
        "SequenceNumber": "111700000000000000001", "SizeBytes": 512, "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    for (image, item) in [("OldImage", before), ("NewImage", after)] {
        if !item.is_empty() {
            change[image] = item.into();
        }
    }
    json!({
        "eventID": "c4ca4238a0b923820dcc509a6f75849b", "eventName": name, "eventVersion": "1.1",
        "eventSource": "aws:dynamodb", "awsRegion": "us-east-1", "dynamodb": change,
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/flow-repository/stream/2026-11-22T08:00:00.000",
    })
}

/// Tokio's own clock has steps of a millisecond.
#[allow(clippy::disallowed_methods, reason = "a thread of its own sleeps")]
async fn wait(time: Duration) -> Result<(), Error> {
    Ok(tokio::task::spawn_blocking(move || std::thread::sleep(time)).await?)
}

/// Every 64 KB of an event is paid for as one.
fn count_events(request: &Value, cost: &mut Cost) {
    for entry in request["Entries"].as_array().into_iter().flatten() {
        cost.events += entry["Detail"].as_str().unwrap_or_default().len().div_ceil(64 * 1024).max(1);
        cost.announced.extend(entry["DetailType"].as_str().map(Into::into));
    }
}
