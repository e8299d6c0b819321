//! The HTTP client that the exporter needs. The host's outbound client implements it with the operator's proxies
//! and trusted certificates, and without the egress policy of components.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

/// The future of a response, or of the reason why there is none.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, String>> + Send + 'a>>;

/// Sends requests with batches of spans to the collector.
pub trait CollectorClient: Send + Sync + 'static {
    /// Sends one request. The caller limits the time.
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_>;
}
