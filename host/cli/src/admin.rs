//! The admin port: `/live`, `/ready`, `/metrics`, and the response cache's state and purge.

use std::{
    convert::Infallible,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Semaphore, time::timeout};

use wasi_http_host_application::Served;
use wasi_http_host_cache::Cache;
use wasi_http_host_core::{Exposition, LogThrottle};
use wasi_http_host_keyvalue::Stores;
use wasi_http_host_server::{Tls, Worker, ask};
use wasi_http_host_telemetry::{Log, expose_process};

use crate::{
    metrics::{HostMetrics, InterfaceMetrics},
    response_cache::{self, Unpurged},
};

/// The most connections to the admin port. There are few probes and scrapers.
const MAX_CONNECTIONS: usize = 64;
/// The longest time for a request's head, and for a request that the host sends to the component for a probe.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest life of a connection to the admin port.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(3600);
/// A thread whose event loop has not run for this long counts as hanging.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(15);
/// The most bytes of the component's own metrics, and of its readiness response.
const MAX_COMPONENT_METRICS: usize = 2 << 20;
const MAX_READY_ANSWER: usize = 64 << 10;

/// Limits the lines about a component's own metrics that are left out.
static COMPONENT_METRICS: LogThrottle = LogThrottle::new();

/// The state behind the admin port.
pub(crate) struct Admin {
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) metrics: Arc<HostMetrics>,
    pub(crate) interfaces: InterfaceMetrics,
    pub(crate) log: Log,
    pub(crate) tls: Option<Arc<Tls>>,
    /// `None`: the host has no response cache, or still starts.
    pub(crate) response_cache: Option<Arc<Cache>>,
    pub(crate) ready_path: Option<String>,
    pub(crate) metrics_path: Option<String>,
    /// Whether a first instance of each component has been created.
    pub(crate) warm: AtomicBool,
    pub(crate) draining: AtomicBool,
}

impl Admin {
    /// The state during the start, when no threads serve yet.
    pub(crate) fn starting(metrics: Arc<HostMetrics>, stores: Stores, log: Log) -> Self {
        Self {
            workers: Vec::new(),
            metrics,
            interfaces: InterfaceMetrics { keyvalue: Vec::new(), stores, outbound: None, tracer: None },
            log,
            tls: None,
            response_cache: None,
            ready_path: None,
            metrics_path: None,
            warm: false.into(),
            draining: false.into(),
        }
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// The runtime cannot register the listener.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return Ok(()) };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let admin = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let admin = admin.clone();
                    async move { Ok::<_, Infallible>(admin.answer(&request).await) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // A probe may close its connection at any time. That is not an error.
                let _ = timeout(CONNECTION_TIMEOUT, connection).await;
                drop(permit);
            });
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let (is_allowed, allowed) = match (path, &self.response_cache) {
            (response_cache::PURGE, Some(_)) => (*request.method() == Method::POST, "POST"),
            _ => (matches!(*request.method(), Method::GET | Method::HEAD), "GET, HEAD"),
        };
        if !is_allowed {
            let mut response = json(StatusCode::METHOD_NOT_ALLOWED, r#"{"detail":"Method Not Allowed"}"#);
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
            return response;
        }
        if let Some(cache) = &self.response_cache {
            match path {
                response_cache::STATE => return json(StatusCode::OK, response_cache::state(cache)),
                response_cache::PURGE => return purge(cache, request.uri().query().unwrap_or_default()),
                _ => {}
            }
        }
        match path {
            "/live" => state(self.live()),
            "/ready" => state(self.ready().await),
            "/metrics" => self.expose().await,
            _ => json(StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#),
        }
    }

    /// Liveness: whether the event loop of each thread runs.
    fn live(&self) -> Result<(), String> {
        match self.workers.iter().map(|worker| worker.since_heartbeat()).max() {
            Some(silence) if silence > HEARTBEAT_TIMEOUT => {
                Err(format!("the event loop of a thread has not run for {} s", silence.as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// Readiness: the first instances exist, the host is not draining, and the component itself is ready if
    /// `--ready-path` is set.
    async fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Acquire) {
            return Err("shutting down".to_owned());
        }
        if self.workers.is_empty() {
            return Err("the application is being compiled".to_owned());
        }
        if !self.warm.load(Ordering::Acquire) {
            return Err("no instance has been created yet".to_owned());
        }
        let (Some(path), Some(worker)) = (&self.ready_path, self.workers.first()) else { return Ok(()) };
        let application = worker.application();
        let Some(served) = application.component_for(path) else {
            return Err(format!("no component is routed at {path}"));
        };
        match ask(&served.dispatch, path, ASK_TIMEOUT, MAX_READY_ANSWER).await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) => Err(format!("the component answers {} at {path}", status.as_u16())),
            Err(error) => Err(format!("the component does not answer at {path}: {error}")),
        }
    }

    async fn expose(&self) -> Response<Full<Bytes>> {
        let mut exposition = Exposition::default();
        self.metrics.expose(&mut exposition);
        let application = self.workers.first().map(|worker| worker.application());
        if let Some(application) = &application {
            self.interfaces.expose(&mut exposition, application.generation().deployments());
        }
        if let Some(tls) = &self.tls {
            tls.expose(&mut exposition);
        }
        if let Some(cache) = &self.response_cache {
            cache.expose(&mut exposition);
        }
        expose_log(&mut exposition, self.log.sink.dropped());
        expose_process(&mut exposition);
        if let (Some(path), Some(application)) = (&self.metrics_path, &application)
            && let Some(served) = application.component_for(path)
        {
            let added = add_component_metrics(&mut exposition, served, path).await;
            expose_component_metrics(&mut exposition, added.is_ok());
            if let Err(reason) = added
                && let Some(left_out) = COMPONENT_METRICS.admit()
            {
                let component = &*served.deployment.name;
                tracing::warn!(component, path, reason, left_out, "the component's own metrics are left out");
            }
        }
        let mut response = Response::new(Full::new(Bytes::from(exposition.into_text())));
        let content_type = header::HeaderValue::from_static(Exposition::CONTENT_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

pub(crate) fn expose_log(exposition: &mut Exposition, dropped: u64) {
    exposition.counter(
        "wasi_http_host_log_lines_dropped_total",
        "Log lines that were dropped, because the reader of standard output was too slow or a line was too long.",
        dropped,
    );
}

pub(crate) fn expose_component_metrics(exposition: &mut Exposition, are_here: bool) {
    exposition.gauge(
        "wasi_http_host_component_metrics_up",
        "Whether the component's own metrics are here. 0: the component does not answer, or its answer is refused.",
        u8::from(are_here),
    );
}

/// Asks a component for its own metrics, and adds them if a scraper can read them.
async fn add_component_metrics(
    exposition: &mut Exposition,
    served: &Served,
    path: &str,
) -> Result<(), String> {
    let (status, text) = ask(&served.dispatch, path, ASK_TIMEOUT, MAX_COMPONENT_METRICS)
        .await
        .map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("its status is {}, which is not 2xx", status.as_u16()));
    }
    let text = std::str::from_utf8(&text).map_err(|error| error.to_string())?;
    exposition.append(text).map_err(|error| error.to_string())
}

fn purge(cache: &Cache, query: &str) -> Response<Full<Bytes>> {
    let (status, detail) = match response_cache::purge(cache, query) {
        Ok(purged) => {
            tracing::info!(query, purged, "the operator purged the response cache");
            return json(StatusCode::OK, serde_json::json!({ "purged": purged }).to_string());
        }
        Err(Unpurged::Invalid(reason)) => (StatusCode::BAD_REQUEST, reason),
        Err(Unpurged::UnknownComponent(id)) => {
            (StatusCode::NOT_FOUND, format!("no component {id:?} whose responses are cached"))
        }
    };
    json(status, serde_json::json!({ "detail": detail }).to_string())
}

fn state(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => json(StatusCode::OK, r#"{"status":"ok"}"#),
        Err(reason) => {
            let body = serde_json::json!({ "status": "unavailable", "reason": reason }).to_string();
            json(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
