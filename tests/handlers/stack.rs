//! A stack of functions whose calls to AWS a test counts, and can make fail.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::StreamSpecification;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;
use lambda_http::{Context, LambdaEvent};
use local::aws::{self, BUS, SECRETS_PREFIX, TABLE};
use local::bus::Bus;
use local::functions::Functions;
use local::issuer::{AUDIENCE, Claims, ISSUER, Issuer};
use local::secretsmanager::SecretsManager;
use local::template::Template;
use serde_json::{Value, json};
use shared::api::{App, SecretsApp};
use shared::config::Config;
use shared::events::Publisher;
use shared::flow::{ComponentCheck, CredentialCheck, Role, RuleLevels, Timestamp};
use shared::identity::{AuthSettings, KeySource, Verifier};
use shared::secrets::{Recovery, Secrets, Vault, VaultSettings};
use shared::store::{Store, client_config};
use tests::other_dynamodb;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::conflicts::Conflicts;

/// How long a start may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(5);
/// How long a version is kept after it was replaced.
pub(crate) const KEEP_VERSIONS: Duration = Duration::from_hours(24 * 365);
/// How long a deleted flow can be restored.
pub(crate) const KEEP_DELETED: Duration = Duration::from_hours(24 * 30);
pub(crate) type Item = HashMap<String, aws_sdk_dynamodb::types::AttributeValue>;
const EVENT: &str = include_str!("fixtures/http-api-v2.json");

/// The functions, and what goes over the wire.
pub(crate) struct Stack {
    pub(crate) functions: &'static Functions,
    pub(crate) calls: Calls,
    pub(crate) dynamodb: Wire,
    pub(crate) messaging: Wire,
    pub(crate) vault: Wire,
    /// The values.
    pub(crate) secrets_manager: &'static SecretsManager,
    crash: Crash,
    pub(crate) bus: &'static Bus,
    pub(crate) client: Client,
    pub(crate) table: String,
    /// The table's engine, unless it is another one.
    database: Option<Database>,
    issuer: Issuer,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::start_with(Recovery::Days(7)).await
    }

    /// With values that can be restored for so long after they were deleted.
    pub(crate) async fn start_with(recovery: Recovery) -> Self {
        let (bus, arrivals) = Bus::new();
        // Nobody delivers here; the bus only keeps what is put on it.
        std::mem::forget(arrivals);
        let bus: &'static Bus = Box::leak(Box::new(bus));
        let (plain, table, database) = if let Some(other) = other_dynamodb() {
            let plain = other.config();
            aws::create_table(&plain, &other.table).await.unwrap();
            leave_stream(&plain, &other.table).await;
            (plain, other.table, None)
        } else {
            let database = Database::memory().unwrap();
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
            let plain = aws::config(address);
            aws::create_table(&plain, TABLE).await.unwrap();
            (plain, TABLE.to_owned(), Some(database))
        };
        let messaging = aws::config(aws::start_messaging(bus).await.unwrap());
        let secrets_manager: &'static SecretsManager = Box::leak(Box::default());
        let values = aws::config(secrets_manager.listen().await.unwrap());
        let crash = Crash::default();
        let [dynamodb_wire, messaging_wire, vault_wire] =
            [&plain, &messaging, &values].map(|config| Wire::new(config, &crash));
        let values = values.to_builder().http_client(vault_wire.clone()).build();
        let watched = plain.to_builder().http_client(dynamodb_wire.clone()).build();
        let messaging = messaging.to_builder().http_client(messaging_wire.clone()).build();

        let calls = Calls::default();
        let client = Client::from_conf(client_config(&watched).interceptor(calls.clone()).build());
        let store = Store::with_client(client, table.clone()).keeping_versions(Some(KEEP_VERSIONS));
        let issuer = Issuer::open(&local::default_folder()).unwrap();
        let auth = AuthSettings::new(ISSUER, AUDIENCE, KeySource::Inline(issuer.jwks()));
        let settings = VaultSettings { prefix: SECRETS_PREFIX.into(), kms_key: None, recovery };
        let vault = Vault::with_client(
            aws_sdk_secretsmanager::Client::from_conf(
                aws_sdk_secretsmanager::config::Builder::from(&values).interceptor(calls.clone()).build(),
            ),
            settings,
        );
        let secrets = Secrets::new(store.clone(), vault.clone());
        let publisher = Publisher::new(&messaging, BUS.into());
        let defaults = Config::new(|_| None);
        let functions = Functions {
            app: App {
                verifier: Verifier::new(auth.clone()).unwrap(),
                store: store.clone(),
                component_check: ComponentCheck::AtStart,
                tenant_role: Role::Owner,
                credential_check: CredentialCheck::Warn,
                rule_levels: RuleLevels::default(),
                require_if_match: false,
                keep_deleted: KEEP_DELETED,
            },
            secrets_app: SecretsApp {
                verifier: Verifier::new(auth).unwrap(),
                secrets: secrets.clone(),
                everybody_stores: false,
                components_renew: false,
            },
            health: check_health::App { store: store.clone(), publisher: publisher.clone(), vault },
            reconciler: reconcile_flows::App { store: store.clone(), limit: LIMIT },
            status: on_flow_status::App::new(&defaults, store.clone()),
            identity: on_identity_deleted::App::new(&defaults, store.clone(), secrets.clone()),
            secrets,
            publisher: publish_changes::App {
                publisher,
                queues: aws_sdk_sqs::Client::new(&messaging),
                unreadable_queue_url: format!("{}/unreadable", messaging.endpoint_url().unwrap()),
            },
            store,
            timeouts: Template::read(&local::checkout().join("template.yaml")).unwrap().timeouts,
            done: tokio::sync::Notify::new(),
        };
        let functions: &'static Functions = Box::leak(Box::new(functions));
        let (dynamodb, messaging, vault) = (dynamodb_wire, messaging_wire, vault_wire);
        let client = Client::new(&plain);
        Self {
            functions,
            calls,
            dynamodb,
            messaging,
            vault,
            secrets_manager,
            crash,
            bus,
            client,
            table,
            database,
            issuer,
        }
    }

    /// From now on time passes only while everything waits, and so no faster on a busy machine: the table is
    /// asked in this process, as a network takes time. None with another engine.
    pub(crate) fn without_network(&self) -> Option<()> {
        *self.dynamodb.engine.0.lock().unwrap() = Some(self.database.clone()?);
        tokio::time::pause();
        Some(())
    }

    /// Puts an item into the table as it goes over the wire.
    pub(crate) fn put(&self, item: &Value) {
        let body = json!({"TableName": self.table, "Item": item}).to_string();
        let (status, told) = ask(self.database.as_ref().unwrap(), "PutItem", body.as_bytes());
        assert_eq!(status, 200, "{told}");
    }

    pub(crate) fn token(&self, sub: &str, tenant: &str, permissions: &str) -> String {
        let tenant = Some(tenant.to_owned()).filter(|tenant| !tenant.is_empty());
        let permissions = permissions.split(',').filter(|name| !name.is_empty()).map(Into::into).collect();
        self.issuer.token(&Claims { sub: sub.into(), tenant, permissions, expires_in: 600 }).unwrap()
    }

    /// Sends a request as API Gateway does; `route` is `METHOD /path/{id}?query`.
    pub(crate) async fn request(
        &self,
        function: &str,
        route: &str,
        id: &str,
        token: &str,
        body: Value,
    ) -> (u16, Value) {
        let response = self.functions.invoke(function, event(route, id, token, &body)).await.unwrap();
        read(&response)
    }

    /// Sends a request to a function that crashes when the next `calls` of its calls to AWS have been
    /// done; tells whether it got so far.
    pub(crate) async fn request_and_crash(
        &self,
        calls: usize,
        function: &str,
        route: &str,
        id: &str,
        token: &str,
        body: Value,
    ) -> bool {
        self.invoke_and_crash(calls, function, event(route, id, token, &body)).await
    }

    /// The same with any event.
    pub(crate) async fn invoke_and_crash(&self, calls: usize, function: &str, event: Value) -> bool {
        *self.crash.left.lock().unwrap() = Some(calls);
        let crashed = tokio::select! {
            biased;
            () = self.crash.reached.notified() => true,
            outcome = self.functions.invoke(function, event) => {
                outcome.unwrap();
                false
            }
        };
        *self.crash.left.lock().unwrap() = None;
        crashed
    }

    /// Runs the sweep as if it were an hour later.
    pub(crate) async fn sweep(&self) {
        self.invoke_later("sweep-secrets", Duration::from_hours(1)).await;
    }

    /// Invokes a function that runs from time to time, as if it were so much later.
    pub(crate) async fn invoke_later(&self, function: &str, later: Duration) {
        self.functions.invoke(function, scheduled(later)).await.unwrap();
    }

    /// Deletes a secret with only this much time left; gives the status.
    pub(crate) async fn delete_in_a_hurry(&self, token: &str, secret: &str) -> u16 {
        let event =
            hurried(Duration::from_secs(3), event("DELETE /secrets/{id}", secret, token, &Value::Null));
        let answer = shared::api::answer(&self.functions.secrets_app, delete_secret::handle, event);
        read(&serde_json::to_value(answer.await.unwrap()).unwrap()).0
    }

    /// Starts flows with hardly any time left for their parts.
    pub(crate) async fn start_in_a_hurry(&self, token: &str, ids: &Value) -> (u16, Value) {
        let route = "POST /flows/multiple/start";
        let event = hurried(Duration::from_millis(1100), event(route, "", token, ids));
        let answer = shared::api::answer(&self.functions.app, start_flows::handle, event);
        read(&serde_json::to_value(answer.await.unwrap()).unwrap())
    }

    /// Stores a flow with only this much time left.
    pub(crate) async fn request_in_a_hurry(&self, token: &str, body: &Value) -> (u16, Value, Value) {
        let event = hurried(Duration::from_millis(1500), event("POST /flows", "", token, body));
        let answer = shared::api::answer(&self.functions.app, create_flow::handle, event);
        let response = serde_json::to_value(answer.await.unwrap()).unwrap();
        let (status, body) = read(&response);
        (status, body, response["headers"].clone())
    }

    /// The same with a condition, if it is none that is empty; gives the status, the body and the headers.
    pub(crate) async fn request_if(
        &self,
        function: &str,
        route: &str,
        id: &str,
        token: &str,
        if_match: &str,
        body: Value,
    ) -> (u16, Value, Value) {
        let headers: &[_] = if if_match.is_empty() { &[] } else { &[("if-match", if_match)] };
        let response = self.send_with(function, route, id, token, headers, &body).await;
        let (status, body) = read(&response);
        (status, body, response["headers"].clone())
    }

    /// The same with any header.
    pub(crate) async fn request_with(
        &self,
        function: &str,
        route: &str,
        id: &str,
        token: &str,
        (name, value): (&str, &str),
        body: Value,
    ) -> (u16, Value, Value) {
        let response = self.send_with(function, route, id, token, &[(name, value)], &body).await;
        let (status, body) = read(&response);
        (status, body, response["headers"].clone())
    }

    /// The same with any headers; gives the whole answer.
    pub(crate) async fn send_with(
        &self,
        function: &str,
        route: &str,
        id: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Value {
        let mut event = event(route, id, token, body);
        for (name, value) in headers {
            event["headers"][*name] = (*value).into();
        }
        self.functions.invoke(function, event).await.unwrap()
    }

    /// What was put on the bus.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.bus.events().iter().map(|event| serde_json::from_str(event.get()).unwrap()).collect()
    }

    /// What was set aside.
    pub(crate) fn dead_letters(&self) -> Vec<Value> {
        self.bus.dead_letters().iter().map(|letter| serde_json::from_str(letter.get()).unwrap()).collect()
    }

    /// The items of one partition, by their sort keys.
    pub(crate) async fn partition(&self, key: &str) -> BTreeMap<String, Item> {
        let key = aws_sdk_dynamodb::types::AttributeValue::S(key.into());
        let call = self.client.query().table_name(&self.table).key_condition_expression("pk = :pk");
        let call = call.expression_attribute_values(":pk", key).consistent_read(true);
        let items: Vec<Item> = call.into_paginator().items().send().try_collect().await.unwrap();
        let sort_key = |item: &Item| item["sk"].as_s().unwrap().clone();
        items.into_iter().map(|item| (sort_key(&item), item)).collect()
    }

    /// Every item there is.
    pub(crate) async fn items(&self) -> Vec<Item> {
        let scan = self.client.scan().table_name(&self.table).consistent_read(true);
        scan.into_paginator().items().send().try_collect().await.unwrap()
    }

    /// How often a flow has changed, in any way.
    pub(crate) async fn sequence(&self, id: &str) -> u64 {
        let items = self.partition(&format!("FLOW#{id}")).await;
        items["HEAD"]["sequence"].as_n().unwrap().parse().unwrap()
    }

    /// Lets an item expire.
    pub(crate) async fn expire(&self, pk: &str, sk: &str) {
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.into());
        let call = self.client.update_item().table_name(&self.table);
        let call = call.key("pk", text(pk)).key("sk", text(sk)).update_expression("SET expiresAt = :past");
        let past = aws_sdk_dynamodb::types::AttributeValue::N("1".into());
        call.expression_attribute_values(":past", past).send().await.unwrap();
    }

    /// An event of the bus, handed to a function.
    pub(crate) async fn deliver(
        &self,
        function: &str,
        kind: &str,
        detail: Value,
    ) -> local::functions::Outcome {
        self.deliver_at(Timestamp::now(), function, kind, detail).await
    }

    /// The same of one that was put on the bus at this time.
    pub(crate) async fn deliver_at(
        &self,
        time: Timestamp,
        function: &str,
        kind: &str,
        detail: Value,
    ) -> local::functions::Outcome {
        self.invoke_event((tests::source_of(kind), time), function, kind, detail).await
    }

    /// The same of any source.
    pub(crate) async fn deliver_from(
        &self,
        source: &str,
        function: &str,
        kind: &str,
        detail: Value,
    ) -> local::functions::Outcome {
        self.invoke_event((source, Timestamp::now()), function, kind, detail).await
    }

    async fn invoke_event(
        &self,
        (source, time): (&str, Timestamp),
        function: &str,
        kind: &str,
        detail: Value,
    ) -> local::functions::Outcome {
        // EventBridge tells times in whole seconds.
        let time = Timestamp::from_millis(time.seconds() * 1000);
        let event = json!({"version": "0", "id": "e", "source": source, "detail-type": kind, "account": "1",
            "time": time.to_string(), "region": "r", "resources": [], "detail": detail});
        self.functions.invoke(function, event).await
    }
}

/// A request that has to be answered within this time.
/// Takes the stream off a table: nobody follows one here, and DynamoDB Local is slower at every call for
/// every stream it has.
async fn leave_stream(aws: &aws_config::SdkConfig, table: &str) {
    let none = StreamSpecification::builder().stream_enabled(false).build().unwrap();
    let call = Client::new(aws).update_table().table_name(table).stream_specification(none);
    call.send().await.unwrap();
}

fn hurried<T: serde::de::DeserializeOwned>(time: Duration, event: Value) -> LambdaEvent<T> {
    let mut context = Context::default();
    context.deadline = Timestamp::now().plus(time).millis();
    LambdaEvent::new(serde_json::from_value(event).unwrap(), context)
}

/// What a schedule sends so much later than now.
pub(crate) fn scheduled(later: Duration) -> Value {
    let later = Timestamp::now().plus(later);
    json!({"version": "0", "id": "e", "source": "aws.events", "detail-type": "Scheduled Event",
        "account": "1", "time": later.to_string(), "region": "r", "resources": [], "detail": {}})
}

/// A request as API Gateway hands it to a function.
pub(crate) fn event(route: &str, id: &str, token: &str, body: &Value) -> Value {
    let (method, path) = route.split_once(' ').unwrap();
    let (pattern, query) = path.split_once('?').unwrap_or((path, ""));
    let path = pattern.replace("{id}", id);
    let mut event: Value = serde_json::from_str(EVENT).unwrap();
    let key = if method == "$default" { method.to_owned() } else { format!("{method} {pattern}") };
    event["routeKey"] = key.clone().into();
    event["requestContext"]["routeKey"] = key.into();
    event["rawPath"] = path.clone().into();
    event["requestContext"]["http"]["path"] = path.into();
    event["requestContext"]["http"]["method"] = method.into();
    event["rawQueryString"] = query.into();
    if pattern.contains("{id}") {
        event["pathParameters"] = json!({"id": id});
    }
    if let Some((_, version)) = pattern.split_once("/versions/") {
        // Written into the pattern, as there is no other number to put there.
        event["pathParameters"]["version"] = version.trim_end_matches("/restore").into();
    }
    if !token.is_empty() {
        event["headers"]["authorization"] = format!("Bearer {token}").into();
    }
    if !body.is_null() {
        event["headers"]["content-type"] = "application/json".into();
        event["body"] = body.to_string().into();
    }
    event
}

pub(crate) fn read(response: &Value) -> (u16, Value) {
    let status = u16::try_from(response["statusCode"].as_u64().unwrap()).unwrap();
    (status, serde_json::from_str(response["body"].as_str().unwrap_or_default()).unwrap_or_default())
}

/// The operations a client has sent, in order, each attempt counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    /// As if these had been sent.
    pub(crate) fn put(&self, calls: Vec<String>) {
        *self.0.lock().unwrap() = calls;
    }

    /// What was sent since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(operation(context.request()));
        Ok(())
    }
}

fn operation(request: &HttpRequest) -> String {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default().to_owned()
}

/// What happens to a call instead of what should.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// None: it is let through.
    Pass,
    /// It is answered with this and does not arrive.
    Answer(u16, Value),
    /// It arrives, and its answer is lost.
    LostAnswer,
    /// It is on its way until told.
    Wait(Arc<Notify>),
    /// Whoever makes it panics.
    Panic,
}

impl Fault {
    pub(crate) fn throttled() -> Self {
        Self::error("ThrottlingException")
    }

    pub(crate) fn error(kind: &str) -> Self {
        let body =
            json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "not now"});
        Self::Answer(if kind.starts_with("Internal") { 500 } else { 400 }, body)
    }

    pub(crate) fn conflict() -> Self {
        Self::Answer(
            400,
            json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "Message": "Transaction cancelled",
                "CancellationReasons": [{"Code": "TransactionConflict", "Message": "in conflict"}, {"Code": "None"}],
            }),
        )
    }
}

/// The end of a process in the middle of its work.
#[derive(Clone, Debug, Default)]
struct Crash {
    /// Calls until then; none means never.
    left: Arc<Mutex<Option<usize>>>,
    reached: Arc<Notify>,
}

impl Crash {
    fn has_happened(&self) -> bool {
        *self.left.lock().unwrap() == Some(0)
    }

    fn count(&self) {
        if let Some(left) = &mut *self.left.lock().unwrap() {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.reached.notify_one();
            }
        }
    }
}

/// The SDK's way to a service, with faults in it.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    inner: SharedHttpClient,
    crash: Crash,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    sent: Arc<Mutex<Vec<Value>>>,
    /// By which rules calls conflict.
    pub(crate) conflicts: Conflicts,
    /// Calls that are on their way until told.
    waiting: Arc<AtomicUsize>,
    /// What answers without a network.
    engine: Engine,
}

#[derive(Clone, Default)]
struct Engine(Arc<Mutex<Option<Database>>>);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Wire {
    fn new(config: &aws_config::SdkConfig, crash: &Crash) -> Self {
        Self {
            inner: config.http_client().unwrap(),
            crash: crash.clone(),
            faults: Arc::default(),
            sent: Arc::default(),
            conflicts: Conflicts::default(),
            waiting: Arc::default(),
            engine: Engine::default(),
        }
    }

    /// The next calls meet these faults, in order.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.faults.lock().unwrap() = faults.into_iter().collect();
    }

    /// How many calls are on their way until told.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The bodies that were sent since the last time.
    pub(crate) fn take_sent(&self) -> Vec<Value> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(WireConnector { inner, wire: self.clone() })
    }
}

#[derive(Debug)]
struct WireConnector {
    inner: SharedHttpConnector,
    wire: Wire,
}

impl HttpConnector for WireConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let crash = self.wire.crash.clone();
        if crash.has_happened() {
            return HttpConnectorFuture::new(std::future::pending());
        }
        let operation = operation(&request);
        let body: Value =
            request.body().bytes().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
        let answer = |status: u16, body: String| {
            Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
        };
        let fault = self.wire.faults.lock().unwrap().pop_front().unwrap_or(Fault::Pass);
        if let Fault::Answer(status, told) = fault {
            self.wire.sent.lock().unwrap().push(body);
            return HttpConnectorFuture::ready(answer(status, told.to_string()));
        }
        let place = self.wire.conflicts.enter(&operation, &body);
        self.wire.sent.lock().unwrap().push(body);
        let place = match place {
            Ok(place) => place,
            Err(conflict) => return HttpConnectorFuture::ready(answer(400, conflict.to_string())),
        };
        let (connector, engine) = (self.inner.clone(), self.wire.engine.0.lock().unwrap().clone());
        let call = async move {
            let Some(engine) = engine else { return connector.call(request).await };
            let (status, told) = ask(&engine, &operation, request.body().bytes().unwrap_or_default());
            answer(status, told)
        };
        let waiting = self.wire.waiting.clone();
        HttpConnectorFuture::new(async move {
            match &fault {
                Fault::Wait(told) => {
                    waiting.fetch_add(1, Ordering::Relaxed);
                    told.notified().await;
                    waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Fault::Panic => panic!("a defect"),
                _ => {}
            }
            let told = call.await;
            place.leave().await;
            if matches!(fault, Fault::LostAnswer) {
                return answer(500, json!({"__type": "InternalServerError"}).to_string());
            }
            crash.count();
            if crash.has_happened() {
                std::future::pending::<()>().await;
            }
            told
        })
    }
}

/// Asks the engine as its server does.
fn ask(database: &Database, operation: &str, body: &[u8]) -> (u16, String) {
    macro_rules! ask {
        ($method:ident) => {{
            let told = database.$method(serde_json::from_slice(body).unwrap());
            told.map(|told| serde_json::to_string(&told).unwrap())
        }};
    }
    let told = match operation {
        "BatchGetItem" => ask!(batch_get_item),
        "DeleteItem" => ask!(delete_item),
        "GetItem" => ask!(get_item),
        "PutItem" => ask!(put_item),
        "Query" => ask!(query),
        "TransactWriteItems" => ask!(transact_write_items),
        "UpdateItem" => ask!(update_item),
        other => panic!("nobody asks for {other}"),
    };
    told.map_or_else(|error| (error.status_code(), error.to_json()), |told| (200, told))
}
