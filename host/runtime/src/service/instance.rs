//! The life of an instance: created, serving many calls, and ended by its age, an idle timeout, a trap or a timeout.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Sleep, sleep, timeout};
use wasmtime::{AsContextMut as _, PoolConcurrencyLimitError, Store, component::Accessor};
use wasmtime_wasi_http::handler::Proxy;

use super::{
    Call, CallError,
    body::BodyTracker,
    call::ReplySender,
    call_table::{CallTable, Phase, Reply, Returned},
    dispatch::{Dispatch, DispatchContext, InstanceLease, Limits},
    in_flight::{self, CallEnd},
    lifecycle::Lifecycle,
    pending_heads::PendingHeads,
    proxy_reply::ProxyReply,
};
use wasi_http_host_core::{BoundedError, LogThrottle, bounded};

use crate::{EndReason, guest::Guest, keyvalue::OnWait, reuse::InstanceReuse};

/// After a timeout, how long the event loop may take to run before the guest counts as spinning or blocked.
const POLL_GRACE: Duration = Duration::from_millis(100);
/// After a timeout, how long the other tasks of the instance may take to end.
const RETIRE_GRACE: Duration = Duration::from_secs(2);
/// The shortest time between two checks of the watchdog.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// Bytes of a trap's backtrace that are logged.
const BACKTRACE_BYTES: usize = 16 << 10;
/// How a call has failed, in the log.
const NOT_IN_TIME: &str = "it did not answer in time";
/// How a call has failed, in the log and in the reply.
const NO_RESPONSE: &str = "it returned without a response";
/// Limits the lines about calls that failed in instances that had served others.
static REUSE_FAILURES: LogThrottle = LogThrottle::new();
/// Limits how many of the process's traps and failed starts are logged with a backtrace.
static BACKTRACES: LogThrottle = LogThrottle::new();

impl Dispatch {
    /// Starts the queue for a component's instances, on the thread of the context's runtime.
    pub fn start(context: DispatchContext) -> Arc<Self> {
        Self::new(|lease| Box::pin(run(lease)), context)
    }
}

/// Runs one instance until its end, in a task of its own.
async fn run(mut lease: InstanceLease) {
    let dispatch = lease.dispatch.clone();
    let (mut store, proxy) = match make(&dispatch, lease.on_wait(), lease.idle()).await {
        Ok(made) => made,
        Err(error) => return lease.give_up(&error),
    };
    dispatch.context.metrics.instances_created.inc();
    dispatch.context.metrics.instances_live.inc();
    let reason = serve(&mut lease, &dispatch, &mut store, &proxy).await;
    dispatch.context.metrics.instances_ended.count(reason);
    drop(store);
    dispatch.context.metrics.instances_live.dec();
}

async fn make(
    dispatch: &Dispatch,
    on_wait: OnWait,
    idle: Arc<AtomicBool>,
) -> Result<(Store<Guest>, Proxy), CallError> {
    let DispatchContext { engine, template, linked, .. } = &dispatch.context;
    let turns = dispatch.turns.clone();
    let opens_stores = linked.opens_stores();
    let mut store = Guest::store(engine, template, linked.footprint(), opens_stores, on_wait, turns, idle);
    let made =
        timeout(dispatch.context.limits.request, dispatch.context.linked.instantiate(&mut store)).await;
    match made {
        Ok(Ok(proxy)) => Ok((store, proxy)),
        Ok(Err(error)) if error.is::<PoolConcurrencyLimitError>() => Err(CallError::NoInstance),
        Ok(Err(error)) => {
            if let Some(left_out) = BACKTRACES.admit() {
                tracing::error!(
                    component = dispatch.context.metrics.component(),
                    error = bounded(&format!("{error:?}"), BACKTRACE_BYTES),
                    left_out,
                    "the component's start failed"
                );
            }
            Err(CallError::Instantiation(BoundedError(error.root_cause()).to_string()))
        }
        Err(_) => Err(CallError::Instantiation(format!(
            "its start took longer than {:?}",
            dispatch.context.limits.request
        ))),
    }
}

/// Serves calls until the instance ends. Returns the reason.
async fn serve(
    lease: &mut InstanceLease,
    dispatch: &Arc<Dispatch>,
    store: &mut Store<Guest>,
    proxy: &Proxy,
) -> EndReason {
    let call_table = CallTable::new(Instant::now());
    let bodies = Arc::new(BodyTracker::default());
    let mut watchdog = Watchdog::new(&dispatch.context.limits, lease.waits_for_store());
    let is_proxy = matches!(proxy, Proxy::P2(_));
    let reuse = dispatch.context.linked.instance_reuse();
    let ended = {
        let event_loop = async |accessor: &Accessor<Guest>| {
            serve_calls(lease, dispatch, accessor, proxy, &call_table, &bodies, &reuse).await
        };
        let mut event_loop = pin!(store.run_concurrent(event_loop));
        poll_fn(|cx| {
            let result = call_table.wakeups.poll(cx, |cx| {
                loop {
                    if let Poll::Ready(result) = event_loop.as_mut().poll(cx) {
                        return Poll::Ready(result);
                    }
                    // Without an event from outside, no more body bytes come, so waiting heads are sent now.
                    if call_table.heads_waiting.load(Relaxed) == 0
                        || call_table.flush_heads.swap(true, Relaxed)
                    {
                        return Poll::Pending;
                    }
                }
            });
            if let Poll::Ready(result) = result {
                return Poll::Ready(match result.flatten() {
                    Ok(()) => End::Quiet(EndReason::Finished),
                    Err(error) => End::Trap(error),
                });
            }
            // All that runs in a proxy's instance belongs to its call. Without a client, the call ends, and with it what
            // the call asks of others. A service may have moved the work of a request into a task that others wait for.
            if is_proxy && call_table.is_abandoned(cx) {
                return Poll::Ready(End::Quiet(EndReason::ClientLeft));
            }
            watchdog.poll(cx, &call_table, &bodies)
        })
        .await
    };
    // This must precede dropping the store and its streams, so that readers of open bodies see the failure.
    if !matches!(ended, End::Quiet(EndReason::Finished | EndReason::Idle)) {
        bodies.fail();
    }
    if is_proxy
        && call_table.is_reused()
        && let Some(what) = ended.failure()
    {
        reuse_failed(dispatch, &reuse, what);
    }
    report(ended, dispatch, &call_table)
}

/// Logs and counts a call that failed in a proxy's instance that had served other calls.
fn reuse_failed(dispatch: &Dispatch, reuse: &InstanceReuse, failure: &str) {
    let metrics = &dispatch.context.metrics;
    metrics.reuse_failures.inc();
    if reuse.failed() {
        metrics.reuse_stopped.inc();
        tracing::error!(
            component = metrics.component(),
            failure,
            "the component cannot serve a second request with the same instance: each request gets a fresh instance \
             from now on; set --instance-max-requests 1"
        );
    } else if let Some(left_out) = REUSE_FAILURES.admit() {
        tracing::warn!(
            component = metrics.component(),
            failure,
            left_out,
            "a request failed in an instance that had served others: if requests in fresh instances do not fail, set \
             --instance-max-requests 1"
        );
    }
}

/// Logs and counts an instance's end, and fails the calls that it leaves without a reply.
fn report(ended: End, dispatch: &Dispatch, call_table: &CallTable) -> EndReason {
    match ended {
        End::Quiet(reason) => {
            if reason == EndReason::Abandoned {
                tracing::warn!(
                    component = dispatch.context.metrics.component(),
                    "ended an instance: its background tasks ran longer than --background-timeout"
                );
            }
            reason
        }
        End::Stuck => {
            let siblings = call_table.fail_all(&CallError::TimedOut);
            dispatch.context.metrics.siblings.inc_by(siblings as u64);
            tracing::error!(
                component = dispatch.context.metrics.component(),
                siblings,
                "ended an instance: a call was not complete at its deadline"
            );
            EndReason::TimedOut
        }
        End::Trap(error) => {
            // Calls whose head waits for its body fail in the same way, because their sender is dropped.
            let calls = call_table.fail_all(&CallError::Trapped) + call_table.heads_waiting.load(Relaxed);
            dispatch.context.metrics.siblings.inc_by((calls as u64).saturating_sub(1));
            let kind = trap_kind(&error);
            dispatch.context.metrics.count_trap(&kind);
            // A malicious client may cause one trap with each request.
            let left_out = BACKTRACES.admit();
            let backtrace = left_out.map(|_| format!("{error:?}"));
            tracing::error!(
                component = dispatch.context.metrics.component(),
                kind,
                calls,
                backtrace = backtrace.as_deref().map(|text| bounded(text, BACKTRACE_BYTES)),
                left_out,
                "an instance trapped and was discarded"
            );
            EndReason::Trapped
        }
    }
}

enum End {
    Quiet(EndReason),
    Stuck,
    Trap(wasmtime::Error),
}

impl End {
    /// How the call failed that was in the instance. `None` if the end is not the guest's failure.
    fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Quiet(EndReason::TimedOut) | Self::Stuck => Some(NOT_IN_TIME),
            Self::Trap(_) => Some("it trapped"),
            Self::Quiet(_) => None,
        }
    }
}

/// A trap's kind as a label. wasmtime has a few dozen names of traps.
fn trap_kind(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => "host error".to_owned(),
    }
}

/// The inner part of the event loop: takes calls, passes them to the guest, and sends the replies.
async fn serve_calls(
    lease: &mut InstanceLease,
    dispatch: &Dispatch,
    accessor: &Accessor<Guest>,
    proxy: &Proxy,
    call_table: &CallTable,
    bodies: &Arc<BodyTracker>,
    reuse: &InstanceReuse,
) -> wasmtime::Result<()> {
    let lifecycle = Lifecycle::new(dispatch, accessor, proxy, call_table, bodies, reuse);
    let mut in_flight_calls = FuturesUnordered::new();
    let mut heads = PendingHeads::new(bodies.clone());
    let mut taken = 0usize;
    let mut phase = Phase::Idle;
    let mut registered = false;
    poll_fn(|cx| {
        if !std::mem::replace(&mut registered, true) {
            lease.register(cx.waker());
        }
        call_table.mark_polled();
        let mut may_take = true;
        loop {
            while let Poll::Ready(Some((slot, end))) = in_flight_calls.poll_next_unpin(cx) {
                let end = end?;
                let returned = call_table.remove(slot);
                if matches!(end, CallEnd::Returned) && returned.reused {
                    judge_reuse(&returned, dispatch, call_table, reuse);
                }
                finish(returned.reply, end, &mut heads);
            }
            send_heads(&mut heads, call_table, cx);
            // A response whose head still waits counts as a call in progress.
            if !lifecycle.can_take(taken, in_flight_calls.len() + heads.len(), cx) {
                lease.withdraw();
                dispatch.watch();
                break;
            }
            // Take one call each time. The guest runs in between, and if it spins or blocks on this call, the other
            // calls are still in the queue for another instance.
            if !may_take {
                if dispatch.waiting() != 0 {
                    dispatch.watch();
                    cx.waker().wake_by_ref();
                }
                break;
            }
            let Some(call) = lease.take(cx) else { break };
            may_take = false;
            lease.set_idle(false);
            if taken > 0 {
                dispatch.context.worker.reused.inc();
            }
            taken += 1;
            phase = Phase::Serving;
            let (slot, in_flight) = begin(call, accessor, proxy, call_table, bodies)?;
            in_flight_calls.push(async move { (slot, in_flight.finish(accessor).await) });
        }
        if !in_flight_calls.is_empty() || !heads.is_empty() {
            return Poll::Pending;
        }
        let Some(next) = lifecycle.phase_without_calls(taken, cx) else { return Poll::Ready(Ok(())) };
        lease.set_idle(true);
        if next != phase {
            phase = next;
            call_table.set_phase(phase, Instant::now());
        }
        Poll::Pending
    })
    .await
}

/// Sends the response heads that need not wait longer for their bodies.
fn send_heads(heads: &mut PendingHeads, call_table: &CallTable, cx: &mut Context<'_>) {
    if !heads.is_empty() {
        heads.poll(cx, call_table.flush_heads.load(Relaxed));
        call_table.flush_heads.store(false, Relaxed);
    }
    call_table.heads_waiting.store(heads.len(), Relaxed);
}

/// Passes a call to the guest.
fn begin<'a>(
    call: Call,
    accessor: &Accessor<Guest>,
    proxy: &'a Proxy,
    call_table: &CallTable,
    bodies: &Arc<BodyTracker>,
) -> wasmtime::Result<(usize, in_flight::InFlightCall<'a>)> {
    let Call { request, reply, deadline, cause, origin, permit, queued: _ } = call;
    match proxy {
        Proxy::P3(guest) => {
            let slot = call_table.enter(deadline, Reply::Own(reply), permit);
            let in_flight = accessor.with(|mut store| {
                in_flight::start_service(store.as_context_mut(), guest, request, cause, origin)
            })?;
            Ok((slot, in_flight))
        }
        Proxy::P2(guest) => {
            let reply = Arc::new(ProxyReply::new(reply));
            let slot = call_table.enter(deadline, Reply::Shared(reply.clone()), permit);
            let in_flight = accessor.with(|mut store| {
                in_flight::start_proxy(
                    store.as_context_mut(),
                    guest,
                    request,
                    reply,
                    bodies.clone(),
                    cause,
                    origin,
                )
            })?;
            Ok((slot, in_flight))
        }
    }
}

/// Notes whether a proxy's instance has served a call that was not its first.
fn judge_reuse(returned: &Returned, dispatch: &Dispatch, call_table: &CallTable, reuse: &InstanceReuse) {
    if returned.late {
        reuse_failed(dispatch, reuse, NOT_IN_TIME);
    } else if returned.reply.is_some() {
        // No later call would get a response, either.
        call_table.retire();
        reuse_failed(dispatch, reuse, NO_RESPONSE);
    } else if returned.status.is_some_and(|status| !status.is_server_error()) {
        reuse.worked();
    }
}

/// Sends a call's reply.
fn finish(reply: Option<ReplySender>, end: CallEnd, heads: &mut PendingHeads) {
    // Without a sender, the call has its reply already: from a timeout or from the guest itself.
    let Some(reply) = reply else { return };
    match end {
        CallEnd::Response { response, is_bodiless } => heads.push(response, is_bodiless, reply),
        CallEnd::Failure(error) => drop(reply.send(Err(error))),
        CallEnd::Returned => {
            drop(reply.send(Err(CallError::InvalidResponse(NO_RESPONSE.to_owned()))));
        }
    }
}

/// Enforces an instance's timeouts from outside its event loop.
///
/// There is one timer for each instance, not one for each call. It fires at the latest after the shortest of all
/// timeouts. A call that waited in the queue has less time left than that, and may move the timer.
struct Watchdog {
    limits: Limits,
    /// Whether the instance waits for a remote store.
    waits_for_store: Arc<AtomicBool>,
    timer: Option<Pin<Box<Sleep>>>,
    watch: WatchdogState,
}

/// What the watchdog remembers between two checks.
#[derive(Default)]
struct WatchdogState {
    /// When the first call missed its deadline. From then on the instance takes no calls.
    retired: Option<Instant>,
    /// The time of the last check. After each check, the watchdog wakes the event loop.
    checked: Option<Instant>,
    /// Since when the event loop has not run. `None` if it has run since the last check.
    stalled_since: Option<Instant>,
}

enum Verdict {
    Keep(Option<Instant>),
    End(End),
}

impl Watchdog {
    fn new(limits: &Limits, waits_for_store: Arc<AtomicBool>) -> Self {
        Self { limits: limits.clone(), waits_for_store, timer: None, watch: WatchdogState::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>, call_table: &CallTable, bodies: &BodyTracker) -> Poll<End> {
        let shortest =
            self.limits.request.min(self.limits.idle).min(self.limits.background).max(MIN_CHECK_INTERVAL);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(shortest)));
        if let Some(earliest) = call_table.take_earliest().map(Into::into)
            && earliest < timer.deadline()
        {
            timer.as_mut().reset(earliest);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            let waits_for_store = self.waits_for_store.load(Relaxed);
            match self.watch.check(&self.limits, call_table, bodies, waits_for_store, now) {
                Verdict::End(end) => return Poll::Ready(end),
                Verdict::Keep(next) => {
                    let next = next.unwrap_or(now + shortest).min(now + shortest);
                    timer.as_mut().reset(next.into());
                    // Wake the event loop, so that it sees that it must retire, and shows that it is not stalled.
                    cx.waker().wake_by_ref();
                }
            }
        }
    }
}

impl WatchdogState {
    fn check(
        &mut self,
        limits: &Limits,
        call_table: &CallTable,
        bodies: &BodyTracker,
        waits_for_store: bool,
        now: Instant,
    ) -> Verdict {
        let checked = self.checked.replace(now);
        self.stalled_since = if call_table.has_been_polled() { None } else { self.stalled_since.or(checked) };
        let survey = call_table.survey(now, limits.response);
        if survey.overrun > 0 {
            // Soft limit: overdue calls have their timeout reply, and the instance takes no more calls.
            call_table.retire();
            // Hard limit: the guest blocks the event loop, and with it the other calls and the thread. A remote store
            // that is slow blocks the event loop as well, and may take a while.
            let grace = if waits_for_store { RETIRE_GRACE } else { Duration::ZERO };
            if self.retired.is_some() && self.stalled_since.is_some_and(|since| now >= since + grace) {
                return Verdict::End(End::Stuck);
            }
            self.retired.get_or_insert(now);
        }
        if let Some(since) = self.retired {
            let others = survey.unanswered > 0 || bodies.has_readers();
            return match !others && now >= since + RETIRE_GRACE {
                true if survey.overrun > 0 => Verdict::End(End::Stuck),
                true => Verdict::End(End::Quiet(EndReason::TimedOut)),
                false => Verdict::Keep(Some(now + POLL_GRACE)),
            };
        }
        // Without a call there is no deadline. A background task that spins shows as an event loop that does not run.
        if survey.next.is_none() && self.stalled_since.is_some_and(|since| now >= since + limits.background) {
            return Verdict::End(End::Stuck);
        }
        let (limit, reason) = match survey.phase {
            Phase::Serving => return Verdict::Keep(survey.next),
            Phase::Background => (limits.background, EndReason::Abandoned),
            Phase::Idle => (limits.idle, EndReason::Idle),
        };
        match now >= survey.since + limit {
            true => Verdict::End(End::Quiet(reason)),
            false => Verdict::Keep(Some(survey.since + limit)),
        }
    }
}

#[cfg(test)]
mod tests;
