//! A request and its response, from the parsed head to the last byte: admission, dispatch to an instance, response,
//! metrics and the access log.

use std::{sync::Arc, time::Instant};

use futures::channel::oneshot;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{
    client::Client,
    interim::Interims,
    io::Activity,
    refusal::Refusal,
    request::{self},
    worker::Worker,
};
use wasi_http_host_application::Served;
use wasi_http_host_cache::{Filling, Outcome};
use wasi_http_host_core::BoundedError;
use wasi_http_host_runtime::{
    Call, CallError, Cause, InterimRelay, Permit, Reply, Unserved, WorkerMetrics, was_passed_on,
};
use wasi_http_host_telemetry::{
    AccessLine, CertificateNames,
    trace::{self, Origin},
};

use super::span::{Ended, ServerSpan};

/// The state of a request. When it is dropped, the request ends: metrics are counted, the access log line is
/// written, and the permit is released, unless the instance still works on the request.
pub(super) struct Exchange {
    pub(super) worker: Arc<Worker>,
    /// The component that serves the request. `None`: no route matches the path.
    served: Option<Arc<Served>>,
    activity: Arc<Activity>,
    permit: Option<Permit>,
    pub(super) client: Arc<Client>,
    started: Instant,
    method: Method,
    uri: Uri,
    pub(super) request_id: HeaderValue,
    trace_id: Option<Box<str>>,
    /// `None`: traces are disabled.
    span: Option<Box<ServerSpan>>,
    pub(super) status: Option<StatusCode>,
    bytes: u64,
    complete: bool,
    /// How the response cache took part.
    pub(super) cached: Option<Outcome>,
    /// The way of the response's body into the response cache.
    pub(super) filling: Option<Box<Filling>>,
}

impl Exchange {
    pub(super) fn begin(
        worker: Arc<Worker>,
        activity: Arc<Activity>,
        peer: Arc<Client>,
        request: &Request<Incoming>,
    ) -> Self {
        activity.begin();
        let named = worker.shared.trusted_proxies.client(peer.address, request.headers());
        let span = worker.shared.tracer.as_ref().map(|tracer| {
            Box::new(ServerSpan::begin(tracer, request, || worker.route(request.uri().path())))
        });
        let trace_id = match &span {
            Some(span) => Some(span.trace_id()),
            None => trace::trace_id(request.headers()).map(Box::from),
        };
        let exchange = Self {
            served: worker.find(request.uri().path()),
            worker,
            activity,
            permit: None,
            client: match named {
                Some(address) => Arc::new(peer.at(address)),
                None => peer,
            },
            started: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            request_id: request::request_id(request.headers()),
            trace_id,
            span,
            status: None,
            bytes: 0,
            complete: false,
            cached: None,
            filling: None,
        };
        exchange.metrics().active.inc();
        exchange
    }

    fn metrics(&self) -> &WorkerMetrics {
        self.served.as_ref().map_or(&self.worker.unrouted, |served| &served.metrics)
    }

    /// Returns the response's head, and its body: the component's, or one of the response cache.
    pub(super) async fn run(&mut self, request: Request<Incoming>) -> Result<Reply, Refusal> {
        let served = self.served.clone().ok_or(Refusal::NotFound)?;
        match &served.deployment.space {
            Some(space) => self.run_cached(request, &served, space).await,
            None => {
                let request = self.prepare(request)?;
                self.call(request, &served).await
            }
        }
    }

    /// Turns the client's request into the component's.
    pub(super) fn prepare(&self, request: Request<Incoming>) -> Result<Request<WasiBody>, Refusal> {
        let limits = &self.worker.shared.limits;
        let mut request =
            request::prepare(request, self.worker.shared.scheme(), &self.request_id, limits.request_body)?;
        self.client.inject(request.headers_mut());
        if let Some(span) = &self.span {
            span.inject(request.headers_mut());
        }
        Ok(request)
    }

    /// Waits for admission, sends the request to an instance, and waits for the response's head.
    pub(super) async fn call(
        &mut self,
        request: Request<WasiBody>,
        served: &Served,
    ) -> Result<Reply, Refusal> {
        let permit = served.deployment.admission.admit().await.map_err(Unserved::Overloaded)?;
        self.permit = Some(permit.clone());
        let origin = self.span.as_ref().map(|span| span.origin());
        let relays = self.worker.shared.relay_interim && request.version() == Version::HTTP_11;
        let interims = relays.then_some(&self.activity.interims);
        Ok(call(request, served, self.started, origin, permit, interims).await?)
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        if let Some(rejection) = refusal.rejection()
            && let Some(served) = &self.served
        {
            served.deployment.metrics.rejected.count(rejection);
        }
        if let (Some(span), Some(kind)) = (&mut self.span, refusal.kind()) {
            span.set_error(kind);
        }
        if let Refusal::Unserved(Unserved::Call(error)) = refusal
            && let Some(left_out) = self.admit_log()
        {
            let request_id = self.request_id.to_str().unwrap_or_default();
            let (component, status) = (self.component(), refusal.status().as_u16());
            tracing::error!(component, request_id, status, %error, left_out, "a request failed");
        }
    }

    /// Whether the response never has a body (RFC 9110, 6.4.1).
    pub(super) fn is_bodiless(&self) -> bool {
        self.method == Method::HEAD
            || matches!(self.status, Some(StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED))
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Records that hyper did not send everything that it had taken.
    pub(super) fn incomplete(&mut self) {
        self.complete = false;
    }

    /// Logs that the response's body failed. The connection is then closed, because nothing else tells the client
    /// that the body is incomplete.
    pub(super) fn body_failed(&mut self, error: &Error) {
        if let Some(left_out) = self.admit_log() {
            let request_id = self.request_id.to_str().unwrap_or_default();
            let (component, error) = (self.component(), BoundedError(error));
            tracing::error!(component, request_id, %error, left_out, "a response ended before it was complete");
        }
        if let Some(span) = &mut self.span {
            span.set_error("response_broke_off");
        }
    }

    /// Whether a line about this failed request may be logged. The access log has a line in any case.
    fn admit_log(&self) -> Option<u64> {
        self.served.as_ref().and_then(|served| served.deployment.metrics.failures.admit())
    }

    fn component(&self) -> Option<&str> {
        self.served.as_ref().map(|served| &*served.deployment.name)
    }
}

/// Sends a request that is admitted to an instance, and waits for the response's head. The time of the request counts from
/// `started`. `interims` gets the interim responses to a request that the component forwards.
pub(super) async fn call(
    request: Request<WasiBody>,
    served: &Served,
    started: Instant,
    origin: Option<Arc<Origin>>,
    permit: Permit,
    interims: Option<&Interims>,
) -> Result<Reply, Unserved> {
    let deadline = started + served.deployment.bounds.request();
    let (reply, answer) = oneshot::channel();
    let mut relayed = None;
    let cause = if interims.is_some() {
        let (relay, receiver) = InterimRelay::new(&request);
        relayed = Some(receiver);
        Some(Cause::relaying(request.headers(), deadline, relay))
    } else {
        let causes = served.chains() || was_passed_on(request.headers());
        causes.then(|| Cause::first(request.headers(), deadline))
    };
    let (queued, permit) = (Instant::now(), Some(permit));
    served.dispatch.submit(Call { request, reply, queued, deadline, cause, origin, permit });
    let answer = match (interims, relayed) {
        (Some(interims), Some(relayed)) => relaying(interims, relayed, answer).await,
        _ => answer.await,
    };
    let reply = match answer {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => return Err(Unserved::Call(error)),
        // Instances answer all their calls before they end. Without an answer, an instance trapped.
        Err(oneshot::Canceled) => return Err(Unserved::Call(CallError::Trapped)),
    };
    if reply.head.status.is_informational() {
        let what = format!("its status is {}, which is not final", reply.head.status);
        return Err(Unserved::Call(CallError::InvalidResponse(what)));
    }
    Ok(reply)
}

/// Waits for the answer. Interim responses that come meanwhile are written to the client before it.
async fn relaying<T>(
    interims: &Interims,
    mut relayed: mpsc::Receiver<Response<()>>,
    mut answer: oneshot::Receiver<T>,
) -> Result<T, oneshot::Canceled> {
    let answer = loop {
        tokio::select! {
            biased;
            Some(interim) = relayed.recv() => interims.push(&interim),
            answer = &mut answer => break answer,
        }
    };
    interims.all_written().await;
    answer
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.activity.end();
        if self.status.is_none() {
            self.activity.abandoned();
        }
        let duration = self.started.elapsed();
        let metrics = self.metrics();
        metrics.active.dec();
        metrics.request(self.status, duration);
        if let Some(outcome) = self.cached {
            metrics.cached.count(outcome);
        }
        if let Some(span) = self.span.take() {
            span.end(&Ended {
                component: self.served.as_ref().map(|served| served.deployment.name.clone()),
                method: &self.method,
                scheme: self.worker.shared.scheme(),
                path: self.uri.path(),
                request_id: &self.request_id,
                status: self.status,
                complete: self.complete,
                cached: self.cached.map(Outcome::as_str),
            });
        }
        let log = &self.worker.shared.access_log;
        if log.wants(self.status) {
            log.write(&AccessLine {
                component: self.component(),
                client: self.client.address.ip(),
                certificate: self.client.certificate.as_ref().map(|certificate| CertificateNames {
                    subject: &certificate.names.subject,
                    alternative: &certificate.names.alternative,
                }),
                method: &self.method,
                path: self.uri.path(),
                request_id: &self.request_id,
                trace_id: self.trace_id.as_deref(),
                status: self.status,
                complete: self.complete,
                bytes: self.bytes,
                duration,
            });
        }
    }
}
