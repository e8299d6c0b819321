//! The reply of a proxy's call. The guest sends the reply through an out-parameter, at any time within the call.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    task::Context,
};

use super::{CallError, Reply, body::WritingCall, call::ReplySender};
use wasi_http_host_core::lock;

/// State that a proxy's call shares with its out-parameter and the watchdog.
pub(super) struct ProxyReply {
    /// Either the guest or the watchdog takes the sender, and only the first of them can.
    sender: Mutex<Option<ReplySender>>,
    /// The status of the guest's response. 0: the guest has sent none.
    status: AtomicU16,
    /// The call, from the point of view of its response body.
    pub(super) writing: Arc<WritingCall>,
}

impl ProxyReply {
    pub(super) fn new(sender: ReplySender) -> Self {
        Self { sender: Mutex::new(Some(sender)), status: AtomicU16::new(0), writing: Arc::default() }
    }

    /// Takes the sender if the call has no reply yet.
    pub(super) fn take(&self) -> Option<ReplySender> {
        lock(&self.sender).take()
    }

    /// Whether the reply has been sent.
    pub(super) fn is_sent(&self) -> bool {
        lock(&self.sender).is_none()
    }

    /// Sends the guest's reply, unless the call has a reply already.
    pub(super) fn send(&self, reply: Result<Reply, CallError>) {
        let Some(sender) = self.take() else { return };
        if let Ok(reply) = &reply {
            self.status.store(reply.head.status.as_u16(), Relaxed);
        }
        // The client may have left. That is not an error.
        let _ = sender.send(reply);
    }

    /// The status of the guest's response. `None` if the guest has sent none.
    pub(super) fn status(&self) -> Option<http::StatusCode> {
        http::StatusCode::from_u16(self.status.load(Relaxed)).ok()
    }

    /// Whether the call has no reply and its client has left. If the client waits for the reply, the task is woken
    /// when the client leaves. `None` if the reply has been sent.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Option<bool> {
        lock(&self.sender).as_mut().map(|sender| sender.poll_canceled(cx).is_ready())
    }
}
