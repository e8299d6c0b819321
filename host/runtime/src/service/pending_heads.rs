//! Response heads that wait for the first bytes of their bodies.
//!
//! A guest returns the head, and then writes the body in the next polls of its event loop. The head waits only for
//! these polls, so that head and body leave the host in one piece.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body as _;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{
    CallError, Content, Reply,
    body::{BodyTracker, GuestBody},
    call::ReplySender,
};
use crate::host_bytes::RESPONSE_CHUNK;

/// The largest body, in bytes, that a head waits for. A larger body is sent in several pieces anyway.
const LARGEST_WHOLE: u64 = RESPONSE_CHUNK as u64;

pub(super) struct PendingHeads {
    waiting: Vec<Head>,
    bodies: Arc<BodyTracker>,
}

struct Head {
    parts: http::response::Parts,
    body: WasiBody,
    reply: ReplySender,
    length: u64,
}

impl PendingHeads {
    pub(super) fn new(bodies: Arc<BodyTracker>) -> Self {
        Self { waiting: Vec::new(), bodies }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a response. The response is sent immediately if waiting for the body's first bytes cannot help.
    pub(super) fn push(&mut self, response: http::Response<WasiBody>, is_bodiless: bool, reply: ReplySender) {
        let (parts, body) = response.into_parts();
        // The length that such a response announces is that of another response (RFC 9110, 8.6).
        if is_bodiless {
            return send(reply, parts, Content::Whole(Bytes::new()));
        }
        match body.size_hint().exact() {
            Some(length @ 1..=LARGEST_WHOLE) => self.waiting.push(Head { parts, body, reply, length }),
            _ => send(reply, parts, Content::Stream(GuestBody::new(None, body, self.bodies.clone()))),
        }
    }

    /// Sends the heads whose first body bytes are there. With `flush`, sends all heads.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, flush: bool) {
        let mut at = 0;
        while let Some(head) = self.waiting.get_mut(at) {
            let first = Pin::new(&mut head.body).poll_frame(cx);
            if first.is_pending() && !flush {
                at += 1;
                continue;
            }
            let head = self.waiting.swap_remove(at);
            head.send(first, &self.bodies);
        }
    }
}

impl Head {
    fn send(self, first: Poll<Option<Result<http_body::Frame<Bytes>, Error>>>, bodies: &Arc<BodyTracker>) {
        let Self { parts, body, reply, length } = self;
        let content = match first {
            Poll::Pending => Content::Stream(GuestBody::new(None, body, bodies.clone())),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) if bytes.len() as u64 == length => Content::Whole(bytes),
                Ok(bytes) => Content::Stream(GuestBody::new(Some(bytes), body, bodies.clone())),
                Err(_) => return refuse(reply, length),
            },
            Poll::Ready(Some(Err(_)) | None) => return refuse(reply, length),
        };
        send(reply, parts, content);
    }
}

fn send(reply: ReplySender, head: http::response::Parts, content: Content) {
    // The client may have gone. That is not the instance's error.
    let _ = reply.send(Ok(Reply { head, content }));
}

fn refuse(reply: ReplySender, length: u64) {
    let what = format!("its body ends before the {length} bytes of its content-length");
    let _ = reply.send(Err(CallError::InvalidResponse(what)));
}
