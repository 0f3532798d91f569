//! API Gateway: HTTP requests become events of an HTTP API (payload format 2.0), and what the
//! functions give back becomes HTTP again. The routes are the template's.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;

use aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Limited};
use lambda_http::Body as LambdaBody;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use shared::flow::{ObjectId, Timestamp};
use shared::limits::{HTTP_API_BODY_BYTES, LAMBDA_EVENT_BYTES};

use crate::bus::{Bus, Entry};
use crate::functions::{Functions, size};
use crate::template::{Cors, Route};

const LOCAL: &str = "/_local/";

/// The gateway of a local server.
pub struct Gateway {
    by_method: HashMap<String, matchit::Router<Route>>,
    default: Option<Route>,
    cors: Cors,
    functions: &'static Functions,
    bus: &'static Bus,
    address: SocketAddr,
}

impl Gateway {
    /// A gateway with these routes.
    ///
    /// # Errors
    /// When two routes contradict each other.
    pub fn new(
        routes: &[Route],
        cors: Cors,
        functions: &'static Functions,
        bus: &'static Bus,
        address: SocketAddr,
    ) -> Result<Self, matchit::InsertError> {
        let mut by_method: HashMap<String, matchit::Router<Route>> = HashMap::new();
        for route in routes.iter().filter(|route| route.path != "$default") {
            by_method.entry(route.method.clone()).or_default().insert(route.path.clone(), route.clone())?;
        }
        let default = routes.iter().find(|route| route.path == "$default").cloned();
        Ok(Self { by_method, default, cors, functions, bus, address })
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.uri().path().starts_with(LOCAL) {
            return self.answer_local(request).await;
        }
        let origin = request.headers().get(header::ORIGIN).filter(|origin| self.is_allowed(origin)).cloned();
        let mut response = if request.method() == Method::OPTIONS {
            plain(StatusCode::NO_CONTENT, "")
        } else {
            self.route(request).await
        };
        if let Some(origin) = origin {
            self.add_cors(response.headers_mut(), origin);
        }
        response
    }

    async fn route(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let found = self.by_method.get(request.method().as_str()).and_then(|router| router.at(&path).ok());
        let (route, parameters) = match (&found, &self.default) {
            (Some(found), _) => {
                (found.value, found.params.iter().map(|(k, v)| (k.to_owned(), decode(v))).collect())
            }
            (None, Some(default)) => (default, BTreeMap::new()),
            (None, None) => return plain(StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#),
        };
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, HTTP_API_BODY_BYTES).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, r#"{"message":"Request Entity Too Large"}"#);
        };
        let event = self.event(&parts, &body.to_bytes(), route, &parameters);
        if size(&event) > LAMBDA_EVENT_BYTES {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, r#"{"message":"Request Entity Too Large"}"#);
        }
        match self.functions.invoke(&route.function, event).await {
            Ok(response) => http(response, parts.method == Method::HEAD),
            Err(error) => {
                tracing::error!(function = route.function, error = %error, "function.failed");
                plain(StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#)
            }
        }
    }

    fn event(
        &self,
        parts: &axum::http::request::Parts,
        body: &[u8],
        route: &Route,
        parameters: &BTreeMap<String, String>,
    ) -> Value {
        let key = if route.path == "$default" {
            "$default".into()
        } else {
            format!("{} {}", route.method, route.path)
        };
        let mut headers = Map::new();
        for name in parts.headers.keys().filter(|name| *name != header::COOKIE) {
            // Repeated headers arrive joined; bytes that are no text arrive as characters.
            let values: Vec<_> = parts.headers.get_all(name).iter().map(latin1).collect();
            headers.insert(name.as_str().into(), values.join(",").into());
        }
        headers.insert("x-forwarded-proto".into(), "http".into());
        let cookies: Vec<_> = parts.headers.get_all(header::COOKIE).iter().map(latin1).collect();
        let (text, is_base64) = match std::str::from_utf8(body) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (STANDARD.encode(body), true),
        };
        let now = Timestamp::now();
        let path = decode(parts.uri.path());
        json!({
            "version": "2.0",
            "routeKey": key,
            "rawPath": path,
            "rawQueryString": parts.uri.query().unwrap_or_default(),
            "cookies": cookies,
            "headers": headers,
            "pathParameters": parameters,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "domainName": self.address.to_string(),
                "domainPrefix": "local",
                "http": {
                    "method": parts.method.as_str(),
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
                },
                "requestId": ObjectId::generate().to_string(),
                "routeKey": key,
                "stage": "$default",
                "time": now.to_string(),
                "timeEpoch": now.millis(),
            },
            "body": Some(text).filter(|text| !text.is_empty()),
            "isBase64Encoded": is_base64,
        })
    }

    /// `/_local/…`: what only a local server has. Pages of other origins cannot reach it, not even
    /// through a host name that leads here.
    async fn answer_local(&self, request: Request<Body>) -> Response<Body> {
        let host =
            request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        if !matches!(name, "127.0.0.1" | "localhost" | "[::1]")
            || request.headers().contains_key(header::ORIGIN)
        {
            return plain(StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#);
        }
        match (request.method().clone(), request.uri().path()) {
            (Method::GET, "/_local/events") => json_response(&Shown { events: self.bus.events() }),
            (Method::GET, "/_local/dead-letters") => {
                json_response(&ShownLetters { dead_letters: self.bus.dead_letters() })
            }
            (Method::POST, "/_local/events") => self.put_events(request.into_body()).await,
            _ => plain(StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#),
        }
    }

    async fn put_events(&self, body: Body) -> Response<Body> {
        let body =
            Limited::new(body, HTTP_API_BODY_BYTES).collect().await.map(http_body_util::Collected::to_bytes);
        let events: Option<Vec<Put>> = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
        let Some(events) = events else {
            let message = r#"{"message":"Expecting [{\"source\",\"detail-type\",\"detail\"}]"}"#;
            return plain(StatusCode::BAD_REQUEST, message);
        };
        let mut ids = Vec::new();
        for Put { source, detail_type, detail } in events {
            let entry =
                Entry { source: source.unwrap_or_else(|| "local".into()), detail_type, detail, time: None };
            match self.bus.put(&[entry]) {
                Ok(put) => ids.extend(put),
                Err(error) => {
                    return plain(
                        StatusCode::BAD_REQUEST,
                        &json!({"message": error.to_string()}).to_string(),
                    );
                }
            }
        }
        json_response(&json!({ "ids": ids }))
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        self.cors.allow_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    fn add_cors(&self, headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.cors.max_age.into());
        for (name, values) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, &self.cors.allow_methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, &self.cors.allow_headers),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.cors.expose_headers),
        ] {
            if let Ok(value) = HeaderValue::from_str(&values.join(",")) {
                headers.insert(name, value);
            }
        }
    }
}

/// An event that somebody puts on the bus.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Put {
    source: Option<String>,
    detail_type: String,
    #[serde(default = "nothing")]
    detail: Box<RawValue>,
}

fn nothing() -> Box<RawValue> {
    RawValue::from_string("{}".into()).unwrap_or_default()
}

fn http(response: Value, is_head: bool) -> Response<Body> {
    let Ok(response) = serde_json::from_value::<ApiGatewayV2httpResponse>(response) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#);
    };
    let body = match response.body {
        Some(LambdaBody::Text(text)) if response.is_base64_encoded => {
            Body::from(STANDARD.decode(text).unwrap_or_default())
        }
        Some(LambdaBody::Text(text)) => Body::from(text),
        Some(LambdaBody::Binary(bytes)) => Body::from(bytes),
        // Nobody knows how long the answer to `GET` would be: an empty body would be taken for all of it.
        _ if is_head => Body::from_stream(futures_util::stream::empty::<Result<Bytes, Infallible>>()),
        _ => Body::empty(),
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = u16::try_from(response.status_code)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers.iter().chain(&response.multi_value_headers) {
        answer.headers_mut().insert(name, value.clone());
    }
    answer
}

/// What was put on the bus, as it is written.
#[derive(Serialize)]
struct Shown {
    events: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLetters {
    dead_letters: Vec<Box<RawValue>>,
}

fn json_response(value: &impl Serialize) -> Response<Body> {
    plain(StatusCode::OK, &serde_json::to_string(value).unwrap_or_default())
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    if !text.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

fn latin1(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}
