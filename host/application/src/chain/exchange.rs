//! One request from a component to another, from its admission to the last byte of its response.

use std::{sync::Arc, time::Instant};

use futures::channel::oneshot;
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout_at;
use wasmtime_wasi_http::{Error, WasiBody};

use wasi_http_host_core::{BodyFailure, BodyLimits, Held, LimitedBody, LogThrottle, bounded};
use wasi_http_host_outbound::{Failure, Outcome};
use wasi_http_host_runtime::{Call, CallError, Cause, Content, GuestBody, Permit, Reply, Unserved};
use wasi_http_host_telemetry::trace::Origin;

use crate::Served;

/// Bytes of a name that a component calls, in the log. Longer than the name of any component.
const NAME_BYTES: usize = 255;

/// Counts the request for the called component when this is dropped. The status is what a client would have received.
pub(super) struct ChainedExchange {
    served: Arc<Served>,
    started: Instant,
    /// `None` if the caller no longer waits for the response.
    status: Option<http::StatusCode>,
    permit: Option<Permit>,
}

impl ChainedExchange {
    pub(super) fn begin(served: Arc<Served>, started: Instant) -> Self {
        served.metrics.active.inc();
        Self { served, started, status: None, permit: None }
    }

    pub(super) async fn run(
        mut self,
        request: http::Request<WasiBody>,
        cause: Arc<Cause>,
        deadline: Instant,
        origin: Option<Arc<Origin>>,
    ) -> Result<http::Response<WasiBody>, Failure> {
        let result = timeout_at(deadline.into(), self.call(request, cause, deadline, origin)).await;
        match result.unwrap_or(Err(Unserved::Call(CallError::TimedOut))) {
            Ok(reply) => Ok(self.answered(reply)),
            Err(unserved) => Err(self.refused(&unserved)),
        }
    }

    async fn call(
        &mut self,
        request: http::Request<WasiBody>,
        cause: Arc<Cause>,
        deadline: Instant,
        origin: Option<Arc<Origin>>,
    ) -> Result<Reply, Unserved> {
        let served = self.served.clone();
        let permit = served.deployment.admission.admit().await.map_err(Unserved::Overloaded)?;
        self.permit = Some(permit.clone());
        let (reply, answer) = oneshot::channel();
        let (queued, cause, permit) = (Instant::now(), Some(cause), Some(permit));
        served.dispatch.submit(Call { request, reply, queued, deadline, cause, origin, permit });
        answer.await.unwrap_or(Err(CallError::Trapped)).map_err(Unserved::Call)
    }

    fn answered(mut self, reply: Reply) -> http::Response<WasiBody> {
        let Reply { head, content } = reply;
        self.status = Some(head.status);
        let body = match content {
            // The body is complete, so the called component has finished.
            Content::Whole(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
            Content::Stream(body) => {
                let deadline = tokio::time::Instant::now() + self.served.deployment.bounds.response();
                let held = Held::until(deadline, (body, self), |_| {});
                // The idle limit of the server is about clients' connections. Between components there is none.
                let limits = BodyLimits { deadline: Some(deadline), ..BodyLimits::default() };
                LimitedBody::new(held, limits, body_failed).boxed_unsync()
            }
        };
        http::Response::from_parts(head, body)
    }

    fn refused(mut self, unserved: &Unserved) -> Failure {
        self.status = Some(unserved.status());
        let deployment = &self.served.deployment;
        if let Some(rejection) = unserved.rejection() {
            deployment.metrics.rejected.count(rejection);
        }
        if let Unserved::Call(error) = unserved {
            warn(&deployment.name, &format!("a request from another component failed: {error}"));
        }
        failure(unserved)
    }
}

/// Translates a failed call for the calling component and its traces.
fn failure(unserved: &Unserved) -> Failure {
    let (error, outcome) = match unserved {
        Unserved::Call(CallError::TimedOut) => (Error::HttpResponseTimeout, Outcome::Timeout),
        Unserved::Overloaded(_) | Unserved::Call(CallError::NoInstance) => {
            (Error::ConnectionLimitReached, Outcome::Limit)
        }
        Unserved::Call(CallError::ErrorCode { internal: false, .. }) => {
            (Error::DestinationUnavailable, Outcome::Connect)
        }
        Unserved::Call(CallError::InvalidResponse(_)) => (Error::HttpProtocolError, Outcome::Protocol),
        Unserved::Call(
            CallError::Trapped | CallError::Instantiation(_) | CallError::ErrorCode { internal: true, .. },
        ) => (Error::ConnectionTerminated, Outcome::Protocol),
    };
    Failure::new(error, outcome)
}

impl Drop for ChainedExchange {
    fn drop(&mut self) {
        self.served.metrics.active.dec();
        self.served.metrics.request(self.status, self.started.elapsed());
    }
}

/// The error that the caller gets when the called component does not complete the response. The request ends with its
/// body.
fn body_failed(
    _: &mut Held<(GuestBody, ChainedExchange)>,
    failure: BodyFailure<BodyFailure<Error>>,
) -> Error {
    match failure.flatten() {
        BodyFailure::Body(error) => error,
        BodyFailure::Size(_) | BodyFailure::Idle | BodyFailure::Deadline => Error::HttpResponseTimeout,
    }
}

/// Logs a warning about a request to `component`. Frequent warnings are throttled.
pub(super) fn warn(component: &str, message: &str) {
    static THROTTLE: LogThrottle = LogThrottle::new();
    if let Some(left_out) = THROTTLE.admit() {
        tracing::warn!(component = bounded(component, NAME_BYTES), left_out, "{message}");
    }
}
