//! A client of the API for tests: of a local server of its own, or of the deployment at `API_URL`.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod deployment;

use std::net::Ipv4Addr;
use std::time::Duration;

use deployment::Deployment;
use futures_util::future::join_all;
use local::aws::OtherDynamoDb;
use local::issuer::{Claims, Issuer};
use local::{Options, Server};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use serde_json::{Value, json};
use shared::flow::ObjectId;
use tokio::time::Instant;

/// All permissions but the administrator's, and that to get values of secrets.
pub const ALL: &str = "flows.read,flows.write,flows.control,flows.bulk,secrets.write";

/// The `source` of the events that say what became of runs, unless it is set.
pub const ORCHESTRATOR: &str = "component-orchestrator";
/// The `source` of the events that say which users and tenants are gone, unless it is set.
pub const IDENTITY_SERVICE: &str = "iam";

/// Whose to tell an event of this kind is.
#[must_use]
pub fn source_of(kind: &str) -> &'static str {
    if kind.starts_with("iam.") { IDENTITY_SERVICE } else { ORCHESTRATOR }
}

/// The API as a client sees it.
pub struct Api {
    /// Where it is.
    pub url: String,
    /// How long what must come may take.
    pub patience: Duration,
    /// What tells this test's users, tenants and flows from those of others in the same deployment.
    mark: String,
    client: Client,
    place: Place,
}

/// Where the API runs.
enum Place {
    /// Here, as long as the client.
    Local(Server),
    /// Elsewhere, for all tests.
    Deployed(&'static Deployment),
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// The body as JSON; `null` when it is none.
    pub body: Value,
}

impl Answer {
    /// A header as text, empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The texts of `errors[]`.
    #[must_use]
    pub fn messages(&self) -> Vec<&str> {
        let errors = self.body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|error| error.get("message")?.as_str()).collect()
    }

    /// The id of the flow in `data`.
    #[must_use]
    pub fn id(&self) -> String {
        let id = self.body.pointer("/data/id").and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no id: {self:?}")).to_owned()
    }
}

impl Api {
    /// The deployment, if there is one, and a server of this test's own with its data in memory else.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// The same with options. A deployment can only have the settings that it has: for others this
    /// panics, and says which tests to choose.
    pub async fn start_with(options: Options) -> Self {
        let Some(deployment) = Deployment::get().await else { return Self::start_local(options).await };
        deployment.check(&options);
        let mark = mark();
        deployment.watch(&mark, options.orchestrator);
        Self::new(deployment.url.clone(), Duration::from_mins(1), mark, Place::Deployed(deployment))
    }

    /// The same without any flow in it, not even of others. In a deployment every flow is deleted.
    pub async fn start_empty(options: Options) -> Self {
        let api = Self::start_with(options).await;
        if let Place::Deployed(_) = api.place {
            assert_eq!(
                std::env::var("API_EXCLUSIVE").as_deref(),
                Ok("1"),
                "this test deletes every flow of the deployment: API_EXCLUSIVE=1 allows it"
            );
            api.empty().await;
        }
        api
    }

    /// A local server of this test's own in any case.
    pub async fn start_local(mut options: Options) -> Self {
        options.dynamodb = options.dynamodb.or_else(other_dynamodb);
        let server = Server::start(options).await.expect("the server starts");
        let url = format!("http://{}", server.address);
        Self::new(url, Duration::from_secs(30), mark(), Place::Local(server))
    }

    fn new(url: String, patience: Duration, mark: String, place: Place) -> Self {
        Self { client: client(&url), url, patience, mark, place }
    }

    /// Ends the local server.
    pub async fn stop(self) {
        let Place::Local(server) = self.place else { panic!("only a local server can be stopped") };
        server.stop().await.expect("a server that has not failed");
    }

    /// What a user, a tenant or anything else of this name is called in this test alone.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.mark)
    }

    /// A token of this test's user of this name; no tenant when it is empty.
    #[must_use]
    pub fn token(&self, sub: &str, tenant: &str, permissions: &str) -> String {
        let tenant = if tenant.is_empty() { String::new() } else { self.name(tenant) };
        self.token_of(&self.name(sub), &tenant, permissions)
    }

    /// A token of the user of just this name.
    #[must_use]
    pub fn token_of(&self, sub: &str, tenant: &str, permissions: &str) -> String {
        let token = self.issuer().token(&Claims {
            sub: sub.into(),
            tenant: Some(tenant.to_owned()).filter(|tenant| !tenant.is_empty()),
            permissions: permissions.split(',').filter(|name| !name.is_empty()).map(Into::into).collect(),
            expires_in: 600,
        });
        token.expect("a token")
    }

    fn issuer(&self) -> &Issuer {
        match &self.place {
            Place::Local(server) => &server.issuer,
            Place::Deployed(deployment) => &deployment.issuer,
        }
    }

    /// Whether a local server answers, whose gateway is this project's too.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self.place, Place::Local(_))
    }

    /// Sends a request with a JSON body, or none for `null`.
    pub async fn send(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let headers: &[(&str, &str)] =
            if body.is_null() { &[] } else { &[("content-type", "application/json")] };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send_raw(method, path, token, headers, body).await
    }

    /// Sends a request as it is; without an `Authorization` header when the token is empty.
    pub async fn send_raw(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, format!("{}{path}", self.url)).body(body);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            request =
                request.header(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, body }
    }

    /// `GET`
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, Value::Null).await
    }

    /// `POST`
    pub async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send("POST", path, token, body).await
    }

    /// `PATCH`
    pub async fn patch(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send("PATCH", path, token, body).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.send("DELETE", path, token, Value::Null).await
    }

    /// Puts an event on the bus, as whoever it is to tell.
    pub async fn put(&self, kind: &str, detail: Value) {
        self.put_from(source_of(kind), kind, detail).await;
    }

    /// The same as anybody.
    pub async fn put_from(&self, source: &str, kind: &str, detail: Value) {
        match self.place {
            Place::Local(_) => {
                let events = json!([{"source": source, "detail-type": kind, "detail": detail}]);
                let answer = self.post("/_local/events", "", events).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            Place::Deployed(deployment) => deployment.put(source, kind, &detail).await,
        }
    }

    /// Puts an event on the bus, and returns when it has been handled, even if it does nothing: when a
    /// flow of this token's has gone round after it, which takes two more events one after the other.
    /// For tests whose flows no orchestrator answers for.
    pub async fn deliver(&self, token: &str, kind: &str, detail: Value) {
        self.put(kind, detail).await;
        let id = self.post("/flows", token, complete_flow("marker")).await.id();
        for (order, report, status) in
            [("start", "flow.started", "active"), ("stop", "flow.stopped", "inactive")]
        {
            self.post(&format!("/flows/{id}/{order}"), token, Value::Null).await;
            self.put(report, json!({"id": id})).await;
            self.wait_for_status(&id, token, status).await;
        }
    }

    /// What went over the bus for this test, as soon as `done` says it is enough. The order is any:
    /// see [`of_flow`].
    pub async fn events_until(&self, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        self.until(|| async {
            let events = match self.place {
                Place::Local(_) => {
                    let answer = self.get("/_local/events", "").await;
                    answer.body.get("events").and_then(Value::as_array).cloned().unwrap_or_default()
                }
                Place::Deployed(deployment) => deployment.events(&self.mark),
            };
            if done(&events) { Ok(events) } else { Err(format!("{events:?}")) }
        })
        .await
    }

    /// Deletes every flow, in whatever state it is.
    async fn empty(&self) {
        let admin = self.token("admin", "", "all");
        loop {
            let page = self.get("/flows?page[size]=100&page[after]=", &admin).await;
            let flows = page.body.get("data").and_then(Value::as_array).expect("a list");
            if flows.is_empty() {
                return;
            }
            join_all(flows.iter().map(|flow| self.remove(flow, &admin))).await;
        }
    }

    async fn remove(&self, flow: &Value, admin: &str) {
        let text = |name: &str| flow.get(name).and_then(Value::as_str).unwrap_or_default();
        let path = format!("/flows/{}", text("id"));
        if text("status") != "inactive" {
            self.post(&format!("{path}/stop"), admin, Value::Null).await;
            self.put("flow.stopped", json!({"id": text("id")})).await;
            self.wait_for_status(text("id"), admin, "inactive").await;
        }
        let answer = self.delete(&path, admin).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Waits until the flow has this status, and gives the answer that shows it.
    pub async fn wait_for_status(&self, id: &str, token: &str, status: &str) -> Answer {
        self.until(|| async {
            let answer = self.get(&format!("/flows/{id}"), token).await;
            let now = answer.body.pointer("/data/status").and_then(Value::as_str);
            if now == Some(status) { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
    }

    /// Asks again and again until there is an answer, or [`Self::patience`] ends.
    pub async fn until<T, F>(&self, ask: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, String>>,
    {
        // A deployment is not to be kept busy with questions.
        let pause = Duration::from_millis(if let Place::Local(_) = self.place { 20 } else { 200 });
        let end = Instant::now() + self.patience;
        loop {
            let seen = match ask().await {
                Ok(answer) => return answer,
                Err(seen) => seen,
            };
            if Instant::now() > end {
                let trouble =
                    if let Place::Deployed(there) = self.place { there.trouble() } else { String::new() };
                panic!("it never came; last seen: {seen} {trouble}");
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn mark() -> String {
    ObjectId::generate().to_string()
}

fn client(url: &str) -> Client {
    // The first one wins; the others are the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let url = Url::parse(url).expect("the address of an API");
    let mut client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        // Reading them takes longer than a test of a server without TLS.
        .tls_built_in_root_certs(url.scheme() == "https");
    // Not every system knows that these names are its own.
    if let Some(host) = url.host_str().filter(|host| host.ends_with(".localhost")) {
        client = client.resolve(host, (Ipv4Addr::LOCALHOST, 0).into());
    }
    client.build().expect("a client")
}

/// The repository's own events about a flow, in the order of its changes.
#[must_use]
pub fn of_flow(events: &[Value], id: &str) -> Vec<Value> {
    let subject = format!("flows/{id}");
    let text = |event: &Value, pointer: &str| {
        event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut events: Vec<_> =
        events.iter().filter(|event| text(event, "/detail/subject") == subject).cloned().collect();
    events.sort_by_key(|event| text(event, "/detail/sequence"));
    events
}

/// The DynamoDB at `DYNAMODB_ENDPOINT`, with a table of this test's own; none means the embedded one.
#[must_use]
pub fn other_dynamodb() -> Option<OtherDynamoDb> {
    OtherDynamoDb::from_env(|| format!("test-{}", ObjectId::generate()))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A flow that can be started.
#[must_use]
pub fn complete_flow(name: &str) -> Value {
    json!({
        "name": name,
        "type": "ordinary",
        "graph": {
            "nodes": [
                {"id": "step_1", "componentId": "5ca5c44c187c040010a9bb8b", "function": "getOrders"},
                {"id": "step_2", "componentId": "5ca5c44c187c040010a9bb8c", "function": "createInvoice"},
            ],
            "edges": [{"source": "step_1", "target": "step_2"}],
        },
    })
}
