//! Fetches under way in this instance: whoever wants a key that somebody is getting already waits for that.
//!
//! This is memory on loan: an instance that goes away takes its flights with it, and what then keeps two fetches
//! apart is the lease.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};

use crate::ports::{Bells, Clock};

/// The flights of an instance; `T` is their outcome. As many as there are requests, which the host bounds.
pub struct Flights<B: Bells, T> {
    under_way: RefCell<HashMap<String, Rc<Flight<B, T>>>>,
}

/// One fetch and those who wait for it.
pub struct Flight<B: Bells, T> {
    outcome: RefCell<Option<T>>,
    bells: RefCell<Vec<B::Bell>>,
}

/// A flight, and the duty to land it where this is who opened it.
pub type Boarding<B, T> = (Rc<Flight<B, T>>, Option<Pilot<B, T>>);

/// The duty to land a flight. Dropped without [`Pilot::land`], it leaves the passengers without an outcome, and they
/// start over.
pub struct Pilot<B: Bells, T> {
    flights: Rc<Flights<B, T>>,
    flight: Rc<Flight<B, T>>,
    key: String,
}

impl<B: Bells, T> Default for Flights<B, T> {
    fn default() -> Self {
        Self { under_way: RefCell::default() }
    }
}

impl<B: Bells, T: Clone> Flights<B, T> {
    /// The flight for `key`. Where it did not exist, it does now, and the pilot's seat comes with it.
    pub fn board(self: &Rc<Self>, key: String) -> Boarding<B, T> {
        match self.under_way.borrow_mut().entry(key) {
            Entry::Occupied(flight) => (Rc::clone(flight.get()), None),
            Entry::Vacant(seat) => {
                let key = seat.key().clone();
                let flight = Rc::new(Flight { outcome: RefCell::default(), bells: RefCell::default() });
                seat.insert(Rc::clone(&flight));
                let pilot = Pilot { flights: Rc::clone(self), flight: Rc::clone(&flight), key };
                (flight, Some(pilot))
            }
        }
    }
}

impl<B: Bells, T: Clone> Flight<B, T> {
    /// Waits for the outcome until `deadline` (monotonic); `None` where the deadline came first or the pilot is gone.
    pub async fn outcome(
        &self,
        platform: &(impl Clock + Bells<Bell = B::Bell>),
        deadline: Duration,
    ) -> Option<T> {
        let ring = {
            if let Some(outcome) = self.outcome.borrow().as_ref() {
                return Some(outcome.clone());
            }
            let (bell, ring) = platform.bell();
            self.bells.borrow_mut().push(bell);
            ring
        };
        let patience = platform.sleep(deadline.saturating_sub(platform.monotonic()));
        match select(std::pin::pin!(ring), std::pin::pin!(patience)).await {
            Either::Left(_) | Either::Right(_) => self.outcome.borrow().clone(),
        }
    }
}

impl<B: Bells, T> Pilot<B, T> {
    /// Hands `outcome` to everyone who waits.
    pub fn land(self, outcome: T) {
        *self.flight.outcome.borrow_mut() = Some(outcome);
    }
}

impl<B: Bells, T> Drop for Pilot<B, T> {
    fn drop(&mut self) {
        self.flights.under_way.borrow_mut().remove(&self.key);
        let bells = self.flight.bells.take();
        drop(bells);
    }
}
