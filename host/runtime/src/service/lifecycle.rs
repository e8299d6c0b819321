//! The conditions under which an instance takes calls, waits or ends.

use std::task::Context;

use wasmtime::component::{Accessor, Func};
use wasmtime_wasi_http::handler::Proxy;

use super::{
    body::BodyTracker,
    call_table::{CallTable, Phase},
    dispatch::Dispatch,
};

use crate::guest::Guest;

/// Decides whether an instance takes another call, and which phase follows when it has none.
pub(super) struct Lifecycle<'a> {
    dispatch: &'a Dispatch,
    accessor: &'a Accessor<Guest>,
    call_table: &'a CallTable,
    bodies: &'a BodyTracker,
    handle: Func,
    is_proxy: bool,
    /// With a concurrency of 1, an instance accepts its next request only after the current response body is complete.
    /// A proxy writes its body within the call, so for a proxy the end of the call is enough.
    alone: bool,
}

impl<'a> Lifecycle<'a> {
    pub(super) fn new(
        dispatch: &'a Dispatch,
        accessor: &'a Accessor<Guest>,
        proxy: &Proxy,
        call_table: &'a CallTable,
        bodies: &'a BodyTracker,
    ) -> Self {
        let (handle, is_proxy) = match proxy {
            Proxy::P3(guest) => (*guest.wasi_http_handler().func_handle().func(), false),
            Proxy::P2(guest) => (*guest.wasi_http_incoming_handler().func_handle().func(), true),
        };
        let alone = dispatch.context.limits.concurrency == 1 && !is_proxy;
        Self { dispatch, accessor, call_table, bodies, handle, is_proxy, alone }
    }

    /// Whether the instance can take a call now, after `taken` calls of which `in_progress` have no complete reply. If
    /// not, the task is woken when an open body or the guest allows a call.
    pub(super) fn can_take(&self, taken: usize, in_progress: usize, cx: &mut Context<'_>) -> bool {
        let limits = &self.dispatch.context.limits;
        taken < limits.max_calls
            && !self.call_table.is_retiring()
            && in_progress < limits.concurrency
            && !(self.alone && self.bodies.is_open(cx.waker()))
            && self.accessor.poll_ready_for_concurrent_call(self.handle, cx).is_ready()
    }

    /// The phase of an instance that has no call in progress, after `taken` calls. `None` if the instance ends.
    pub(super) fn phase_without_calls(&self, taken: usize, cx: &mut Context<'_>) -> Option<Phase> {
        let used_up = taken >= self.dispatch.context.limits.max_calls;
        if self.is_proxy && used_up {
            self.bodies.fall_silent();
        }
        if self.bodies.is_open(cx.waker()) {
            Some(Phase::Serving)
        } else if self.accessor.poll_no_interesting_tasks(cx).is_pending() {
            Some(Phase::Background)
        } else if used_up
            || self.call_table.is_retiring()
            || self.dispatch.is_draining() && self.dispatch.waiting() == 0
        {
            None
        } else {
            Some(Phase::Idle)
        }
    }
}
