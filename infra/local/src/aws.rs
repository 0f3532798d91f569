//! The AWS services of the local server, on loopback ports of their own: an embedded DynamoDB, and
//! as much of EventBridge and SQS as the functions call. The functions use them through the real SDK.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType,
};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use dynoxide::Database;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use shared::config::{self, ConfigError};
use shared::limits::SQS_MESSAGE_BYTES;
use tokio::net::TcpListener;

use crate::bus::{Bus, Entry, TooLarge};

/// The table's name.
pub const TABLE: &str = "flow-repository";
/// The bus's name.
pub const BUS: &str = "flow-repository";
/// What the names of secrets begin with.
pub const SECRETS_PREFIX: &str = "flow-repository/secrets/";
/// The queue of unreadable changes.
pub const UNREADABLE_QUEUE: &str = "unreadable-changes";

/// The table's index of flows that wait for the orchestrator.
const UNCONFIRMED: &str = "unconfirmed";
/// The table's index of runs by who has started them.
const STARTED_BY: &str = "startedBy";
/// The region of the services here.
const REGION: &str = "local";
const DATABASE_FILE: &str = "dynamodb.sqlite";

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// The database.
    #[error("cannot open the database: {0}")]
    Database(String),
    /// A loopback port.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[from] std::io::Error),
    /// The table.
    #[error("cannot make the table: {0}")]
    Table(String),
}

/// A DynamoDB instead of the embedded one.
#[derive(Clone, Debug)]
pub struct OtherDynamoDb {
    /// Its URL.
    pub endpoint: String,
    /// What requests are signed for: some engines refuse regions that AWS does not have.
    pub region: Option<String>,
    /// The table's name there.
    pub table: String,
}

impl OtherDynamoDb {
    /// The one at `DYNAMODB_ENDPOINT`, in `AWS_REGION`, if any is named.
    ///
    /// # Errors
    /// When one of these makes no sense.
    pub fn from_env(table: impl FnOnce() -> String) -> Result<Option<Self>, ConfigError> {
        let config = config::environment();
        let (endpoint, region) = (config.other_dynamodb()?, config.region()?);
        Ok(endpoint.map(|endpoint| Self { endpoint, region, table: table() }))
    }

    /// SDK settings for it.
    #[must_use]
    pub fn config(&self) -> SdkConfig {
        let Self { endpoint, region, .. } = self;
        config_for(endpoint, region.as_deref().unwrap_or(REGION))
    }
}

/// Starts the embedded DynamoDB with its table; in memory without a folder.
///
/// # Errors
/// See [`AwsError`].
pub async fn start_dynamodb(folder: Option<&Path>) -> Result<SocketAddr, AwsError> {
    let database = match folder {
        None => Database::memory(),
        Some(folder) => Database::new(&folder.join(DATABASE_FILE).to_string_lossy()),
    };
    let database = database.map_err(|error| AwsError::Database(error.to_string()))?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(address)
}

/// Makes the table if it is not there.
///
/// # Errors
/// When the endpoint refuses.
pub async fn create_table(aws: &SdkConfig, name: &str) -> Result<(), AwsError> {
    let client = Client::new(aws);
    let attribute = |name| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
    };
    let key = |name, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let announced_at = AttributeDefinition::builder()
        .attribute_name("announcedAt")
        .attribute_type(ScalarAttributeType::N)
        .build();
    let build = |error: aws_sdk_dynamodb::error::BuildError| AwsError::Table(error.to_string());
    let stream =
        StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages);
    // As in template.yaml.
    let index = |name, sort_key| {
        let index = GlobalSecondaryIndex::builder()
            .index_name(name)
            .key_schema(key(name, KeyType::Hash)?)
            .key_schema(key(sort_key, KeyType::Range)?);
        index.projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build()).build()
    };
    let created = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk").map_err(build)?)
        .attribute_definitions(attribute("sk").map_err(build)?)
        .attribute_definitions(attribute(UNCONFIRMED).map_err(build)?)
        .attribute_definitions(announced_at.map_err(build)?)
        .attribute_definitions(attribute(STARTED_BY).map_err(build)?)
        .attribute_definitions(attribute("id").map_err(build)?)
        .key_schema(key("pk", KeyType::Hash).map_err(build)?)
        .key_schema(key("sk", KeyType::Range).map_err(build)?)
        .global_secondary_indexes(index(UNCONFIRMED, "announcedAt").map_err(build)?)
        .global_secondary_indexes(index(STARTED_BY, "id").map_err(build)?)
        .stream_specification(stream.build().map_err(build)?)
        .send()
        .await;
    match created {
        Err(error)
            if !error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            Err(AwsError::Table(refusal(&client, &error)))
        }
        _ => Ok(()),
    }
}

/// What a DynamoDB says of a table that it does not make, in one line.
fn refusal(client: &Client, error: &SdkError<CreateTableError>) -> String {
    let region = client.config().region().map_or(REGION, Region::as_ref);
    let said = match error {
        SdkError::ServiceError(refused) => {
            let told = [refused.err().code(), refused.err().message()].into_iter().flatten();
            let told = told.collect::<Vec<_>>().join(": ");
            let status = format!("HTTP {}", refused.raw().status().as_u16());
            if told.is_empty() { status } else { told }
        }
        other => {
            let causes = std::iter::successors(other.source(), |error| (**error).source());
            causes.last().map_or_else(|| other.to_string(), ToString::to_string)
        }
    };
    format!("{}; the region is {region}, AWS_REGION names another", said.replace('\n', " "))
}

/// Starts EventBridge and SQS.
///
/// # Errors
/// When there is no port.
pub async fn start_messaging(bus: &'static Bus) -> Result<SocketAddr, AwsError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(post(move |headers: HeaderMap, body: Bytes| async move {
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let request = serde_json::from_slice(&body).unwrap_or_default();
        messaging(bus, target, &request)
    }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

fn messaging(bus: &Bus, target: &str, request: &Value) -> impl IntoResponse + use<> {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let answer = match target {
        "AWSEvents.PutEvents" => match put_events(bus, request) {
            Ok(answer) => answer,
            Err(error) => {
                let answer = json!({"__type": "ValidationException", "message": error.to_string()});
                return (StatusCode::BAD_REQUEST, answer.to_string());
            }
        },
        "AWSEvents.DescribeEventBus" => {
            json!({"Name": BUS, "Arn": "arn:aws:events:local:000000000000:event-bus/flow-repository"})
        }
        "AmazonSQS.SendMessage" => {
            let body = text(request, "MessageBody");
            if body.len() > SQS_MESSAGE_BYTES {
                let message = format!("Message must be shorter than {SQS_MESSAGE_BYTES} bytes.");
                let answer = json!({"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": message});
                return (StatusCode::BAD_REQUEST, answer.to_string());
            }
            // What is no JSON is kept as a text.
            if let Ok(letter) = RawValue::from_string(body.clone()).or_else(|_| to_raw_value(&body)) {
                bus.set_aside(letter);
            }
            json!({"MessageId": shared::flow::ObjectId::generate().to_string()})
        }
        _ => {
            return (StatusCode::BAD_REQUEST, json!({"__type": "UnknownOperationException"}).to_string());
        }
    };
    (StatusCode::OK, answer.to_string())
}

/// Puts on the bus what can be read, and says of the rest that it cannot.
fn put_events(bus: &Bus, request: &Value) -> Result<Value, TooLarge> {
    let entries = request.get("Entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text =
        |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let entries = entries.iter().map(|entry| {
        let detail = RawValue::from_string(text(entry, "Detail")).ok()?;
        let time = entry.get("Time").and_then(Value::as_f64).map(seconds_as_text);
        Some(Entry { source: text(entry, "Source"), detail_type: text(entry, "DetailType"), detail, time })
    });
    let (mut read, mut is_read) = (Vec::new(), Vec::new());
    for entry in entries {
        is_read.push(entry.is_some());
        read.extend(entry);
    }
    let mut ids = bus.put(&read)?.into_iter();
    let malformed = || json!({"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."});
    let results =
        is_read.iter().map(|is_read| if *is_read { json!({"EventId": ids.next()}) } else { malformed() });
    let results: Vec<Value> = results.collect();
    let failed = is_read.iter().filter(|is_read| !**is_read).count();
    Ok(json!({"FailedEntryCount": failed, "Entries": results}))
}

fn seconds_as_text(seconds: f64) -> String {
    // The SDK sends seconds with a fraction, which no double holds exactly.
    let exact = std::time::Duration::try_from_secs_f64(seconds + 0.0005);
    let millis = exact.unwrap_or_default().as_millis();
    shared::flow::Timestamp::from_millis(u64::try_from(millis).unwrap_or_default()).to_string()
}

/// SDK settings for a service at this address.
#[must_use]
pub fn config(address: SocketAddr) -> SdkConfig {
    config_for(&format!("http://{address}"), REGION)
}

fn config_for(endpoint: &str, region: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client())
        .build()
}

fn aws_smithy_http_client() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}
