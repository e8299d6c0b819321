//! What all clients of a load share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::plan::Plan;
use crate::tally::Tally;
use crate::traffic::Traffic;

/// The plan, the traffic, and the results so far.
pub(crate) struct LoadState {
    pub(crate) plan: Plan,
    pub(crate) traffic: Box<dyn Traffic>,
    tally: Mutex<Tally>,
    stopped: AtomicBool,
}

impl LoadState {
    /// The state of a load that begins.
    pub(crate) fn new(plan: Plan, traffic: impl Traffic) -> Self {
        let tally = Tally {
            answers: vec![0; plan.addresses.len()],
            begun: vec![None; plan.clients],
            ..Tally::default()
        };
        Self { plan, traffic: Box::new(traffic), tally: Mutex::new(tally), stopped: AtomicBool::new(false) }
    }

    /// The tally, locked.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the clients to send no further requests.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the clients have to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
