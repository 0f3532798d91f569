//! A client of the API for tests, with a local server of its own.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use local::issuer::Claims;
use local::{Options, Server};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use serde_json::Value;

/// All permissions but the administrator's.
pub const ALL: &str = "flows.read,flows.write,flows.control,flows.bulk";

/// The API as a client sees it.
pub struct Api {
    /// Where it is.
    pub url: String,
    client: Client,
    /// Runs as long as the client.
    pub server: Server,
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
    /// A server of this test's own, with its data in memory.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// A server of this test's own.
    pub async fn start_with(mut options: Options) -> Self {
        options.dynamodb = options.dynamodb.or_else(other_dynamodb);
        let server = Server::start(options).await.expect("the server starts");
        let redirect = reqwest::redirect::Policy::none();
        let client = Client::builder().redirect(redirect).timeout(Duration::from_secs(30)).build();
        Self { url: format!("http://{}", server.address), client: client.expect("a client"), server }
    }

    /// A token of this user; no tenant when it is empty.
    #[must_use]
    pub fn token(&self, sub: &str, tenant: &str, permissions: &str) -> String {
        self.sign(&Claims {
            sub: sub.into(),
            tenant: Some(tenant.to_owned()).filter(|tenant| !tenant.is_empty()),
            permissions: permissions.split(',').filter(|name| !name.is_empty()).map(Into::into).collect(),
            expires_in: 600,
        })
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        self.server.issuer.token(claims).expect("a token")
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

    /// What is on the local bus, in order, as soon as `done` says it is enough.
    pub async fn events_until(&self, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        self.until(|| async {
            let answer = self.get("/_local/events", "").await;
            let events = answer.body.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
            if done(&events) { Ok(events) } else { Err(format!("{events:?}")) }
        })
        .await
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

    /// Asks again and again until there is an answer, for at most ten seconds.
    pub async fn until<T, F>(&self, ask: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, String>>,
    {
        let mut last = String::new();
        for _ in 0..500 {
            match ask().await {
                Ok(answer) => return answer,
                Err(seen) => last = seen,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never came; last seen: {last}");
    }
}

/// The DynamoDB at `DYNAMODB_ENDPOINT`, with a table of this test's own; none means the embedded one.
#[must_use]
pub fn other_dynamodb() -> Option<(String, String)> {
    let endpoint = std::env::var("DYNAMODB_ENDPOINT").ok()?;
    Some((endpoint, format!("test-{}", shared::flow::ObjectId::generate())))
}

/// A flow that can be started.
#[must_use]
pub fn complete_flow(name: &str) -> Value {
    serde_json::json!({
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
