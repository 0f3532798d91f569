//! DynamoDB over TLS: passes calls on to the local server, and counts them with their capacity units.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

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
/// The table's only index and its keys, which are all that it has.
const INDEX: &str = "unconfirmed";
const INDEX_KEYS: [&str; 4] = ["pk", "sk", INDEX, "announcedAt"];

/// What requests cost.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) calls: BTreeMap<String, u32>,
    pub(crate) read: f64,
    pub(crate) write: f64,
    /// What the writes cost in the index beside the table.
    pub(crate) index: f64,
}

/// The endpoint.
pub(crate) struct DynamoDb {
    http: Http,
    backend: String,
    /// None while nothing is counted: to know sizes, items are read once more.
    cost: Mutex<Option<Cost>>,
}

impl DynamoDb {
    /// Listens on a free port in front of `backend`; gives its own URL and the PEM of its roots too.
    pub(crate) async fn start(backend: String) -> Result<(Arc<Self>, String, String), Error> {
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
        let endpoint = Arc::new(Self { http: Http::new(), backend, cost: Mutex::default() });
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

    fn set(&self, cost: Option<Cost>) -> Option<Cost> {
        std::mem::replace(&mut *self.cost.lock().unwrap_or_else(std::sync::PoisonError::into_inner), cost)
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Answer, Error> {
        let counts = self.cost.lock().is_ok_and(|cost| cost.is_some());
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.split('.').nth(1)).unwrap_or_default().to_owned();
        let cost = if counts {
            Some(self.cost(&operation, &serde_json::from_slice(request.body())?).await?)
        } else {
            None
        };
        let (mut head, body) = request.into_parts();
        head.uri = self.backend.parse()?;
        let answer = self.http.send(Request::from_parts(head, Full::new(body))).await?;
        if let (Some(more), Ok(mut guard)) = (cost, self.cost.lock())
            && let Some(cost) = guard.as_mut()
        {
            *cost.calls.entry(operation).or_default() += 1;
            cost.read += more.read;
            cost.write += more.write;
            cost.index += more.index;
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

    /// The larger of the item before and after counts; in the index, whether its entry changes.
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
        cost.write += units::write(units::size(&before).max(units::size(&after)), transaction);
        let entry = |item: &Item| {
            let keys = item.iter().filter(|(name, _)| INDEX_KEYS.contains(&name.as_str()));
            item.contains_key(INDEX)
                .then(|| keys.map(|(name, value)| (name.clone(), value.clone())).collect::<Item>())
        };
        let (before, after) = (entry(&before), entry(&after));
        if before != after {
            // One that moves is removed and written.
            let entries = [before, after].into_iter().flatten();
            cost.index += entries.map(|entry| units::write(units::size(&entry), false)).sum::<f64>();
        }
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
