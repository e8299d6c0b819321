//! Responses whose head is there and whose first bytes are about to be.
//!
//! A guest returns the head, then writes the body in the next turns of its event loop. Head and body leave the
//! host in one piece when the head waits for these turns, and no longer.

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
    in_flight::ReplySender,
};

/// A body that is longer is sent in pieces anyway.
const LARGEST_WHOLE: u64 = 1 << 20;

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

    /// A response to send as soon as it is worth it.
    pub(super) fn push(&mut self, response: http::Response<WasiBody>, reply: ReplySender) {
        let (parts, body) = response.into_parts();
        match body.size_hint().exact() {
            Some(length @ 1..=LARGEST_WHOLE) => self.waiting.push(Head { parts, body, reply, length }),
            _ => send(reply, parts, Content::Stream(GuestBody::new(None, body, self.bodies.clone()))),
        }
    }

    /// Sends those whose first bytes are there; with `flush`, all.
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
    // A client that has gone is not the instance's concern.
    let _ = reply.send(Ok(Reply { head, content }));
}

fn refuse(reply: ReplySender, length: u64) {
    let what = format!("its body ends before the {length} bytes that it announced");
    let _ = reply.send(Err(CallError::InvalidResponse(what)));
}
