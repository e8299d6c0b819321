//! Outbound requests by the client of `wasi:http@0.2`, which a service of 0.3 may import, too.

use wasip2::http::{
    outgoing_handler,
    types::{ErrorCode, Fields, IncomingResponse, OutgoingRequest, Scheme},
};
use wasip2::io::streams::StreamError;

use super::clock::wait;

/// Requests `http://{target}`. Returns the response's status and text, or the error.
pub(super) async fn ask(target: &str) -> String {
    match send(target).await {
        Ok(response) => {
            let status = response.status();
            format!("{status} {}", String::from_utf8_lossy(&read(&response).await))
        }
        Err(error) => format!("error {error:?}"),
    }
}

async fn send(target: &str) -> Result<IncomingResponse, ErrorCode> {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    let response = outgoing_handler::handle(request, None)?;
    let arrival = response.subscribe();
    // Blocking would stop all requests of the instance.
    while !arrival.ready() {
        wait(1).await;
    }
    response.get().expect("the response has arrived").expect("the response is taken once")
}

async fn read(response: &IncomingResponse) -> Vec<u8> {
    let body = response.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut all = Vec::new();
    loop {
        match stream.read(16 << 10) {
            Ok(bytes) if bytes.is_empty() => wait(1).await,
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed | StreamError::LastOperationFailed(_)) => return all,
        }
    }
}
