//! A component that keeps as many bytes as it can in the host, behind handles of one kind.

use std::{future::poll_fn, task::Poll};

use spin_sdk::{
    wasip3::{
        self,
        http::{
            client,
            types::{ErrorCode, Fields, Method, Request, Scheme},
        },
    },
    wit_bindgen,
};
use wasip2::http::{outgoing_handler, types as earlier};

use super::{bindings::keyvalue, clock::wait};

/// Bytes of a text without a limit in HTTP.
const LONG: usize = 4 << 20;
/// Bytes of header fields, and of a path: a little less than their limit.
const SHORT: usize = 60 << 10;

/// Bytes of a response's body that leaves its component as a whole.
const WHOLE: usize = 200_000;

/// `{kind}/{mebibytes}/{authority}`: keeps handles until their bytes have this sum. `authority` is a server that never
/// answers, or for `responses` another component of this kind.
pub(super) async fn hoard(argument: &str) -> String {
    let mut parts = argument.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let (kind, wanted, authority) = (part(), part().parse::<usize>().unwrap_or(0) << 20, part());
    let mut kept = 0;
    while kept < wanted {
        let bytes = match kind.strip_suffix("-0.2") {
            Some(kind) => keep_earlier(kind, authority),
            None if kind == "responses" => keep_response(authority).await,
            None if kind == "texts" => keep_text().await,
            None if kind == "trailers" => keep_trailers(authority).await,
            None => keep(kind, authority),
        };
        kept += match bytes {
            Some(bytes) => bytes,
            None => break,
        };
        if kind.starts_with("sent") {
            wait(0).await;
        }
    }
    format!("kept {} MiB", kept >> 20)
}

/// Keeps one more handle. Returns its bytes; `None` if the host refuses.
fn keep(kind: &str, authority: &str) -> Option<usize> {
    let fields = Fields::new();
    match kind {
        "fields" => {
            fields.append("x", "x".repeat(SHORT).as_bytes()).ok()?;
            std::mem::forget(fields);
            return Some(SHORT);
        }
        "clones" => {
            fields.append("x", "x".repeat(SHORT).as_bytes()).ok()?;
            let clone = fields.clone();
            clone.append("y", b"y").ok()?;
            std::mem::forget((fields, clone));
            return Some(2 * SHORT);
        }
        "values" => {
            let bucket = keyvalue::store::open("default").ok()?;
            bucket.set("hoard", &vec![b'v'; LONG]).ok()?;
            std::mem::forget(keyvalue::atomics::Cas::new(&bucket, "hoard").ok()?);
            return Some(LONG);
        }
        "sent" => fields.append("x", "x".repeat(SHORT).as_bytes()).ok()?,
        _ => {}
    }
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (request, sent) = Request::new(fields, None, trailers_reader, None);
    std::mem::forget(trailers);
    std::mem::forget(sent);
    let bytes = match kind {
        "methods" => request.set_method(&Method::Other("A".repeat(LONG))).map(|()| LONG),
        "authorities" => request.set_authority(Some(&"a".repeat(LONG))).map(|()| LONG),
        "paths" => request.set_path_with_query(Some(&format!("/{}", "p".repeat(SHORT)))).map(|()| SHORT),
        "sent" => {
            request.set_scheme(Some(&Scheme::Http)).ok()?;
            request.set_authority(Some(authority)).ok()?;
            wit_bindgen::spawn(async move {
                let _ = client::send(request).await;
            });
            return Some(SHORT);
        }
        _ => return None,
    };
    std::mem::forget(request);
    bytes.ok()
}

/// Keeps a response of another component, whose body is complete.
async fn keep_response(authority: &str) -> Option<usize> {
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (request, sent) = Request::new(Fields::new(), None, trailers_reader, None);
    std::mem::forget(sent);
    request.set_scheme(Some(&Scheme::Http)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(&format!("/bytes/{WHOLE}"))).ok()?;
    wit_bindgen::spawn(async move {
        let _ = trailers.write(Ok(None)).await;
    });
    std::mem::forget(client::send(request).await.ok()?);
    Some(WHOLE)
}

/// Keeps an error about a body that the component made and reads itself.
async fn keep_text() -> Option<usize> {
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (request, sent) = Request::new(Fields::new(), None, trailers_reader, None);
    let (result, result_reader) = wasip3::wit_future::new(|| Ok(()));
    let body = Request::consume_body(request, result_reader);
    result.write(Err(long_error())).await.ok()?;
    std::mem::forget((trailers, sent, body));
    Some(LONG)
}

/// Sends a request whose body does not end, with an error in place of trailers.
async fn keep_trailers(authority: &str) -> Option<usize> {
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (body, body_reader) = wasip3::wit_stream::new();
    let (request, sent) = Request::new(Fields::new(), Some(body_reader), trailers_reader, None);
    request.set_method(&Method::Post).ok()?;
    request.set_scheme(Some(&Scheme::Http)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some("/")).ok()?;
    let mut response = Box::pin(client::send(request));
    poll_fn(|cx| Poll::Ready(response.as_mut().poll(cx).is_pending())).await;
    trailers.write(Err(long_error())).await.ok()?;
    std::mem::forget((response, body, sent));
    Some(LONG)
}

fn long_error() -> ErrorCode {
    ErrorCode::InternalError(Some("e".repeat(LONG)))
}

/// The same with the handles of `wasi:http@0.2`.
fn keep_earlier(kind: &str, authority: &str) -> Option<usize> {
    let fields = earlier::Fields::new();
    match kind {
        "fields" => {
            fields.append("x", "x".repeat(SHORT).as_bytes()).ok()?;
            std::mem::forget(fields);
            return Some(SHORT);
        }
        "bodies" => {
            let response = earlier::OutgoingResponse::new(fields);
            let (body, written) = fill(response.body().ok()?);
            std::mem::forget((response, body));
            return Some(written);
        }
        "sent" => fields.append("x", "x".repeat(SHORT).as_bytes()).ok()?,
        _ => {}
    }
    let request = earlier::OutgoingRequest::new(fields);
    let bytes = match kind {
        "methods" => request.set_method(&earlier::Method::Other("A".repeat(LONG))).map(|()| LONG),
        "authorities" => request.set_authority(Some(&"a".repeat(LONG))).map(|()| LONG),
        "paths" => request.set_path_with_query(Some(&format!("/{}", "p".repeat(SHORT)))).map(|()| SHORT),
        "sent" => {
            request.set_method(&earlier::Method::Post).ok()?;
            request.set_scheme(Some(&earlier::Scheme::Http)).ok()?;
            request.set_authority(Some(authority)).ok()?;
            request.set_path_with_query(Some("/")).ok()?;
            let (body, written) = fill(request.body().ok()?);
            std::mem::forget((body, outgoing_handler::handle(request, None).ok()?));
            return Some(SHORT + written);
        }
        _ => return None,
    };
    std::mem::forget(request);
    bytes.ok()
}

/// Writes as much of a body as the host takes, and drops the stream.
fn fill(body: earlier::OutgoingBody) -> (earlier::OutgoingBody, usize) {
    let stream = body.write().expect("the stream is taken once");
    let mut written = 0;
    while let Ok(room @ 1..) = stream.check_write() {
        let room = usize::try_from(room).unwrap_or(0).min(LONG);
        stream.write(&vec![b'b'; room]).expect("there is room");
        written += room;
    }
    drop(stream);
    (body, written)
}
