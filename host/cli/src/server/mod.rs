//! The main listener and the threads that serve its connections.

mod connection;
mod exchange;
mod io;
mod listener;
mod protocol;
mod refusal;
mod request;
mod response;
mod stream;
mod streams;
mod tls;
mod worker;

pub(crate) use exchange::ask;
pub(crate) use listener::{Listener, bind};
pub(crate) use refusal::Refusal;
pub(crate) use tls::Tls;
pub(crate) use worker::Worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::uri::Scheme;
use tokio::sync::watch;

use crate::{
    config::Config,
    telemetry::{AccessLog, HostMetrics, trace::Tracer},
};

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) metrics: Arc<HostMetrics>,
    pub(crate) access_log: AccessLog,
    /// Where the listener speaks TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// None where nobody asks for traces.
    pub(crate) tracer: Option<Arc<Tracer>>,
    limits: Limits,
    /// Responses close their connections from now on.
    closing: AtomicBool,
    /// Idle connections close now. Each connection holds a receiver, so its end can be waited for.
    hang_up: watch::Sender<bool>,
}

/// Limits on requests and connections.
struct Limits {
    /// A request with its response.
    exchange: Duration,
    request_body: request::BodyLimits,
    response_body: response::BodyLimits,
    max_header_bytes: usize,
    patience: io::Patience,
}

impl Shared {
    pub(crate) fn new(
        config: &Config,
        metrics: Arc<HostMetrics>,
        access_log: AccessLog,
        tls: Option<Arc<Tls>>,
        tracer: Option<Arc<Tracer>>,
    ) -> Arc<Self> {
        let idle = config.body_idle_timeout.get();
        Arc::new(Self {
            metrics,
            access_log,
            tls,
            tracer,
            limits: Limits {
                exchange: config.request_timeout.get() + config.response_timeout.get(),
                request_body: request::BodyLimits { bytes: config.max_request_body.get(), idle },
                response_body: response::BodyLimits { total: config.response_timeout.get(), idle },
                max_header_bytes: config.max_header_bytes.as_usize(),
                patience: io::Patience {
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
    fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// From now on each response is its connection's last.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Connections without a request close now.
    pub(crate) fn hang_up(&self) {
        self.hang_up.send_replace(true);
    }

    /// Waits until no connection is left.
    pub(crate) async fn all_closed(&self) {
        self.hang_up.closed().await;
    }
}
