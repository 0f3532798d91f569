//! What functions are measured in: the local server with flows in it, and DynamoDB over TLS.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::{JoinError, JoinSet};

use crate::dynamodb::DynamoDb;
use crate::http::{Error, Http};
use crate::lambda::Events;
use crate::units::Item;

const ISSUER: &str = "https://id.example.com/";
const AUDIENCE: &str = "flows";
/// Amazon Trust Services has as many.
const AMAZON_ROOTS: usize = 5;
const TABLE: &str = "flow-repository";
/// One without a stream.
const QUIET: &str = "quiet";
/// As many as `POST /flows` takes at once.
const BULK: usize = 100;
/// Flows whose head and three rows are not more items than `BatchWriteItem` takes.
const BATCH: usize = 6;
/// Batches under way at once.
const AT_ONCE: usize = 8;

/// The world.
pub(crate) struct World {
    _server: Child,
    /// The roots of the endpoint's certificate, and what callgrind and strace write.
    pub(crate) folder: TempDir,
    pub(crate) dynamodb: Arc<DynamoDb>,
    /// What every function is given.
    pub(crate) environment: Vec<(String, String)>,
    /// Where the functions' items are.
    table: &'static str,
    http: Http,
    pub(crate) url: String,
    key: EncodingKey,
    /// A flow of 4 KB.
    pub(crate) flow: Value,
    /// The folder with an event for each function.
    pub(crate) samples: std::path::PathBuf,
    inactive: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub(crate) async fn start(root: &Path, server: &Path) -> Result<Self, Error> {
        Self::with(root, server, "off").await
    }

    /// The same, but functions have a table whose changes nobody follows and that has no index: following those
    /// of 100,000 flows, or as many starts that nobody confirms, takes the local server longer than all that is
    /// measured. What is in it must come from `fill`.
    pub(crate) async fn quiet(root: &Path, server: &Path) -> Result<Self, Error> {
        let mut world = Self::start(root, server).await?;
        let followed = world.dynamodb.call("DescribeTable", &json!({"TableName": TABLE})).await?;
        let keys = followed["Table"]["KeySchema"].as_array().ok_or("no keys")?;
        let string = |key: &Value| json!({"AttributeName": key["AttributeName"], "AttributeType": "S"});
        let mut table = json!({"KeySchema": keys});
        table["AttributeDefinitions"] = keys.iter().map(string).collect();
        table["TableName"] = QUIET.into();
        table["BillingMode"] = "PAY_PER_REQUEST".into();
        world.dynamodb.call("CreateTable", &table).await?;
        world.table = QUIET;
        world.environment.retain(|(name, _)| name != "TABLE_NAME");
        world.environment.push(("TABLE_NAME".into(), QUIET.into()));
        Ok(world)
    }

    /// With an orchestrator that answers, or without.
    pub(crate) async fn with(root: &Path, server: &Path, orchestrator: &str) -> Result<Self, Error> {
        // RS256, as Cognito, Auth0 and Entra sign; the local server's own tokens are EdDSA.
        let pem = KeyPair::generate_for(&PKCS_RSA_SHA256)?.serialize_pem();
        let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        jwk.common.key_id = Some("bench".into());
        let jwks = json!({"keys": [jwk]}).to_string();
        let auth = [("AUTH_ISSUER", ISSUER), ("AUTH_AUDIENCE", AUDIENCE), ("AUTH_JWKS", &jwks)];
        let mut child = Command::new(server)
            .args(["--port", "0", "--data", ":memory:", "--aws-port", "0", "--orchestrator", orchestrator])
            .envs(auth)
            .env("LOG_LEVEL", "error")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", server.display()))?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut after = async |text: &str| loop {
            let line = lines.next_line().await?.ok_or("the local server has ended")?;
            if let Some((_, rest)) = line.split_once(text) {
                break Ok::<_, Error>(rest.split([' ', ';']).next().unwrap_or_default().to_owned());
            }
        };
        let url = after("listens on ").await?;
        let (dynamodb, endpoint, roots) =
            DynamoDb::start(after("AWS_ENDPOINT_URL=").await?, jwks.clone()).await?;
        let folder = TempDir::new()?;
        let certificates = folder.path().join("roots.pem");
        // The functions are given as many roots as Amazon has, the last of them that of the endpoint.
        let few = folder.path().join("few-roots.pem");
        let begin = "-----BEGIN CERTIFICATE-----";
        let last: Vec<_> =
            roots.rsplit(begin).take(AMAZON_ROOTS).map(|root| format!("{begin}{root}")).collect();
        std::fs::write(&few, last.concat())?;
        std::fs::write(&certificates, roots)?;
        let environment = [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "example"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "g"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
            ("LAMBDA_TASK_ROOT", "/var/task"),
            ("SSL_CERT_FILE", &certificates.to_string_lossy()),
            ("AWS_CA_BUNDLE", &few.to_string_lossy()),
            ("TABLE_NAME", TABLE),
        ];
        let environment =
            environment.into_iter().chain(auth).map(|(name, value)| (name.into(), value.into())).collect();
        Ok(Self {
            _server: child,
            folder,
            dynamodb,
            environment,
            table: TABLE,
            http: Http::new(),
            url,
            key,
            flow: serde_json::from_slice(&std::fs::read(root.join("tests/bench/flow.json"))?)?,
            samples: root.join("tests/events"),
            inactive: Arc::default(),
        })
    }

    /// A token with the permissions for flows, and these.
    pub(crate) fn token(&self, user: &str, tenant: &str, more: &[&str]) -> Result<String, Error> {
        let permissions = [&["flows.read", "flows.write", "flows.control", "flows.bulk"], more].concat();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": user, "tenant": tenant, "iat": now, "nbf": now, "exp": now + 86_400,
            "permissions": permissions,
        });
        let header = Header { kid: Some("bench".into()), ..Header::new(Algorithm::RS256) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }

    /// Asks the local server as a user of a tenant.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        (user, tenant): (&str, &str),
        body: Option<&Value>,
    ) -> Result<Response<Bytes>, Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token(user, tenant, &[])?))
            .header("content-type", "application/json")
            .body(Full::new(body.map(Value::to_string).unwrap_or_default().into()))?;
        self.http.send(request).await
    }

    /// Stores a flow and gives its id.
    pub(crate) async fn store(&self, flow: &Value, user: &str, tenant: &str) -> Result<String, Error> {
        let answer = self.request("POST", "/flows", (user, tenant), Some(flow)).await?;
        let body: Value = serde_json::from_slice(answer.body())?;
        Ok(body["data"]["id"].as_str().ok_or_else(|| format!("the flow was not stored: {body}"))?.to_owned())
    }

    /// The head of a flow of 4 KB that was just stored.
    pub(crate) async fn head_of_new_flow(&self) -> Result<Item, Error> {
        let id = self.store(&self.flow, "anna", "acme").await?;
        let key = json!({"pk": {"S": format!("FLOW#{id}")}, "sk": {"S": "HEAD"}});
        let answer = self.dynamodb.call("GetItem", &json!({"TableName": TABLE, "Key": key})).await?;
        Ok(answer["Item"].as_object().ok_or("no head")?.clone())
    }

    /// Stores flows of 4 KB over HTTP and gives their ids.
    pub(crate) async fn create(&self, count: usize, user: &str, tenant: &str) -> Result<Vec<String>, Error> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let flows = vec![&self.flow; BULK.min(count - ids.len())];
            let answer = self.request("POST", "/flows", (user, tenant), Some(&json!(flows))).await?;
            let body: Value = serde_json::from_slice(answer.body())?;
            let stored = body["data"].as_array().into_iter().flatten().filter_map(|flow| flow["id"].as_str());
            let before = ids.len();
            ids.extend(stored.map(Into::into));
            if ids.len() != before + flows.len() {
                return Err(format!("flows were not stored: {body}").into());
            }
        }
        Ok(ids)
    }

    /// Calls the API as a user and gives the answer's body.
    pub(crate) async fn call(&self, token: &str, line: &str, body: &Value) -> Result<Value, Error> {
        let (method, path) = line.split_once(' ').ok_or("no method")?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))?;
        let answer = self.http.send(request).await?;
        if !answer.status().is_success() {
            return Err(format!("{line}: {}", String::from_utf8_lossy(answer.body())).into());
        }
        Ok(serde_json::from_slice(answer.body()).unwrap_or_default())
    }

    /// Makes sure that there are this many flows more that can be started.
    pub(crate) async fn provide_inactive(&self, count: usize) -> Result<(), Error> {
        let more = self.fill(count, "anna", "acme").await?;
        self.inactive.lock().map_err(|_| "poisoned")?.extend(more);
        Ok(())
    }

    /// Gives a user and its tenant this many flows of 4 KB, and gives their ids.
    pub(crate) async fn fill(&self, count: usize, user: &str, tenant: &str) -> Result<Vec<String>, Error> {
        self.copies(&self.flow, count, user, tenant).await
    }

    /// Stores one flow over HTTP; the others are all its items again, with the ids that the store gives to
    /// what is created within one millisecond.
    pub(crate) async fn copies(
        &self,
        flow: &Value,
        count: usize,
        user: &str,
        tenant: &str,
    ) -> Result<Vec<String>, Error> {
        let original = self.store(flow, user, tenant).await?;
        let all = format!("ALL#{}", shard(&original));
        let mut items = Vec::new();
        for (pk, sk) in [
            (format!("FLOW#{original}"), "HEAD"),
            (format!("OWNER#user#{user}"), &original),
            (format!("OWNER#tenant#{tenant}"), &original),
            (all.clone(), &original),
        ] {
            let request = json!({"TableName": TABLE, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}});
            let item = &self.dynamodb.call("GetItem", &request).await?["Item"];
            if item.is_null() {
                return Err(format!("no item {pk}").into());
            }
            items.push(json!({"PutRequest": {"Item": item}}).to_string());
        }
        let items = items.join(",");
        let (second, counted) = original.split_at_checked(8).ok_or("no id")?;
        let counted = u64::from_str_radix(counted, 16)?;
        let ids: Vec<_> =
            (0..count as u64).map(|number| format!("{second}{:016x}", counted + number)).collect();
        let mut batches = JoinSet::new();
        for copies in ids.chunks(BATCH) {
            let copies = copies
                .iter()
                .map(|id| items.replace(&original, id).replace(&all, &format!("ALL#{}", shard(id))));
            let copies = copies.collect::<Vec<_>>().join(",");
            let request =
                serde_json::from_str(&format!(r#"{{"RequestItems":{{"{}":[{copies}]}}}}"#, self.table))?;
            let dynamodb = Arc::clone(&self.dynamodb);
            batches.spawn(async move { dynamodb.call("BatchWriteItem", &request).await });
            if batches.len() == AT_ONCE {
                written(batches.join_next().await)?;
            }
        }
        while let batch @ Some(_) = batches.join_next().await {
            written(batch)?;
        }
        Ok(ids)
    }

    /// A function's events, one after the other: the same request again, but for what can be done only
    /// once.
    pub(crate) fn events(&self, function: &str, asks: &Asks) -> Result<Events, Error> {
        let file = match function {
            "hello" | "naive" => "get-flow",
            function => function,
        };
        let mut event: Value =
            serde_json::from_slice(&std::fs::read(self.samples.join(format!("{file}.json")))?)?;
        event["headers"]["authorization"] =
            format!("Bearer {}", self.token(&asks.user, &asks.tenant, &[])?).into();
        event["headers"].as_object_mut().ok_or("no headers")?.remove("idempotency-key");
        match file {
            "create-flow" => {
                let body = self.flow.to_string();
                event["headers"]["content-length"] = body.len().to_string().into();
                event["body"] = body.into();
            }
            "list-flows" => {
                event["rawQueryString"] = asks.query.replace('[', "%5B").replace(']', "%5D").into();
                let pairs = asks.query.split('&').filter_map(|pair| pair.split_once('='));
                event["queryStringParameters"] = pairs
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect::<Map<_, Value>>()
                    .into();
            }
            _ => {}
        }
        let (place, text) =
            (event["pathParameters"]["id"].as_str().unwrap_or("none").to_owned(), event.to_string());
        if file != "start-flow" {
            let text = text.replace(&place, &asks.id);
            return Ok(Box::new(move || Ok(text.clone())));
        }
        let inactive = Arc::clone(&self.inactive);
        Ok(Box::new(move || {
            let id = inactive.lock().map_err(|_| "poisoned")?.pop().ok_or("no flow is left to start")?;
            Ok(text.replace(&place, &id))
        }))
    }
}

/// In which share of the administrators' list a flow is: as `FlowId::shard` says.
fn shard(id: &str) -> u32 {
    let digits = id.chars().filter_map(|digit| digit.to_digit(16)).collect::<Vec<_>>();
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit));
    bytes.fold(0, |sum, byte| sum * 31 % 65_521 + byte) % 4
}

fn written(batch: Option<Result<Result<Value, Error>, JoinError>>) -> Result<(), Error> {
    match batch.transpose()?.transpose()? {
        Some(answer) if answer["UnprocessedItems"].as_object().is_some_and(|rest| !rest.is_empty()) => {
            Err("a batch was not written whole".into())
        }
        _ => Ok(()),
    }
}

/// Who asks for what.
#[derive(Clone)]
pub(crate) struct Asks {
    pub(crate) user: String,
    pub(crate) tenant: String,
    pub(crate) id: String,
    pub(crate) query: String,
}
