//! State that an instance's event loop shares with its watchdog. The event loop stops while a guest computes or
//! blocks. The watchdog runs outside the event loop and enforces the timeouts.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::{Duration, Instant},
};

use super::{CallError, call::ReplySender, proxy_reply::ProxyReply, wakeups::Wakeups};
use crate::admission::Permit;
use wasi_http_host_core::lock;

/// No call has entered.
const NONE: u64 = u64::MAX;

/// The calls in an instance, and the instance's phase.
pub(super) struct CallTable {
    state: Mutex<State>,
    /// Whether the event loop has run since the watchdog's last check.
    polled: AtomicBool,
    /// What wakes the event loop.
    pub(super) wakeups: Wakeups,
    /// Whether the instance must not take further calls.
    retiring: AtomicBool,
    /// When this table was made.
    made: Instant,
    /// The earliest deadline of the calls that entered since the watchdog last asked, in microseconds after `made`.
    earliest: AtomicU64,
    /// The number of response heads that wait for the first bytes of their bodies.
    pub(super) heads_waiting: AtomicUsize,
    /// Whether the waiting heads must be sent without their bodies.
    pub(super) flush_heads: AtomicBool,
}

struct State {
    slots: Vec<Option<Slot>>,
    /// The number of calls that have entered.
    entered: u64,
    phase: Phase,
    since: Instant,
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The instance has calls, or a client still reads a response body.
    Serving,
    /// Only background tasks are running.
    Background,
    /// No task is running.
    Idle,
}

/// Who sends a call's reply.
pub(super) enum Reply {
    /// The event loop sends the reply.
    Own(ReplySender),
    /// The guest may send the reply through its out-parameter at any time.
    Shared(Arc<ProxyReply>),
    /// The reply has been sent.
    Sent,
}

struct Slot {
    deadline: Instant,
    reply: Reply,
    /// The watchdog answered the call with a timeout. Whatever the guest still does for the call has no effect.
    late: bool,
    /// Held until the call has returned, or the instance has ended.
    #[expect(dead_code, reason = "held for its drop")]
    permit: Option<Permit>,
}

/// A call that has returned.
pub(super) struct Returned {
    /// The sender, if the call has no reply yet.
    pub(super) reply: Option<ReplySender>,
    /// The status of a response that a proxy has sent itself.
    pub(super) status: Option<http::StatusCode>,
    /// The watchdog had answered the call with a timeout.
    pub(super) late: bool,
    /// Whether the call was not the first of its instance.
    pub(super) reused: bool,
}

impl Slot {
    /// Takes the sender if the call has no reply yet.
    fn take(&mut self) -> Option<ReplySender> {
        match std::mem::replace(&mut self.reply, Reply::Sent) {
            Reply::Own(reply) => Some(reply),
            Reply::Shared(reply) => reply.take(),
            Reply::Sent => None,
        }
    }

    fn is_answered(&self) -> bool {
        match &self.reply {
            Reply::Own(_) => false,
            Reply::Shared(reply) => reply.is_sent(),
            Reply::Sent => true,
        }
    }
}

/// What the watchdog found in one check.
pub(super) struct Survey {
    /// Calls that this check answered with a timeout.
    pub(super) timed_out: usize,
    /// Calls that have no reply yet.
    pub(super) unanswered: usize,
    /// Calls past their deadline in which the guest is still running.
    pub(super) overrun: usize,
    /// The earliest deadline of the other calls.
    pub(super) next: Option<Instant>,
    pub(super) phase: Phase,
    pub(super) since: Instant,
}

impl CallTable {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: Mutex::new(State { slots: Vec::new(), entered: 0, phase: Phase::Idle, since: now }),
            polled: AtomicBool::new(true),
            wakeups: Wakeups::default(),
            retiring: AtomicBool::new(false),
            made: now,
            earliest: AtomicU64::new(NONE),
            heads_waiting: AtomicUsize::new(0),
            flush_heads: AtomicBool::new(false),
        }
    }

    /// Adds a call. Returns the call's slot.
    pub(super) fn enter(&self, deadline: Instant, reply: Reply, permit: Option<Permit>) -> usize {
        let micros = deadline.saturating_duration_since(self.made).as_micros();
        self.earliest.fetch_min(u64::try_from(micros).unwrap_or(NONE), Ordering::Relaxed);
        let mut state = lock(&self.state);
        state.phase = Phase::Serving;
        state.entered += 1;
        let slot = Some(Slot { deadline, reply, late: false, permit });
        match state.slots.iter().position(Option::is_none) {
            Some(free) => {
                if let Some(entry) = state.slots.get_mut(free) {
                    *entry = slot;
                }
                free
            }
            None => {
                state.slots.push(slot);
                state.slots.len() - 1
            }
        }
    }

    /// Whether there are calls whose reply the guest has yet to send itself, and the clients of all of them have left.
    /// If a client waits, the task is woken when the client leaves.
    pub(super) fn is_abandoned(&self, cx: &mut Context<'_>) -> bool {
        let (mut left, mut waiting) = (false, false);
        for slot in lock(&self.state).slots.iter().flatten() {
            if let Reply::Shared(reply) = &slot.reply {
                match reply.poll_left(cx) {
                    Some(true) => left = true,
                    Some(false) => waiting = true,
                    None => {}
                }
            }
        }
        left && !waiting
    }

    /// Removes a call that has returned.
    pub(super) fn remove(&self, slot: usize) -> Returned {
        let mut state = lock(&self.state);
        let reused = state.entered > 1;
        let Some(mut slot) = state.slots.get_mut(slot).and_then(Option::take) else {
            return Returned { reply: None, status: None, late: false, reused };
        };
        drop(state);
        let status = match &slot.reply {
            Reply::Shared(reply) => {
                reply.writing.end();
                reply.status()
            }
            Reply::Own(_) | Reply::Sent => None,
        };
        Returned { reply: slot.take(), status, late: slot.late, reused }
    }

    /// Whether the instance has a call that has not returned, after an earlier call.
    pub(super) fn is_reused(&self) -> bool {
        let state = lock(&self.state);
        state.entered > 1 && state.slots.iter().any(Option::is_some)
    }

    /// The earliest deadline of the calls that entered since this function was last called.
    pub(super) fn take_earliest(&self) -> Option<Instant> {
        if self.earliest.load(Ordering::Relaxed) == NONE {
            return None;
        }
        self.made.checked_add(Duration::from_micros(self.earliest.swap(NONE, Ordering::Relaxed)))
    }

    /// Sets the instance's phase from `now` on.
    pub(super) fn set_phase(&self, phase: Phase, now: Instant) {
        let mut state = lock(&self.state);
        if state.phase != phase {
            state.phase = phase;
            state.since = now;
        }
    }

    /// Must be called at the beginning of each round of the event loop.
    pub(super) fn mark_polled(&self) {
        self.wakeups.begin_round();
        self.polled.store(true, Ordering::Relaxed);
    }

    /// Whether the event loop has run since the last time that this function was called.
    pub(super) fn has_been_polled(&self) -> bool {
        self.polled.swap(false, Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retiring.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Relaxed)
    }

    /// Answers overdue calls with a timeout, and counts the others. `response` is the additional time of a call that
    /// has its reply, for a body that the guest writes within the call.
    pub(super) fn survey(&self, now: Instant, response: Duration) -> Survey {
        let mut late = Vec::new();
        let mut state = lock(&self.state);
        let mut survey = Survey {
            timed_out: 0,
            unanswered: 0,
            overrun: 0,
            next: None,
            phase: state.phase,
            since: state.since,
        };
        for slot in state.slots.iter_mut().flatten() {
            let answered = slot.is_answered() && !slot.late;
            let due = if answered { slot.deadline + response } else { slot.deadline };
            if due > now {
                survey.unanswered += usize::from(!slot.is_answered());
                survey.next = Some(survey.next.map_or(due, |next| next.min(due)));
            } else {
                survey.overrun += 1;
                if let Some(reply) = slot.take() {
                    slot.late = true;
                    late.push(reply);
                }
            }
        }
        drop(state);
        survey.timed_out = late.len();
        for reply in late {
            let _ = reply.send(Err(CallError::TimedOut));
        }
        survey
    }

    /// Answers all calls that have no reply with `error`. Returns the number of these calls.
    pub(super) fn fail_all(&self, error: &CallError) -> usize {
        let mut state = lock(&self.state);
        let left: Vec<_> = state.slots.iter_mut().flatten().filter_map(Slot::take).collect();
        drop(state);
        let count = left.len();
        for reply in left {
            let _ = reply.send(Err(error.clone()));
        }
        count
    }
}
