//! HTTP on loopback: what the two servers and the calls to the local server share.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

/// Whatever went wrong.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A client that keeps its connections.
#[derive(Clone)]
pub(crate) struct Http(Client<HttpConnector, Full<Bytes>>);

impl Http {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        // Otherwise the kernel keeps a body back until the head has been acknowledged, after 40 ms.
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        let (head, body) = self.0.request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

/// Answers the requests of one connection until it ends; a failure becomes 500.
pub(crate) async fn serve<S, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    state: Arc<S>,
    answer: fn(Arc<S>, Request<Bytes>) -> F,
) where
    F: Future<Output = Result<Answer, Error>>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let (head, body) = request.into_parts();
            let work =
                async { answer(state, Request::from_parts(head, body.collect().await?.to_bytes())).await };
            Ok::<_, Infallible>(work.await.unwrap_or_else(|error| {
                eprintln!("{error}");
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                answer
            }))
        }
    });
    // Without `date`, so that what is read is always the same. That a function is ended is no error.
    let mut server = hyper::server::conn::http1::Builder::new();
    let _ = server.auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
}
