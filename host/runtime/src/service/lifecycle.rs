//! The conditions under which an instance takes calls, waits or ends.

use std::task::Context;

use wasmtime::component::{Accessor, Func};
use wasmtime_wasi_http::handler::Proxy;

use super::{
    body::BodyTracker,
    call_table::{CallTable, Phase},
    dispatch::Dispatch,
};

use crate::{guest::Guest, reuse::InstanceReuse};

/// Decides whether an instance takes another call, and which phase follows when it has none.
pub(super) struct Lifecycle<'a> {
    dispatch: &'a Dispatch,
    accessor: &'a Accessor<Guest>,
    call_table: &'a CallTable,
    bodies: &'a BodyTracker,
    handle: Func,
    /// Whether a proxy may serve more than one call. `None` for a service, which must expect many.
    reuse: Option<&'a InstanceReuse>,
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
        reuse: &'a InstanceReuse,
    ) -> Self {
        let (handle, is_proxy) = match proxy {
            Proxy::P3(guest) => (*guest.wasi_http_handler().func_handle().func(), false),
            Proxy::P2(guest) => (*guest.wasi_http_incoming_handler().func_handle().func(), true),
        };
        let alone = dispatch.context.limits.concurrency == 1;
        Self { dispatch, accessor, call_table, bodies, handle, reuse: is_proxy.then_some(reuse), alone }
    }

    /// Whether the instance can take a call now, after `taken` calls of which `in_progress` have no complete reply. If
    /// not, the task is woken when an open body or the guest allows a call. While no call waits, the guest is not asked.
    pub(super) fn can_take(&self, taken: usize, in_progress: usize, cx: &mut Context<'_>) -> bool {
        let limits = &self.dispatch.context.limits;
        self.has_calls_left(taken)
            && !self.call_table.is_retiring()
            && in_progress < limits.concurrency
            && !(self.alone && self.bodies.is_open(cx.waker()))
            && (self.dispatch.waiting() == 0
                || self.accessor.poll_ready_for_concurrent_call(self.handle, cx).is_ready())
    }

    /// Whether the instance may serve another call after these `taken` calls.
    fn has_calls_left(&self, taken: usize) -> bool {
        taken < self.dispatch.context.limits.max_calls
            && (taken == 0 || self.reuse.is_none_or(InstanceReuse::is_allowed))
    }

    /// The phase of an instance that has no call in progress, after `taken` calls. `None` if the instance ends.
    pub(super) fn phase_without_calls(&self, taken: usize, cx: &mut Context<'_>) -> Option<Phase> {
        if self.bodies.is_open(cx.waker()) {
            Some(Phase::Serving)
        } else if self.accessor.poll_no_interesting_tasks(cx).is_pending() {
            Some(Phase::Background)
        } else if !self.has_calls_left(taken)
            || self.call_table.is_retiring()
            || self.dispatch.is_draining() && self.dispatch.waiting() == 0
        {
            None
        } else {
            Some(Phase::Idle)
        }
    }
}
