//! What the exporter needs of an HTTP client. The host's own outbound client is one: with its proxies and trusted
//! certificates, without the egress policy of components.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

/// A response, once it is there, or why there is none.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, String>> + Send + 'a>>;

/// Sends batches of spans to the collector.
pub trait CollectorClient: Send + Sync + 'static {
    /// Sends one request. The caller limits the time for it.
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_>;
}
