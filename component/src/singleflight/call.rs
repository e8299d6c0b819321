//! Singleflight calls within one instance. The first request for a key becomes the leader and does the work. Later
//! requests for the key are followers and wait for the leader's outcome.
//!
//! Calls exist only in memory. If an instance ends, its calls end too, and the lease keeps requests of other instances
//! apart.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};

use crate::ports::{Clock, Notify};

/// The calls of an instance, by key. `T` is their outcome. There are never more calls than requests, and the host
/// bounds those.
pub struct Group<N: Notify, T> {
    in_flight: RefCell<HashMap<String, Rc<Call<N, T>>>>,
}

/// One call, which the leader completes and the followers wait for.
pub struct Call<N: Notify, T> {
    outcome: RefCell<Option<T>>,
    /// One notifier for each request that waits.
    waiting: RefCell<Vec<N::Notifier>>,
}

/// The result of [`Group::join`].
pub struct Joined<N: Notify, T> {
    /// The call, whose outcome the caller can wait for.
    pub call: Rc<Call<N, T>>,
    /// The leader, if the caller has started the call; `None` for a follower.
    pub leader: Option<Leader<N, T>>,
}

/// The obligation to complete a call. If the leader is dropped before [`Leader::complete`], the followers get no outcome
/// and start over.
pub struct Leader<N: Notify, T> {
    group: Rc<Group<N, T>>,
    call: Rc<Call<N, T>>,
    key: String,
}

impl<N: Notify, T> Default for Group<N, T> {
    fn default() -> Self {
        Self { in_flight: RefCell::default() }
    }
}

impl<N: Notify, T: Clone> Group<N, T> {
    /// Joins the call for `key`, or starts it if there is none.
    pub fn join(self: &Rc<Self>, key: String) -> Joined<N, T> {
        match self.in_flight.borrow_mut().entry(key) {
            Entry::Occupied(entry) => Joined { call: Rc::clone(entry.get()), leader: None },
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                let call = Rc::new(Call { outcome: RefCell::default(), waiting: RefCell::default() });
                entry.insert(Rc::clone(&call));
                let leader = Leader { group: Rc::clone(self), call: Rc::clone(&call), key };
                Joined { call, leader: Some(leader) }
            }
        }
    }
}

impl<N: Notify, T: Clone> Call<N, T> {
    /// Waits for the outcome until `deadline` (monotonic). `None` if the deadline comes first, or if the leader was
    /// dropped.
    pub async fn outcome(
        &self,
        platform: &(impl Clock + Notify<Notifier = N::Notifier>),
        deadline: Duration,
    ) -> Option<T> {
        let completed = {
            if let Some(outcome) = self.outcome.borrow().as_ref() {
                return Some(outcome.clone());
            }
            let (notifier, notified) = platform.notification();
            self.waiting.borrow_mut().push(notifier);
            notified
        };
        let timeout = platform.sleep(deadline.saturating_sub(platform.monotonic()));
        match select(std::pin::pin!(completed), std::pin::pin!(timeout)).await {
            Either::Left(_) | Either::Right(_) => self.outcome.borrow().clone(),
        }
    }
}

impl<N: Notify, T> Leader<N, T> {
    /// Gives `outcome` to all requests that wait, and ends the call.
    pub fn complete(self, outcome: T) {
        *self.call.outcome.borrow_mut() = Some(outcome);
    }
}

impl<N: Notify, T> Drop for Leader<N, T> {
    fn drop(&mut self) {
        self.group.in_flight.borrow_mut().remove(&self.key);
        // Dropping the notifiers wakes the requests that wait.
        drop(self.call.waiting.take());
    }
}
