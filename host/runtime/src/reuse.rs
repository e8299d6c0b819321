//! Whether instances of a component can serve more than one request.
//!
//! A component of WASI 0.2 does not tell. Some engines keep the state of a request in the instance, and never answer
//! the second request of an instance. The host therefore tries the reuse of a component's instances with one request
//! at a time, until one such request was answered:
//!
//! - Until then, one instance at a time may take a second request. All others serve one request.
//! - If that request is answered, all instances are reused from then on.
//! - If that request fails, no instance is reused any more, for as long as the process has this code.
//!
//! A failure after the first success ends only its own instance, because a client may be able to provoke it.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicU8,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

/// No instance has served a second request.
const UNTRIED: u8 = 0;
/// One instance may take a second request, or has taken it.
const ON_TRIAL: u8 = 1;
/// An instance has answered a second request.
const WORKS: u8 = 2;
/// An instance has failed at its second request.
const FAILS: u8 = 3;

/// What is known about the reuse of instances of one component. All threads share it.
#[derive(Debug, Default)]
pub(crate) struct Reuse(AtomicU8);

/// The part of one instance in [`Reuse`].
pub(crate) struct InstanceReuse {
    shared: Arc<Reuse>,
    /// Whether this is the instance that tries.
    tries: AtomicBool,
}

impl InstanceReuse {
    pub(crate) fn new(shared: Arc<Reuse>) -> Self {
        Self { shared, tries: AtomicBool::new(false) }
    }

    /// Whether the instance may take another request after its first. The first instance that asks becomes the one
    /// that tries.
    pub(crate) fn is_allowed(&self) -> bool {
        match self.shared.0.load(Acquire) {
            WORKS => true,
            FAILS => false,
            ON_TRIAL => self.tries.load(Relaxed),
            _ => {
                let tries = self.shared.0.compare_exchange(UNTRIED, ON_TRIAL, AcqRel, Relaxed).is_ok();
                self.tries.store(tries, Relaxed);
                tries
            }
        }
    }

    /// The instance has answered a request that was not its first.
    pub(crate) fn worked(&self) {
        if self.tries.swap(false, Relaxed) {
            self.shared.0.store(WORKS, Release);
        }
    }

    /// The instance has failed at a request that was not its first. Returns whether this ends the reuse of the
    /// component's instances.
    pub(crate) fn failed(&self) -> bool {
        let tried = self.tries.swap(false, Relaxed);
        if tried {
            self.shared.0.store(FAILS, Release);
        }
        tried
    }
}

impl Drop for InstanceReuse {
    /// The instance ended without a second request: another one may try.
    fn drop(&mut self) {
        if *self.tries.get_mut() {
            self.shared.0.store(UNTRIED, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances() -> [InstanceReuse; 3] {
        let shared = Arc::new(Reuse::default());
        [(); 3].map(|()| InstanceReuse::new(shared.clone()))
    }

    #[test]
    fn one_instance_tries_and_the_others_wait_for_its_result() {
        let [one, other, _] = instances();
        assert!(one.is_allowed() && one.is_allowed());
        assert!(!other.is_allowed());
        one.worked();
        assert!(one.is_allowed() && other.is_allowed());
        // Clients may provoke failures. After the first success, none of them ends the reuse.
        assert!(!one.failed() && !other.failed());
        assert!(one.is_allowed() && other.is_allowed());
    }

    #[test]
    fn a_failed_trial_ends_the_reuse_for_all() {
        let [one, other, another] = instances();
        assert!(one.is_allowed());
        assert!(one.failed());
        drop(one);
        assert!(!other.is_allowed() && !another.failed());
        other.worked();
        assert!(!another.is_allowed());
    }

    #[test]
    fn a_trial_without_a_result_passes_to_another_instance() {
        let [one, other, _] = instances();
        assert!(one.is_allowed());
        drop(one);
        assert!(other.is_allowed());
    }
}
