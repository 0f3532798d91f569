//! D: the same read as get-flow's, with the defaults of everything and without a look at who asks.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::new(&config().await?);
    let table = std::env::var("TABLE_NAME")?;
    run(service_fn(|request| get(&client, &table, request))).await
}

#[cfg(feature = "chain")]
async fn config() -> Result<SdkConfig, Error> {
    Ok(aws_config::load_defaults(BehaviorVersion::latest()).await)
}

/// From the environment alone, as the functions have it.
#[cfg(not(feature = "chain"))]
async fn config() -> Result<SdkConfig, Error> {
    use aws_config::Region;
    use aws_config::environment::EnvironmentVariableCredentialsProvider;
    use aws_sdk_dynamodb::config::SharedCredentialsProvider;

    let credentials = SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new());
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(std::env::var("AWS_REGION")?))
        .credentials_provider(credentials);
    config.set_endpoint_url(std::env::var("AWS_ENDPOINT_URL_DYNAMODB").ok());
    Ok(config.build())
}

async fn get(client: &Client, table: &str, request: Request) -> Result<Response<Body>, Error> {
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let answer = client
        .get_item()
        .table_name(table)
        .key("pk", AttributeValue::S(format!("FLOW#{id}")))
        .key("sk", AttributeValue::S("HEAD".into()))
        .consistent_read(true)
        .send()
        .await?;
    let Some(item) = answer.item else { return Ok(Response::builder().status(404).body(Body::Empty)?) };
    let json = to_json(&AttributeValue::M(item)).to_string();
    Ok(Response::builder().header("content-type", "application/json").body(json.into())?)
}

fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => text.as_str().into(),
        AttributeValue::N(number) => number.parse::<i64>().ok().into(),
        AttributeValue::B(bytes) => STANDARD.encode(bytes).into(),
        AttributeValue::Bool(flag) => (*flag).into(),
        AttributeValue::L(list) => list.iter().map(to_json).collect(),
        AttributeValue::M(map) => map.iter().map(|(name, value)| (name.clone(), to_json(value))).collect(),
        _ => Value::Null,
    }
}
