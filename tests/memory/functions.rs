//! The functions with a table of their own, whose memory is counted.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_http::{Context, LambdaEvent};
use local::aws;
use local::issuer::{AUDIENCE, Claims, ISSUER, Issuer};
use local::secretsmanager::SecretsManager;
use serde_json::Value;
use shared::api::{App, SecretsApp, answer};
use shared::config::Config;
use shared::flow::Timestamp;
use shared::identity::Verifier;
use shared::secrets::{Secrets, Vault};
use std::time::Duration;
use tests::{ALL, complete_flow};
use tokio::runtime::{Builder, Runtime};

const SMALL_SECRET: &str = r#"{"name":"s","type":"MIXED","value":{"payload":1}}"#;
const EVENT: &str = include_str!("../handlers/fixtures/http-api-v2.json");

/// What became of a request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of the answer as Lambda counts it.
    pub(crate) bytes: usize,
    /// The most that was allocated at once.
    pub(crate) memory: usize,
}

pub(crate) struct Functions {
    app: &'static App,
    secrets: &'static SecretsApp,
    token: String,
    flow: String,
    secret: String,
    /// Where requests are answered: in the thread that counts.
    runtime: Runtime,
    /// Where the services are that they call.
    _services: Runtime,
}

impl Functions {
    pub(crate) fn start() -> Self {
        let services = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let issuer = Issuer::open(&local::default_folder()).unwrap();
        let jwks = issuer.jwks();
        let config = Config::new(move |name: &str| match name {
            "TABLE_NAME" => Some(aws::TABLE.into()),
            "SECRETS_PREFIX" => Some(aws::SECRETS_PREFIX.into()),
            "AUTH_ISSUER" => Some(ISSUER.into()),
            "AUTH_AUDIENCE" => Some(AUDIENCE.into()),
            "AUTH_JWKS" => Some(jwks.clone()),
            _ => None,
        });
        let secrets_manager: &'static SecretsManager = Box::leak(Box::default());
        let (dynamodb, values) = services.block_on(async {
            let dynamodb = aws::config(aws::start_dynamodb(None).await.unwrap());
            aws::create_table(&dynamodb, aws::TABLE).await.unwrap();
            (dynamodb, aws::config(secrets_manager.listen().await.unwrap()))
        });
        let app: &'static App = Box::leak(Box::new(App::new(&config, &dynamodb).unwrap()));
        let vault = Vault::new(&values, config.vault().unwrap());
        let secrets = SecretsApp {
            verifier: Verifier::new(config.auth().unwrap()).unwrap(),
            secrets: Secrets::new(app.store.clone(), vault),
            everybody_stores: true,
            components_renew: false,
        };
        let permissions = ALL.split(',').map(Into::into).collect();
        let claims =
            Claims { sub: "anna".into(), tenant: Some("acme".into()), permissions, expires_in: 3600 };
        let token = issuer.token(&claims).unwrap();
        let secrets: &'static SecretsApp = Box::leak(Box::new(secrets));
        let nothing = String::new();
        let (flow, secret) = (nothing.clone(), nothing);
        let mut functions = Self { app, secrets, token, flow, secret, runtime, _services: services };
        let id = |answer: &ApiGatewayV2httpResponse| {
            let body = std::str::from_utf8(answer.body.as_ref().unwrap()).unwrap();
            let body: Value = serde_json::from_str(body).unwrap();
            body.pointer("/data/id").and_then(Value::as_str).unwrap().to_owned()
        };
        let json = "application/json";
        let flow = complete_flow("x").to_string();
        functions.flow = id(&functions.ask("create-flow", "POST /flows", json, &flow));
        functions.secret = id(&functions.ask("create-secret", "POST /secrets", json, SMALL_SECRET));
        functions
    }

    /// Sends a request, and counts.
    pub(crate) fn send(&self, function: &str, route: &str, media_type: &str, body: &str) -> Answer {
        let mut answer = None;
        let event = self.event(route, media_type, body);
        let counted = allocation_counter::measure(|| {
            answer = Some(self.answer(function, event));
        });
        let answer = answer.unwrap();
        if route.starts_with('P') && route.contains("{id}") && answer.status_code == 200 {
            // What is stored counts for itself: the next request meets a small one again.
            let flow = complete_flow("x").to_string();
            let body = if route.contains("secrets") { SMALL_SECRET } else { &flow };
            let function = if route.contains("secrets") { "update-secret" } else { "replace-flow" };
            let method = if route.contains("secrets") { "PATCH" } else { "PUT" };
            let (_, path) = route.split_once(' ').unwrap();
            self.ask(function, &format!("{method} {path}"), "application/json", body);
        }
        Answer {
            status: u16::try_from(answer.status_code).unwrap(),
            bytes: serde_json::to_string(&answer).unwrap().len(),
            // And the body itself, which the event brings.
            memory: usize::try_from(counted.bytes_max).unwrap() + body.len(),
        }
    }

    fn ask(&self, function: &str, route: &str, media_type: &str, body: &str) -> ApiGatewayV2httpResponse {
        self.answer(function, self.event(route, media_type, body))
    }

    fn answer(
        &self,
        function: &str,
        event: LambdaEvent<ApiGatewayV2httpRequest>,
    ) -> ApiGatewayV2httpResponse {
        let (app, secrets) = (self.app, self.secrets);
        let Ok(answer) = self.runtime.block_on(async {
            match function {
                "create-flow" => answer(app, create_flow::handle, event).await,
                "replace-flow" => answer(app, replace_flow::handle, event).await,
                "start-flows" => answer(app, start_flows::handle, event).await,
                "stop-flows" => answer(app, stop_flows::handle, event).await,
                "update-flow" => answer(app, update_flow::handle, event).await,
                "update-flows" => answer(app, update_flows::handle, event).await,
                "validate-flow" => answer(app, validate_flow::handle, event).await,
                "create-secret" => answer(secrets, create_secret::handle, event).await,
                "update-secret" => answer(secrets, update_secret::handle, event).await,
                other => panic!("nobody sends a body to {other}"),
            }
        });
        answer
    }

    fn event(&self, route: &str, media_type: &str, body: &str) -> LambdaEvent<ApiGatewayV2httpRequest> {
        let (method, path) = route.split_once(' ').unwrap();
        let (pattern, query) = path.split_once('?').unwrap_or((path, ""));
        let id = if pattern.starts_with("/secrets") { &self.secret } else { &self.flow };
        let path = pattern.replace("{id}", id);
        let mut event: ApiGatewayV2httpRequest = serde_json::from_str(EVENT).unwrap();
        event.request_context.http.method = method.parse().unwrap();
        event.request_context.route_key = Some(format!("{method} {pattern}"));
        event.raw_path = Some(path);
        event.raw_query_string = Some(query.into());
        event.path_parameters.insert("id".into(), id.clone());
        event.headers.insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        event.headers.insert("content-type", media_type.parse().unwrap());
        event.body = Some(body.into());
        let mut context = Context::default();
        context.deadline = Timestamp::now().plus(Duration::from_mins(5)).millis();
        LambdaEvent::new(event, context)
    }
}
