//! What the threads of the server have in common.

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
    limits::{Patience, RequestBodyLimits, ResponseBodyLimits},
};

/// What all threads share.
pub struct Shared {
    /// What is counted of connections.
    pub metrics: Arc<ConnectionMetrics>,
    /// What is counted of requests that no component is asked for.
    pub unrouted: Arc<ComponentMetrics>,
    /// Where a line a request goes.
    pub access_log: AccessLog,
    /// Where the listener speaks TLS.
    pub tls: Option<Arc<Tls>>,
    /// None where nobody asks for traces.
    pub tracer: Option<Arc<Tracer>>,
    pub(super) limits: ServerLimits,
    /// Responses close their connections from now on.
    closing: AtomicBool,
    /// Idle connections close now. Each connection holds a receiver, so its end can be waited for.
    pub(super) hang_up: watch::Sender<bool>,
}

/// Limits on requests and connections.
pub(super) struct ServerLimits {
    /// A request with its response.
    pub(super) exchange: Duration,
    pub(super) request_body: RequestBodyLimits,
    pub(super) response_body: ResponseBodyLimits,
    pub(super) max_header_bytes: usize,
    pub(super) patience: Patience,
}

impl Shared {
    /// Before the first thread starts. `tls` where the listener speaks it, `tracer` where traces are asked for.
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
                patience: Patience {
                    head: config.header_timeout.get(),
                    idle: config.keep_alive_timeout.get(),
                    write: idle,
                },
            },
            closing: AtomicBool::new(false),
            hang_up: watch::Sender::new(false),
        })
    }

    /// Of all requests: the listener speaks one of the two, and a client's word for it does not count.
    pub(super) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// From now on each response is its connection's last.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Connections without a request close now.
    pub fn hang_up(&self) {
        self.hang_up.send_replace(true);
    }

    /// Waits until no connection is left.
    pub async fn all_closed(&self) {
        self.hang_up.closed().await;
    }
}
