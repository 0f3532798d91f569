//! The functions by the names of their packages.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::{Context, LambdaEvent};
use serde_json::Value;
use shared::api::{self, App, SecretsApp};
use shared::flow::{ObjectId, Timestamp};
use shared::limits::{LAMBDA_ANSWER_BYTES, LAMBDA_EVENT_BYTES};
use shared::secrets::Secrets;
use shared::store::Store;
use tokio::sync::Notify;

/// What a function gave back.
pub type Outcome = Result<Value, Box<dyn std::error::Error + Send + Sync>>;

/// All functions with what they need.
pub struct Functions {
    /// For the flow routes.
    pub app: App,
    /// For the secrets' routes.
    pub secrets_app: SecretsApp,
    /// For the health check.
    pub health: check_health::App,
    /// For the stream.
    pub publisher: publish_changes::App,
    /// For reports of the orchestrator.
    pub status: on_flow_status::App,
    /// For deleted flows.
    pub store: Store,
    /// For runs that nobody confirms.
    pub reconciler: reconcile_flows::App,
    /// For deleted users and tenants.
    pub identity: on_identity_deleted::App,
    /// For the sweep.
    pub secrets: Secrets,
    /// How long each may take, by name.
    pub timeouts: BTreeMap<String, Duration>,
    /// Told after every invocation, which may have written something.
    pub done: Notify,
}

/// The names of all functions that can be invoked here.
pub const NAMES: [&str; 31] = [
    "answer-unknown-route",
    "check-health",
    "compare-versions",
    "create-flow",
    "create-secret",
    "delete-flow",
    "delete-secret",
    "get-flow",
    "get-secret",
    "get-version",
    "list-flows",
    "list-secret-usages",
    "list-secrets",
    "list-versions",
    "on-flow-status",
    "on-identity-deleted",
    "publish-changes",
    "purge-flows",
    "reconcile-flows",
    "replace-flow",
    "restore-flow",
    "restore-version",
    "start-flow",
    "start-flows",
    "stop-flow",
    "stop-flows",
    "sweep-secrets",
    "update-flow",
    "update-flows",
    "update-secret",
    "validate-flow",
];

impl Functions {
    /// Invokes a function with an event as Lambda does.
    ///
    /// # Errors
    /// What the function says, or that there is none.
    pub async fn invoke(&'static self, name: &str, event: Value) -> Outcome {
        let timeout = self.timeouts.get(name).copied().unwrap_or_default();
        if size(&event) > LAMBDA_EVENT_BYTES {
            return Err(format!("Request must be smaller than {LAMBDA_EVENT_BYTES} bytes").into());
        }
        let mut outcome = self.dispatch(name, event, timeout).await;
        if outcome.as_ref().is_ok_and(|answer| size(answer) > LAMBDA_ANSWER_BYTES) {
            let told = "Response payload size exceeded maximum allowed payload size";
            outcome = Err(format!("{told} ({LAMBDA_ANSWER_BYTES} bytes)").into());
        }
        // It writes nothing to the table.
        if name != "publish-changes" {
            self.done.notify_waiters();
        }
        outcome
    }

    fn dispatch(
        &'static self,
        name: &str,
        event: Value,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        macro_rules! api {
            ($app:expr, $package:ident) => {
                Box::pin(async move {
                    let event = lambda_event::<ApiGatewayV2httpRequest>(&event, timeout)?;
                    let response = api::answer($app, $package::handle, event).await?;
                    Ok(serde_json::to_value(response)?)
                })
            };
        }
        match name {
            "answer-unknown-route" => api!(&(), answer_unknown_route),
            "check-health" => api!(&self.health, check_health),
            "create-flow" => api!(&self.app, create_flow),
            "validate-flow" => api!(&self.app, validate_flow),
            "delete-flow" => api!(&self.app, delete_flow),
            "restore-flow" => api!(&self.app, restore_flow),
            "create-secret" => api!(&self.secrets_app, create_secret),
            "delete-secret" => api!(&self.secrets_app, delete_secret),
            "get-secret" => api!(&self.secrets_app, get_secret),
            "list-secret-usages" => api!(&self.app, list_secret_usages),
            "list-secrets" => api!(&self.app, list_secrets),
            "update-secret" => api!(&self.secrets_app, update_secret),
            "get-flow" => api!(&self.app, get_flow),
            "replace-flow" => api!(&self.app, replace_flow),
            "list-flows" => api!(&self.app, list_flows),
            "start-flow" => api!(&self.app, start_flow),
            "start-flows" => api!(&self.app, start_flows),
            "stop-flow" => api!(&self.app, stop_flow),
            "stop-flows" => api!(&self.app, stop_flows),
            "update-flow" => api!(&self.app, update_flow),
            "update-flows" => api!(&self.app, update_flows),
            "list-versions" => api!(&self.app, list_versions),
            "get-version" => api!(&self.app, get_version),
            "restore-version" => api!(&self.app, restore_version),
            "compare-versions" => api!(&self.app, compare_versions),
            "on-flow-status" => Box::pin(async move {
                on_flow_status::handle(&self.status, lambda_event::<EventBridgeEvent>(&event, timeout)?)
                    .await?;
                Ok(Value::Null)
            }),
            "on-identity-deleted" => Box::pin(async move {
                on_identity_deleted::handle(
                    &self.identity,
                    lambda_event::<EventBridgeEvent>(&event, timeout)?,
                )
                .await?;
                Ok(Value::Null)
            }),
            "reconcile-flows" => Box::pin(async move {
                reconcile_flows::handle(&self.reconciler, lambda_event::<EventBridgeEvent>(&event, timeout)?)
                    .await?;
                Ok(Value::Null)
            }),
            "sweep-secrets" => Box::pin(async move {
                sweep_secrets::handle(&self.secrets, lambda_event::<EventBridgeEvent>(&event, timeout)?)
                    .await?;
                Ok(Value::Null)
            }),
            "publish-changes" => Box::pin(async move {
                let response =
                    publish_changes::handle(&self.publisher, lambda_event(&event, timeout)?).await?;
                Ok(serde_json::to_value(response)?)
            }),
            "purge-flows" => Box::pin(async move {
                let response = purge_flows::handle(&self.store, lambda_event(&event, timeout)?).await?;
                Ok(serde_json::to_value(response)?)
            }),
            unknown => {
                let error = format!("there is no function {unknown}");
                Box::pin(async move { Err(error.into()) })
            }
        }
    }
}

/// The bytes of an event or an answer, as Lambda counts them.
#[must_use]
pub fn size(value: &Value) -> usize {
    value.to_string().len()
}

fn lambda_event<T: serde::de::DeserializeOwned>(
    event: &Value,
    timeout: Duration,
) -> serde_json::Result<LambdaEvent<T>> {
    let mut context = Context::default();
    context.request_id = ObjectId::generate().to_string();
    context.deadline = Timestamp::now().plus(timeout).millis();
    // Through text, as Lambda hands events over.
    Ok(LambdaEvent::new(serde_json::from_str(&event.to_string())?, context))
}
