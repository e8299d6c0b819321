//! Service chaining: a component's request to `http://{id}.spin.internal` is answered by the component of that name, on
//! the same thread, without a socket.
//!
//! The request passes the other component's admission and limits as any other does. It has nine tenths of the time that
//! is left to the one that caused it, so that the caller can still answer when the called does not; and a chain is at
//! most [`MAX_DEPTH`] long, so that a loop ends. A body is the caller's for as long as the called may take to write it.
//! Which request causes which is known by the task that asks.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures::channel::oneshot;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Sleep, sleep_until};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::{
    admission::Permit,
    application::{Current, Served},
    held::Held,
    outbound::{COMPONENTS, Policy},
    service::{Call, CallError, Content, GuestBody, Reply},
    tasks::Tasks,
    telemetry::{Sparing, trace::Origin},
};

/// How long a chain may be: requests that wait for one another.
pub(crate) const MAX_DEPTH: usize = 16;
/// What is passed on from one request to those that it causes, unless the component sets it itself.
const PASSED_ON: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// A request that may cause others.
#[derive(Debug)]
pub(crate) struct Link {
    depth: usize,
    deadline: Instant,
    passed_on: Vec<(HeaderName, HeaderValue)>,
}

impl Link {
    /// A client's request with these headers.
    pub(crate) fn first(headers: &HeaderMap, deadline: Instant) -> Arc<Self> {
        Self::new(0, headers, deadline)
    }

    fn new(depth: usize, headers: &HeaderMap, deadline: Instant) -> Arc<Self> {
        let value = |name: HeaderName| headers.get(&name).map(|value| (name, value.clone()));
        Arc::new(Self { depth, deadline, passed_on: PASSED_ON.into_iter().filter_map(value).collect() })
    }
}

/// The requests of one instance.
pub(crate) type Links = Tasks<Link>;

/// An instance's way to the other components of its application.
#[derive(Clone)]
pub(crate) struct Chain {
    current: Arc<Current>,
    policy: Arc<Policy>,
    links: Arc<Links>,
}

impl Chain {
    /// For an instance of a component with this policy, on the thread that serves `current`.
    pub(crate) fn new(current: Arc<Current>, policy: Arc<Policy>) -> Self {
        Self { current, policy, links: Arc::default() }
    }

    /// The same for another instance.
    pub(crate) fn again(&self) -> Self {
        Self { links: Arc::default(), ..self.clone() }
    }

    pub(crate) fn links(&self) -> &Arc<Links> {
        &self.links
    }

    /// Begins a request that the instance sends to a component; to be called where it is sent.
    pub(crate) fn begin(
        &self,
        request: http::Request<WasiBody>,
        options: RequestOptions,
        origin: Option<Arc<Origin>>,
    ) -> impl Future<Output = Result<http::Response<WasiBody>, Error>> + Send + use<> {
        let (link, this) = (self.links.sender(), self.clone());
        async move { this.send(request, options, link, origin).await }
    }

    async fn send(
        self,
        mut request: http::Request<WasiBody>,
        options: RequestOptions,
        cause: Option<Arc<Link>>,
        origin: Option<Arc<Origin>>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let id = component(request.uri()).unwrap_or_default().to_owned();
        if !self.policy.permits_component(&id) {
            warn(&id, "a request to another component is not in allowed_outbound_hosts");
            return Err(Error::HttpRequestDenied);
        }
        let depth = cause.as_ref().map_or(0, |cause| cause.depth) + 1;
        if depth > MAX_DEPTH {
            warn(&id, "a chain of requests is too long: it is taken for a loop");
            return Err(Error::LoopDetected);
        }
        let Some(served) = self.current.get().named(&id).cloned() else {
            warn(&id, "a request to a component that the application does not have");
            return Err(Error::DnsError { rcode: Some(format!("no component {id:?}")), info_code: None });
        };
        let now = Instant::now();
        let mut patience = served.deployment.bounds.request();
        if let Some(cause) = &cause {
            patience = patience.min(cause.deadline.saturating_duration_since(now) / 10 * 9);
            for (name, value) in &cause.passed_on {
                request.headers_mut().entry(name).or_insert_with(|| value.clone());
            }
        }
        patience = options.first_byte_timeout.map_or(patience, |asked| patience.min(asked));
        let deadline = now + patience;
        if let Ok(host) = HeaderValue::try_from(format!("{id}{COMPONENTS}")) {
            request.headers_mut().insert(header::HOST, host);
        }
        let link = Link::new(depth, request.headers(), deadline);
        let asked = Exchange::begin(served, now).ask(request, link, deadline, origin);
        tokio::time::timeout_at(deadline.into(), asked).await.unwrap_or(Err(Error::HttpResponseTimeout))
    }
}

/// The component that `uri` names, if it names one and not a host elsewhere.
pub(crate) fn component(uri: &Uri) -> Option<&str> {
    let host = uri.host()?;
    let at = host.len().checked_sub(COMPONENTS.len())?;
    let (id, suffix) = host.split_at_checked(at)?;
    suffix.eq_ignore_ascii_case(COMPONENTS).then_some(id)
}

/// A request from one component to another; counted as the other's when this is dropped.
struct Exchange {
    served: Arc<Served>,
    started: Instant,
    status: Option<http::StatusCode>,
    permit: Option<Permit>,
}

impl Exchange {
    fn begin(served: Arc<Served>, started: Instant) -> Self {
        served.metrics.active.inc();
        Self { served, started, status: None, permit: None }
    }

    async fn ask(
        mut self,
        request: http::Request<WasiBody>,
        link: Arc<Link>,
        deadline: Instant,
        origin: Option<Arc<Origin>>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let served = self.served.clone();
        let permit = served.deployment.admission.admit().await;
        self.permit = Some(permit.map_err(|rejection| {
            served.deployment.metrics.rejected.count(rejection);
            Error::ConnectionLimitReached
        })?);
        let (reply, answer) = oneshot::channel();
        let call = Call { request, reply, queued: Instant::now(), deadline, link: Some(link), origin };
        served.dispatch.submit(call);
        let answer = answer.await.unwrap_or(Err(CallError::Trapped));
        let Reply { head, content } = answer.map_err(|error| {
            warn(&served.deployment.name, &format!("a request from another component failed: {error}"));
            told(&error)
        })?;
        self.status = Some(head.status);
        let body = match content {
            // All there: the other has done its part.
            Content::Whole(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
            Content::Stream(body) => {
                let deadline = tokio::time::Instant::now() + served.deployment.bounds.response();
                let held = Held::until(deadline, (body, self), |_| {});
                ChainedBody { held, deadline, timer: None }.boxed_unsync()
            }
        };
        Ok(http::Response::from_parts(head, body))
    }
}

/// Says of a request to `component` what was wrong with it; of many, not of each.
fn warn(component: &str, message: &str) {
    static SAID: Sparing = Sparing::new();
    if let Some(left_out) = SAID.afford() {
        tracing::warn!(component, left_out, "{message}");
    }
}

/// What the calling component is told.
fn told(error: &CallError) -> Error {
    match error {
        CallError::TimedOut => Error::HttpResponseTimeout,
        CallError::NoInstance => Error::ConnectionLimitReached,
        CallError::ErrorCode { internal: false, .. } => Error::DestinationUnavailable,
        CallError::InvalidResponse(_) => Error::HttpProtocolError,
        CallError::Trapped | CallError::Instantiation(_) | CallError::ErrorCode { internal: true, .. } => {
            Error::ConnectionTerminated
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.served.metrics.active.dec();
        self.served.metrics.request(self.status, self.started.elapsed());
    }
}

/// A response's body that is still being written; its end is the request's.
struct ChainedBody {
    held: Held<(GuestBody, Exchange)>,
    /// When it is no longer held.
    deadline: tokio::time::Instant,
    /// Set while more is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Body for ChainedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = self.held.with(|(body, _)| Pin::new(body).poll_frame(cx));
        let Some(polled) = polled else { return Poll::Ready(Some(Err(Error::HttpResponseTimeout))) };
        if polled.is_pending() {
            let deadline = self.deadline;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.held.with(|(body, _)| body.is_end_stream()).unwrap_or_default()
    }

    fn size_hint(&self) -> SizeHint {
        self.held.with(|(body, _)| body.size_hint()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_told_from_a_host() {
        let of = |uri: &'static str| component(&Uri::from_static(uri)).map(str::to_owned);
        assert_eq!(of("http://back.spin.internal/path"), Some("back".to_owned()));
        assert_eq!(of("http://back.SPIN.internal:80/"), Some("back".to_owned()));
        for other in ["http://spin.internal/", "http://back.spin.internal.example/", "/path", "http://x/"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
