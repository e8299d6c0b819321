//! Requests that the host itself sends to a component: for readiness, and for the component's own metrics.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::channel::oneshot;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use wasi_http_host_runtime::{Call, CallError, Content, Dispatch, Reply};

/// Sends a `GET` of `path` to a component on the host's own behalf. The request bypasses admission, metrics and the
/// access log. `limit` is the timeout for the whole response, and `max_bytes` the maximum size of its body.
///
/// # Errors
/// When the component gives no valid response within these limits.
pub async fn ask(
    dispatch: &Arc<Dispatch>,
    path: &str,
    limit: Duration,
    max_bytes: usize,
) -> Result<(StatusCode, Bytes), CallError> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::builder()
        .uri(format!("http://localhost{path}"))
        .header(header::USER_AGENT, concat!("wasi-http-host/", env!("CARGO_PKG_VERSION")))
        .body(body)
        .map_err(CallError::invalid_response)?;
    let now = Instant::now();
    let (reply, answer) = oneshot::channel();
    let deadline = now + limit;
    dispatch.submit(Call { request, reply, queued: now, deadline, cause: None, origin: None, permit: None });
    let whole = async {
        let Reply { head, content } = answer.await.map_err(|_| CallError::Trapped)??;
        let bytes = match content {
            Content::Whole(bytes) => bytes,
            Content::Stream(body) => {
                Limited::new(body, max_bytes).collect().await.map_err(CallError::invalid_response)?.to_bytes()
            }
        };
        Ok((head.status, bytes))
    };
    tokio::time::timeout(limit, whole).await.unwrap_or(Err(CallError::TimedOut))
}
