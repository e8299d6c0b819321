//! Interim responses (RFC 9110, section 15.2) on a connection with HTTP/1.1. hyper sends none, so they are written beside hyper, and only
//! at a boundary between messages: when hyper has no bytes of a response that it has not handed over.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Poll, Waker},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Response, header};
use wasi_http_host_core::lock;

/// The most bytes of an interim response. Larger ones are dropped.
const MOST_BYTES: usize = 16 << 10;

/// The interim responses of a connection that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Interims {
    /// Whether there are some. A connection without interim responses takes no lock.
    waiting: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    heads: VecDeque<Bytes>,
    /// The request that waits until all are written.
    sender: Option<Waker>,
}

impl Interims {
    /// Adds an interim response. The caller's task drives the connection, which then writes the response.
    pub(super) fn push(&self, interim: &Response<()>) {
        if let Some(head) = encode(interim) {
            lock(&self.queue).heads.push_back(head);
            self.waiting.store(true, Relaxed);
        }
    }

    /// The next interim response to write. [`Self::written`] removes it.
    pub(super) fn next(&self) -> Option<Bytes> {
        if !self.waiting.load(Relaxed) {
            return None;
        }
        lock(&self.queue).heads.front().cloned()
    }

    /// The next interim response has been written.
    pub(super) fn written(&self) {
        let mut queue = lock(&self.queue);
        queue.heads.pop_front();
        if queue.heads.is_empty() {
            self.waiting.store(false, Relaxed);
            if let Some(sender) = queue.sender.take() {
                sender.wake();
            }
        }
    }

    /// Waits until all are written. A final response must not overtake them.
    pub(super) async fn all_written(&self) {
        poll_fn(|cx| {
            let mut queue = lock(&self.queue);
            if queue.heads.is_empty() {
                return Poll::Ready(());
            }
            queue.sender = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// The head of an interim response as HTTP/1.1. `None` if it is too large.
fn encode(interim: &Response<()>) -> Option<Bytes> {
    let status = interim.status();
    let mut head = BytesMut::new();
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    head.put_slice(b" ");
    head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in interim.headers() {
        if !is_of_the_message(name, interim.headers()) {
            continue;
        }
        if head.len() + name.as_str().len() + value.len() > MOST_BYTES {
            return None;
        }
        head.put_slice(b"\r\n");
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
    }
    head.put_slice(b"\r\n\r\n");
    Some(head.freeze())
}

/// Whether a field concerns the message, and neither the connection nor a body.
fn is_of_the_message(name: &HeaderName, headers: &HeaderMap) -> bool {
    let named = |line: &header::HeaderValue| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    let connections = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    ];
    !connections.contains(&name.as_str()) && !headers.get_all(header::CONNECTION).iter().any(named)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    fn hints(fields: &[(&'static str, &'static str)]) -> Response<()> {
        let mut interim = Response::new(());
        *interim.status_mut() = StatusCode::EARLY_HINTS;
        for (name, value) in fields {
            interim.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        interim
    }

    #[test]
    fn an_interim_response_has_the_fields_of_its_message() {
        let interim = hints(&[
            ("link", "</a.css>; rel=preload"),
            ("link", "</b.css>; rel=preload"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
        ]);
        let head =
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.css>; rel=preload\r\n\r\n";
        assert_eq!(encode(&interim).unwrap(), head);
    }

    #[test]
    fn a_large_interim_response_is_dropped() {
        let mut interim = hints(&[]);
        let value = HeaderValue::from_bytes(&vec![b'a'; MOST_BYTES]).unwrap();
        interim.headers_mut().insert("link", value);
        assert!(encode(&interim).is_none());
    }

    #[test]
    fn a_final_response_waits_until_all_are_written() {
        let interims = Interims::default();
        assert!(interims.next().is_none());
        interims.push(&hints(&[]));
        interims.push(&hints(&[("x-a", "1")]));
        let waiting = &mut std::pin::pin!(interims.all_written());
        let mut cx = std::task::Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            assert!(interims.next().is_some());
            interims.written();
        }
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
        assert!(interims.next().is_none());
    }
}
