//! What an instance's two halves share: its event loop, which stands still while a guest computes or blocks, and
//! the watchdog around it, which does not, and sees to the limits of time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    CallError,
    in_flight::{ReplySender, SharedSender},
};
use wasi_http_host_core::lock;

/// The calls in an instance, and what it is doing.
pub(super) struct CallTable {
    state: Mutex<State>,
    /// The event loop has turned since the watchdog last looked.
    turned: AtomicBool,
    /// No further calls are to be taken.
    retiring: AtomicBool,
    /// So many heads wait for the first bytes of their bodies.
    pub(super) heads_waiting: AtomicUsize,
    /// They are to go without.
    pub(super) flush_heads: AtomicBool,
}

struct State {
    slots: Vec<Option<Slot>>,
    phase: Phase,
    since: Instant,
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has calls, or bodies are being read from it.
    Serving,
    /// Only tasks that it spawned run on.
    Background,
    /// Nothing.
    Idle,
}

/// Who waits for a call's answer.
pub(super) enum Reply {
    /// The event loop sends it.
    Own(ReplySender),
    /// The guest may send it through its out-parameter at any time.
    Shared(SharedSender),
    /// It has been sent.
    Sent,
}

struct Slot {
    deadline: Instant,
    reply: Reply,
    /// It was answered for, with a timeout: nothing that the guest still does for it counts.
    late: bool,
}

impl Slot {
    /// Takes the sender, if the call has not been answered.
    fn take(&mut self) -> Option<ReplySender> {
        match std::mem::replace(&mut self.reply, Reply::Sent) {
            Reply::Own(reply) => Some(reply),
            Reply::Shared(reply) => lock(&reply).take(),
            Reply::Sent => None,
        }
    }

    fn is_answered(&self) -> bool {
        match &self.reply {
            Reply::Own(_) => false,
            Reply::Shared(reply) => lock(reply).is_none(),
            Reply::Sent => true,
        }
    }
}

/// What the watchdog finds.
pub(super) struct Survey {
    /// Calls that have just been answered with a timeout.
    pub(super) timed_out: usize,
    /// Calls that still wait for an answer.
    pub(super) unanswered: usize,
    /// Calls that the guest is at although they need it no more.
    pub(super) overrun: usize,
    /// When the next of them is due.
    pub(super) next: Option<Instant>,
    pub(super) phase: Phase,
    pub(super) since: Instant,
}

impl CallTable {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: Mutex::new(State { slots: Vec::new(), phase: Phase::Idle, since: now }),
            turned: AtomicBool::new(true),
            retiring: AtomicBool::new(false),
            heads_waiting: AtomicUsize::new(0),
            flush_heads: AtomicBool::new(false),
        }
    }

    /// A call begins; what is returned names it.
    pub(super) fn enter(&self, deadline: Instant, reply: Reply) -> usize {
        let mut state = lock(&self.state);
        state.phase = Phase::Serving;
        let slot = Some(Slot { deadline, reply, late: false });
        match state.slots.iter().position(Option::is_none) {
            Some(free) => {
                if let Some(place) = state.slots.get_mut(free) {
                    *place = slot;
                }
                free
            }
            None => {
                state.slots.push(slot);
                state.slots.len() - 1
            }
        }
    }

    /// A call is over: who waits for its answer, if anybody still does.
    pub(super) fn leave(&self, slot: usize) -> Option<ReplySender> {
        lock(&self.state).slots.get_mut(slot).and_then(Option::take).and_then(|mut slot| slot.take())
    }

    /// What the instance is doing from `now` on.
    pub(super) fn set_phase(&self, phase: Phase, now: Instant) {
        let mut state = lock(&self.state);
        if state.phase != phase {
            state.phase = phase;
            state.since = now;
        }
    }

    /// To be called on each turn of the event loop.
    pub(super) fn turn(&self) {
        self.turned.store(true, Ordering::Relaxed);
    }

    /// Whether it has turned since this was asked last.
    pub(super) fn has_turned(&self) -> bool {
        self.turned.swap(false, Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retiring.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Relaxed)
    }

    /// Answers overdue calls, and looks at the others. `response` is what a call may take longer once it has
    /// answered, for a body that is written within it.
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

    /// Answers all that are left.
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

/// A place for an answer that a guest may send at any time.
pub(super) fn shared(reply: ReplySender) -> SharedSender {
    Arc::new(Mutex::new(Some(reply)))
}
