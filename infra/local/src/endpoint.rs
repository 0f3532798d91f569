//! The AWS services of the local server behind one address, as `AWS_ENDPOINT_URL` wants it: for
//! functions in containers, and for the AWS CLI.

use std::io;
use std::net::SocketAddr;

use aws_config::SdkConfig;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::{InvalidUri, PathAndQuery, Uri};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

use crate::functions::Functions;

/// Passes requests on to the services.
pub struct Endpoint {
    client: Client<HttpConnector, Body>,
    dynamodb: Uri,
    messaging: Uri,
    secrets_manager: Uri,
    functions: &'static Functions,
}

impl Endpoint {
    /// In front of the services that the local server's own functions use.
    ///
    /// # Errors
    /// When a service's address is none.
    pub fn new(
        dynamodb: &SdkConfig,
        messaging: &SdkConfig,
        secrets_manager: &SdkConfig,
        functions: &'static Functions,
    ) -> Result<Self, InvalidUri> {
        let uri = |aws: &SdkConfig| aws.endpoint_url().unwrap_or_default().parse();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self {
            client,
            dynamodb: uri(dynamodb)?,
            messaging: uri(messaging)?,
            secrets_manager: uri(secrets_manager)?,
            functions,
        })
    }

    /// Listens here until the server ends; gives the address with its port.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn listen(self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let endpoint: &'static Self = Box::leak(Box::new(self));
        let router = Router::new().fallback(move |request| endpoint.answer(request));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    async fn answer(&self, mut request: Request) -> Response {
        // There is no authentication: a page in the developer's browser must not get in.
        if request.headers().contains_key(header::ORIGIN) {
            return StatusCode::FORBIDDEN.into_response();
        }
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let target = target.unwrap_or_default().to_owned();
        let service = match target.split('.').next() {
            Some("AWSEvents" | "AmazonSQS") => &self.messaging,
            Some("secretsmanager") => &self.secrets_manager,
            _ => &self.dynamodb,
        };
        let mut parts = service.clone().into_parts();
        parts.path_and_query =
            request.uri().path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
        let Ok(uri) = Uri::from_parts(parts) else { return StatusCode::BAD_REQUEST.into_response() };
        *request.uri_mut() = uri;
        let answer = self.client.request(request).await;
        if target.starts_with("DynamoDB_") {
            // It may have written something that the stream's followers wait for.
            self.functions.done.notify_waiters();
        }
        match answer {
            Ok(answer) => answer.map(Body::new),
            Err(error) => {
                tracing::warn!(target, error = %error, "endpoint.failed");
                StatusCode::BAD_GATEWAY.into_response()
            }
        }
    }
}
