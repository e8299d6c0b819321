//! Service chaining: a component's request to `http://{id}.spin.internal` is answered by the component with that ID,
//! on the same thread and without a socket.
//!
//! - The request passes the checks that a client's request passes, and the called component's admission and limits.
//! - The request has nine tenths of the time that is left to the calling request, so that the caller can still
//!   respond when the called component does not.
//! - A chain has at most [`MAX_DEPTH`] requests, so that a loop ends.
//! - The caller may read the response body for at most the response timeout of the called component.
//! - The calling task identifies the calling request
//!   (`docs/decisions/0037-the-engine-knows-the-request-of-a-chained-call.md`).

mod exchange;
mod request;

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use http::Response;
use wasi_http_host_egress::Policy;
use wasi_http_host_outbound::{Failure, Outcome};
use wasi_http_host_runtime::{Cause, ChainedRequest, MAX_DEPTH, Siblings};
use wasmtime_wasi_http::{Error, WasiBody};

use self::exchange::{ChainedExchange, warn};
use super::Current;

/// Sends a component's requests to the other components of its application.
pub(super) struct Chain {
    current: Arc<Current>,
    policy: Arc<Policy>,
    max_body: u64,
}

impl Chain {
    /// For a component with this policy, on the thread that serves `current`. `max_body` is the maximum size of a
    /// request's body, in bytes.
    pub(super) fn new(current: Arc<Current>, policy: Arc<Policy>, max_body: u64) -> Self {
        Self { current, policy, max_body }
    }
}

impl Siblings for Chain {
    fn send(
        &self,
        request: ChainedRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Response<WasiBody>, Failure>> + Send>> {
        Box::pin(send(self.current.clone(), self.policy.clone(), self.max_body, request))
    }
}

async fn send(
    current: Arc<Current>,
    policy: Arc<Policy>,
    max_body: u64,
    chained: ChainedRequest,
) -> Result<Response<WasiBody>, Failure> {
    let ChainedRequest { component: id, request, options, cause, origin } = chained;
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
    let request = request::prepare(request, &id, cause.as_deref(), max_body)?;
    let now = Instant::now();
    let mut time_limit = served.deployment.bounds.request();
    if let Some(cause) = &cause {
        time_limit = time_limit.min(cause.deadline.saturating_duration_since(now) / 10 * 9);
    }
    time_limit = options.first_byte_timeout.map_or(time_limit, |first_byte| time_limit.min(first_byte));
    let deadline = now + time_limit;
    let cause = Cause::new(depth, request.headers(), deadline);
    ChainedExchange::begin(served, now).run(request, cause, deadline, origin).await
}
