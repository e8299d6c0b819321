//! Service chaining: a component's request to `http://{id}.spin.internal` is answered by the component of that name, on
//! the same thread, without a socket.
//!
//! The request passes the other component's admission and limits as any other does. It has nine tenths of the time that
//! is left to the one that caused it, so that the caller can still answer when the called does not; and a chain is at
//! most [`MAX_DEPTH`] long, so that a loop ends. A body is the caller's for as long as the called may take to write it.
//! Which request causes which is known by the task that asks.

mod exchange;

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use self::exchange::Exchange;
use crate::{
    application::Current,
    outbound::{COMPONENTS, Failure, Outcome, Policy},
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
    ) -> impl Future<Output = Result<http::Response<WasiBody>, Failure>> + Send + use<> {
        let (link, this) = (self.links.sender(), self.clone());
        async move { this.send(request, options, link, origin).await }
    }

    async fn send(
        self,
        mut request: http::Request<WasiBody>,
        options: RequestOptions,
        cause: Option<Arc<Link>>,
        origin: Option<Arc<Origin>>,
    ) -> Result<http::Response<WasiBody>, Failure> {
        let id = component(request.uri()).unwrap_or_default().to_owned();
        if !self.policy.permits_component(&id) {
            warn(&id, "a request to another component is not in allowed_outbound_hosts");
            return Err(Failure::new(Error::HttpRequestDenied, Outcome::Denied));
        }
        let depth = cause.as_ref().map_or(0, |cause| cause.depth) + 1;
        if depth > MAX_DEPTH {
            warn(&id, "a chain of requests is too long: it is taken for a loop");
            return Err(Failure::new(Error::LoopDetected, Outcome::Loop));
        }
        let Some(served) = self.current.get().named(&id).cloned() else {
            warn(&id, "a request to a component that the application does not have");
            let rcode = Some(format!("no component {id:?}"));
            return Err(Failure::new(Error::DnsError { rcode, info_code: None }, Outcome::Dns));
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
        Exchange::begin(served, now).run(request, link, deadline, origin).await
    }
}

/// The component that `uri` names, if it names one and not a host elsewhere.
pub(crate) fn component(uri: &Uri) -> Option<&str> {
    let host = uri.host()?;
    let at = host.len().checked_sub(COMPONENTS.len())?;
    let (id, suffix) = host.split_at_checked(at)?;
    suffix.eq_ignore_ascii_case(COMPONENTS).then_some(id)
}

/// Says of a request to `component` what was wrong with it; of many, not of each.
fn warn(component: &str, message: &str) {
    static SAID: Sparing = Sparing::new();
    if let Some(left_out) = SAID.afford() {
        tracing::warn!(component, left_out, "{message}");
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
