//! One request from a component to another, from its admission to the last byte of its response.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures::channel::oneshot;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Sleep, sleep_until, timeout_at};
use wasmtime_wasi_http::{Error, WasiBody};

use wasi_http_host_core::{Held, LogThrottle};
use wasi_http_host_outbound::{Failure, Outcome};
use wasi_http_host_runtime::{Call, CallError, Cause, Content, GuestBody, Permit, Reply, Unserved};
use wasi_http_host_telemetry::trace::Origin;

use crate::Served;

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
        self.permit = Some(served.deployment.admission.admit().await.map_err(Unserved::Overloaded)?);
        let (reply, answer) = oneshot::channel();
        let call = Call { request, reply, queued: Instant::now(), deadline, cause: Some(cause), origin };
        served.dispatch.submit(call);
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
                ChainedBody { held, deadline, timer: None }.boxed_unsync()
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

/// A response body that is still being written. The request ends with its body.
struct ChainedBody {
    held: Held<(GuestBody, ChainedExchange)>,
    /// The end of the response timeout, when the body is dropped.
    deadline: tokio::time::Instant,
    /// Set while the body waits for more bytes.
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

/// Logs a warning about a request to `component`. Frequent warnings are throttled.
pub(super) fn warn(component: &str, message: &str) {
    static THROTTLE: LogThrottle = LogThrottle::new();
    if let Some(left_out) = THROTTLE.admit() {
        tracing::warn!(component, left_out, "{message}");
    }
}
