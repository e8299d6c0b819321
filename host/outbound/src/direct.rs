//! Requests that the operator configures, such as exports of spans to a collector. These requests use the connector
//! of guests' requests, with a policy that allows every address.

use super::error::Causes;
use super::shared::Outbound;
use super::transport::{Connector, Transport};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::sync::Arc;
use wasi_http_host_egress::AllowList;
use wasi_http_host_egress::Policy;
use wasi_http_host_telemetry::trace::{CollectorClient, Sending};

/// Sends requests to targets in the operator's settings.
pub struct Direct {
    outbound: Arc<Outbound>,
    pool: legacy::Client<Connector, Full<Bytes>>,
}

impl Direct {
    /// Creates a client with the limits, proxies and root certificates of `outbound`. `http2` selects HTTP/2
    /// without negotiation. A server without TLS must be known to support it.
    #[must_use]
    pub fn new(outbound: Arc<Outbound>, http2: bool) -> Self {
        let everywhere = vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let policy = Arc::new(Policy::new(AllowList::default(), everywhere));
        let share = outbound.places().host_share();
        let transport = Arc::new(Transport { outbound: outbound.clone(), policy, share });
        let pool = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(outbound.limits().idle)
            .pool_max_idle_per_host(1)
            .http2_only(http2)
            .build(Connector { transport, identity: None });
        Self { outbound, pool }
    }

    async fn attempt(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
        let proxy = self.outbound.proxies().of(request.uri());
        if let Some(auth) = proxy.as_ref().and_then(|proxy| proxy.basic_auth())
            && request.uri().scheme() == Some(&http::uri::Scheme::HTTP)
        {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, auth.clone());
        }
        self.pool.request(request).await.map_err(|error| Causes(&error).to_string())
    }
}

impl CollectorClient for Direct {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        Box::pin(self.attempt(request))
    }
}
