//! Tests of the watchdog's decisions, at times that the tests choose.

use futures::channel::oneshot;

use super::*;
use crate::service::Reply as ReplyOfCall;

const LIMITS: Limits = Limits {
    instances: 1,
    concurrency: 2,
    at_once: 1,
    max_calls: 100,
    idle: Duration::from_secs(60),
    background: Duration::from_secs(60),
    request: Duration::from_secs(6),
    response: Duration::from_secs(60),
};

type Receiver = oneshot::Receiver<Result<ReplyOfCall, CallError>>;

/// An instance with a call that is late after 6 s, and another one that is late after 9 s.
struct Instance {
    started: Instant,
    call_table: CallTable,
    watch: WatchdogState,
    late: Receiver,
    other: Receiver,
}

impl Instance {
    fn new() -> Self {
        let started = Instant::now();
        let call_table = CallTable::new(started);
        let call = |seconds| {
            let (reply, receiver) = oneshot::channel();
            call_table.enter(started + Duration::from_secs(seconds), Reply::Own(reply), None);
            receiver
        };
        let (late, other) = (call(6), call(9));
        Self { started, call_table, watch: WatchdogState::default(), late, other }
    }

    /// Checks `millis` after the start. Returns whether the instance goes on.
    fn check(&mut self, millis: u64, waits_for_store: bool) -> bool {
        let now = self.started + Duration::from_millis(millis);
        let bodies = BodyTracker::default();
        matches!(self.watch.check(&LIMITS, &self.call_table, &bodies, waits_for_store, now), Verdict::Keep(_))
    }
}

#[test]
fn a_late_call_beside_a_slow_store_ends_no_other_within_the_grace() {
    let mut instance = Instance::new();
    assert!(instance.check(6_000, true));
    assert!(matches!(instance.late.try_recv(), Ok(Some(Err(CallError::TimedOut)))));
    for millis in [6_100, 7_000, 7_900] {
        assert!(instance.check(millis, true), "{millis}");
    }
    // The store answers, and the event loop runs again.
    for millis in [8_000, 8_900] {
        instance.call_table.mark_polled();
        assert!(instance.check(millis, false), "{millis}");
    }
    assert!(matches!(instance.other.try_recv(), Ok(None)), "the other call has time left");
}

#[test]
fn a_store_that_stays_slow_ends_the_instance_after_the_grace() {
    let mut instance = Instance::new();
    assert!(instance.check(6_000, true) && instance.check(6_100, true));
    assert!(!instance.check(8_100, true));
}

#[test]
fn a_guest_that_spins_past_a_deadline_has_no_grace() {
    let mut instance = Instance::new();
    assert!(instance.check(6_000, false));
    assert!(!instance.check(6_100, false));
}
