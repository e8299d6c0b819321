//! Responses, well-formed and malformed.

use std::{future::poll_fn, task::Poll, time::Duration};

use spin_sdk::{
    wasip3::{
        self,
        http::types::{ErrorCode, Fields, Request, Response},
    },
    wit_bindgen,
};

use super::clock::wait;

/// A response with this text.
pub(super) fn text(body: impl AsRef<str>) -> Response {
    sized(body.as_ref().as_bytes())
}

/// A response with this body and its length.
pub(super) fn sized(body: &[u8]) -> Response {
    let length = body.len().to_string();
    lying(&[("content-length", &length)], body)
}

/// A response with these headers and this body, which may contradict each other.
pub(super) fn lying(headers: &[(&str, &str)], body: &[u8]) -> Response {
    let body = body.to_vec();
    streamed(headers, async move |mut writer| {
        writer.write_all(body).await;
    })
}

/// A response with a field that tries to be several fields, to end the head, or to be a field of the connection. When the host refuses the
/// field, a response that says so.
pub(super) fn forge(what: &str) -> Response {
    let (name, value): (&str, &[u8]) = match what {
        "crlf" => ("x-forged", b"a\r\nx-injected: 1"),
        "lf" => ("x-forged", b"a\nx-injected: 1"),
        "cr" => ("x-forged", b"a\rx-injected: 1"),
        "nul" => ("x-forged", b"a\0b"),
        "head" => ("x-forged", b"a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        "name" => ("x-forged: 1\r\nx-injected", b"1"),
        "space" => ("x-injected ", b"1"),
        "length" => ("content-length", b"+6"),
        "lengths" => ("content-length", b"6, 6"),
        "id" => ("x-request-id", b"x-injected"),
        name => (name, b"x-injected"),
    };
    let mut fields = vec![("content-length".to_owned(), b"forged".len().to_string().into_bytes())];
    fields.push((name.to_owned(), value.to_vec()));
    match Fields::from_list(&fields) {
        Ok(fields) => with_fields(fields, async move |mut writer| {
            writer.write_all(b"forged".to_vec()).await;
        }),
        Err(error) => text(format!("refused {error:?}")),
    }
}

/// A response whose body `write` writes.
fn streamed(
    headers: &[(&str, &str)],
    write: impl AsyncFnOnce(wit_bindgen::StreamWriter<u8>) + 'static,
) -> Response {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    with_fields(Fields::from_list(&headers).expect("the fields are valid"), write)
}

/// A response with these fields and this body, whose second half comes `pause` milliseconds after the first.
pub(super) fn written(fields: Fields, body: String, pause: u64) -> Response {
    with_fields(fields, async move |mut writer| {
        let (first, second) = body.as_bytes().split_at(if pause == 0 { body.len() } else { body.len() / 2 });
        writer.write_all(first.to_vec()).await;
        if pause > 0 {
            wait(pause).await;
            writer.write_all(second.to_vec()).await;
        }
    })
}

fn with_fields(fields: Fields, write: impl AsyncFnOnce(wit_bindgen::StreamWriter<u8>) + 'static) -> Response {
    let (writer, reader) = wasip3::wit_stream::new();
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(fields, Some(reader), trailers_reader);
    wit_bindgen::spawn(async move {
        write(writer).await;
        let _ = trailers.write(Ok(None)).await;
    });
    response
}

/// A body of `count` chunks, with a pause after each.
pub(super) fn chunked(count: usize, pause: Duration) -> Response {
    streamed(&[], async move |mut writer| {
        for at in 0..count {
            let chunk = format!("chunk {at}\n").into_bytes();
            if !writer.write_all(chunk).await.is_empty() {
                return;
            }
            if !pause.is_zero() {
                wait(u64::try_from(pause.as_millis()).unwrap_or_default()).await;
            }
        }
    })
}

/// Writes the whole body before it returns the response.
pub(super) async fn written_first(length: usize) -> Response {
    let (mut writer, reader) = wasip3::wit_stream::new();
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(reader), trailers_reader);
    writer.write_all(vec![b'w'; length]).await;
    drop(writer);
    let _ = trailers.write(Ok(None)).await;
    response
}

/// Makes `count` responses that nobody gets, and begins to write a body of 64 KiB for each. Returns the number of bodies that
/// the host has read at once.
pub(super) async fn unread(count: usize) -> usize {
    let (mut kept, mut read) = (Vec::new(), 0);
    for _ in 0..count {
        let (mut writer, reader) = wasip3::wit_stream::new();
        let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
        let (response, sent) = Response::new(Fields::new(), Some(reader), trailers_reader);
        let mut write = Box::pin(async move { writer.write_all(vec![b'u'; 64 << 10]).await });
        read += usize::from(poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_ready())).await);
        kept.push((response, sent, write, trailers));
    }
    read
}

/// Begins a body and never continues.
pub(super) fn stalled() -> Response {
    streamed(&[], async move |mut writer| {
        writer.write_all(b"begun".to_vec()).await;
        wait(3_600_000).await;
    })
}

/// Writes a body until the client has gone.
pub(super) fn endless() -> Response {
    streamed(&[], async move |mut writer| while writer.write_all(vec![b'e'; 64 << 10]).await.is_empty() {})
}

/// Traps in the middle of a body without `Content-Length`.
pub(super) fn cut() -> Response {
    streamed(&[], async move |mut writer| {
        writer.write_all(b"the first half".to_vec()).await;
        wait(20).await;
        core::arch::wasm32::unreachable()
    })
}

/// Sends the request's body back while it arrives.
pub(super) fn echo(request: Request) -> Response {
    let (_, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, _trailers) = Request::consume_body(request, result);
    streamed(&[], async move |mut writer| {
        loop {
            let (status, bytes) = body.read(Vec::with_capacity(16 << 10)).await;
            if !writer.write_all(bytes).await.is_empty()
                || matches!(status, wit_bindgen::StreamResult::Dropped)
            {
                return;
            }
        }
    })
}

/// Reads the request's body. Returns its length.
pub(super) async fn read_all(request: Request) -> Result<usize, ErrorCode> {
    let (_, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, trailers) = Request::consume_body(request, result);
    let mut length = 0;
    loop {
        let (status, bytes) = body.read(Vec::with_capacity(64 << 10)).await;
        length += bytes.len();
        if matches!(status, wit_bindgen::StreamResult::Dropped) {
            break;
        }
    }
    trailers.await.map(|_| length)
}

/// Counts the request's trailers and sends them back as the response's trailers.
pub(super) async fn trailers(request: Request) -> Response {
    let (_, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, trailers) = Request::consume_body(request, result);
    while !matches!(body.read(Vec::with_capacity(16 << 10)).await.0, wit_bindgen::StreamResult::Dropped) {}
    let received = match trailers.await {
        Ok(received) => received.map(|fields| fields.copy_all()).unwrap_or_default(),
        Err(error) => return text(format!("error {error:?}")),
    };
    let (mut writer, reader) = wasip3::wit_stream::new();
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(reader), trailers_reader);
    wit_bindgen::spawn(async move {
        writer.write_all(format!("{} received", received.len()).into_bytes()).await;
        drop(writer);
        let fields = Fields::from_list(&received).expect("they were fields before");
        let _ = trailers.write(Ok(Some(fields))).await;
    });
    response
}
