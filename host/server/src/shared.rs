//! State that all threads of the server share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::uri::Scheme;
use tokio::sync::watch;
use wasi_http_host_runtime::{ComponentMetrics, RequestConfig};
use wasi_http_host_telemetry::{AccessLog, trace::Tracer};

use super::{
    ConnectionMetrics, ServerConfig, Tls,
    client::TrustedProxies,
    limits::{RequestBodyLimits, ResponseBodyLimits, StreamTimeouts},
};

/// State that all threads of the server share.
pub struct Shared {
    /// Metrics of connections.
    pub metrics: Arc<ConnectionMetrics>,
    /// Metrics of requests that match no route.
    pub unrouted: Arc<ComponentMetrics>,
    /// The access log.
    pub access_log: AccessLog,
    /// The TLS state of the listener. `None`: the listener speaks plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// The tracer. `None`: traces are disabled.
    pub tracer: Option<Arc<Tracer>>,
    pub(super) limits: ServerLimits,
    pub(super) trusted_proxies: TrustedProxies,
    /// Whether clients get the interim responses to requests that components forward.
    pub(super) relay_interim: bool,
    /// Whether responses close their connections (drain).
    closing: AtomicBool,
    /// Set when idle connections must close. Each connection holds a receiver, so that the shutdown can wait until
    /// all connections are closed.
    pub(super) close_idle: watch::Sender<bool>,
}

/// The limits of requests and connections.
pub(super) struct ServerLimits {
    /// The maximum time of a request together with its response.
    pub(super) exchange: Duration,
    pub(super) request_body: RequestBodyLimits,
    pub(super) response_body: ResponseBodyLimits,
    pub(super) max_header_bytes: usize,
    pub(super) timeouts: StreamTimeouts,
}

impl Shared {
    /// Creates the shared state, before the first thread starts.
    pub fn new(
        config: &ServerConfig,
        requests: &RequestConfig,
        metrics: Arc<ConnectionMetrics>,
        unrouted: Arc<ComponentMetrics>,
        access_log: AccessLog,
        tls: Option<Arc<Tls>>,
        tracer: Option<Arc<Tracer>>,
    ) -> Arc<Self> {
        let idle = config.body_idle_timeout.get();
        Arc::new(Self {
            metrics,
            unrouted,
            access_log,
            tls,
            tracer,
            limits: ServerLimits {
                exchange: requests.request_timeout.get() + requests.response_timeout.get(),
                request_body: RequestBodyLimits { bytes: config.max_request_body.get(), idle },
                response_body: ResponseBodyLimits { total: requests.response_timeout.get(), idle },
                max_header_bytes: config.max_header_bytes.as_usize(),
                timeouts: StreamTimeouts {
                    head: config.header_timeout.get(),
                    idle: config.keep_alive_timeout.get(),
                    write: idle,
                },
            },
            trusted_proxies: TrustedProxies {
                addresses: config.trusted_proxies.clone(),
                header: config.trusted_proxies_header,
            },
            relay_interim: config.relay_interim_responses,
            closing: AtomicBool::new(false),
            close_idle: watch::Sender::new(false),
        })
    }

    /// Returns the scheme of all requests. The listener's scheme counts, not the client's claim.
    pub(super) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Begins the drain: from now on, each response closes its connection.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Closes all connections that have no request in flight.
    pub fn close_idle_connections(&self) {
        self.close_idle.send_replace(true);
    }

    /// Waits until all connections are closed.
    pub async fn all_closed(&self) {
        self.close_idle.closed().await;
    }
}
