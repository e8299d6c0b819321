//! Serves one request.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use wasi_http_host_runtime::{Content, Reply};

use super::{
    client::Client, exchange::Exchange, io::Activity, request::X_REQUEST_ID, response::ServedBody,
    worker::Worker,
};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Serves a request on a connection from `peer`. Always returns a response: on a failure, the host's own.
pub(super) async fn serve(
    worker: Arc<Worker>,
    activity: Arc<Activity>,
    peer: Arc<Client>,
    request: Request<Incoming>,
) -> Response<ServedBody> {
    let version = request.version();
    // In a box, because the exchange moves with the response through hyper.
    let mut exchange = Box::new(Exchange::begin(worker, activity, peer, &request));
    let response = match exchange.run(request).await {
        Ok(Reply { head, content }) => Response::from_parts(head, content),
        Err(refusal) => {
            exchange.refused(&refusal);
            let mut response = refusal.response().map(Content::Whole);
            if refusal.closes() && version < Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, CLOSE);
            }
            response
        }
    };
    finish(exchange, version, response)
}

/// Completes the response's head and attaches the state of the request to its body.
fn finish(
    mut exchange: Box<Exchange>,
    version: Version,
    response: Response<Content>,
) -> Response<ServedBody> {
    let (mut head, content) = response.into_parts();
    exchange.status = Some(head.status);
    head.headers.insert(X_REQUEST_ID, exchange.request_id.clone());
    // During the drain, clients should send their next request elsewhere. Requests that they still send here are
    // served.
    if exchange.worker.shared.is_closing() && version < Version::HTTP_2 {
        head.headers.insert(header::CONNECTION, CLOSE);
    }
    let limits = exchange.worker.shared.limits.response_body;
    Response::from_parts(head, ServedBody::new(content, version == Version::HTTP_2, exchange, limits))
}
