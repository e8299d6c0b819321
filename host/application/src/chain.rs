//! Service chaining: a component's request to `http://{id}.spin.internal` is answered by the component with that ID,
//! on the same thread and without a socket.
//!
//! - The request passes the called component's admission and limits like any other request.
//! - The request has nine tenths of the time that is left to the calling request, so that the caller can still
//!   respond when the called component does not.
//! - A chain has at most [`MAX_DEPTH`] requests, so that a loop ends.
//! - The caller may read the response body for at most the response timeout of the called component.
//! - The calling task identifies the calling request
//!   (`docs/decisions/0037-the-engine-knows-the-request-of-a-chained-call.md`).

mod exchange;

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use http::{HeaderValue, Response, header};
use wasi_http_host_egress::{COMPONENTS, Policy};
use wasi_http_host_outbound::{Failure, Outcome};
use wasi_http_host_runtime::{Cause, ChainedRequest, MAX_DEPTH, Siblings};
use wasmtime_wasi_http::{Error, WasiBody};

use self::exchange::{ChainedExchange, warn};
use super::Current;

/// Sends a component's requests to the other components of its application.
pub(super) struct Chain {
    current: Arc<Current>,
    policy: Arc<Policy>,
}

impl Chain {
    /// For a component with this policy, on the thread that serves `current`.
    pub(super) fn new(current: Arc<Current>, policy: Arc<Policy>) -> Self {
        Self { current, policy }
    }
}

impl Siblings for Chain {
    fn send(
        &self,
        request: ChainedRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Response<WasiBody>, Failure>> + Send>> {
        Box::pin(send(self.current.clone(), self.policy.clone(), request))
    }
}

async fn send(
    current: Arc<Current>,
    policy: Arc<Policy>,
    chained: ChainedRequest,
) -> Result<Response<WasiBody>, Failure> {
    let ChainedRequest { component: id, mut request, options, cause, origin } = chained;
    if !policy.permits_component(&id) {
        warn(&id, "a request to another component is not in allowed_outbound_hosts");
        return Err(Failure::new(Error::HttpRequestDenied, Outcome::Denied));
    }
    let depth = cause.as_ref().map_or(0, |cause| cause.depth) + 1;
    if depth > MAX_DEPTH {
        warn(&id, "a chain of requests between components is too long, probably a loop");
        return Err(Failure::new(Error::LoopDetected, Outcome::Loop));
    }
    let Some(served) = current.get().named(&id).cloned() else {
        warn(&id, "a request to a component that the application does not have");
        let rcode = Some(format!("no component {id:?}"));
        return Err(Failure::new(Error::DnsError { rcode, info_code: None }, Outcome::Dns));
    };
    let now = Instant::now();
    let mut time_limit = served.deployment.bounds.request();
    if let Some(cause) = &cause {
        time_limit = time_limit.min(cause.deadline.saturating_duration_since(now) / 10 * 9);
        for (name, value) in &cause.passed_on {
            request.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
    time_limit = options.first_byte_timeout.map_or(time_limit, |first_byte| time_limit.min(first_byte));
    let deadline = now + time_limit;
    if let Ok(host) = HeaderValue::try_from(format!("{id}{COMPONENTS}")) {
        request.headers_mut().insert(header::HOST, host);
    }
    let cause = Cause::new(depth, request.headers(), deadline);
    ChainedExchange::begin(served, now).run(request, cause, deadline, origin).await
}
