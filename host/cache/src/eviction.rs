//! Which resource a full shard evicts: S3-FIFO (Yang et al., SOSP 2023).
//!
//! New resources enter a small queue. Those that are visited again before they leave it move to the main queue, and others
//! are evicted. Thus a flood of addresses that are visited once evicts only itself. A resource that returns soon after its
//! eviction enters the main queue.

use std::collections::VecDeque;

/// The share of the bytes that the small queue may have: one in this many.
const SMALL_SHARE: usize = 10;
/// The most visits that count.
pub(crate) const MAX_VISITS: u8 = 3;
/// The number of evicted resources that a shard remembers.
const GHOSTS: usize = 1024;

/// The queue that a resource is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Small,
    Main,
}

/// A resource in a queue: its hash, and its number in the shard.
pub(crate) type Ticket = (u64, u64);

/// What the queues know of a resource at their end. `None`: the resource has left the shard.
pub(crate) struct State {
    pub(crate) visits: u8,
    pub(crate) bytes: usize,
}

/// The queues of one shard.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    small: VecDeque<Ticket>,
    main: VecDeque<Ticket>,
    small_bytes: usize,
    main_bytes: usize,
    ghosts: VecDeque<u64>,
}

/// What a shard does with the resource at the end of a queue.
pub(crate) enum Step {
    /// Keeps it, in this place, with this many visits counted.
    Keep(Ticket, Place, u8),
    /// Evicts it.
    Evict(Ticket),
}

impl Queues {
    /// Adds a resource. Returns the queue that it is in.
    pub(crate) fn push(&mut self, ticket: Ticket, bytes: usize) -> Place {
        let place = match self.ghosts.iter().position(|ghost| *ghost == ticket.0) {
            Some(at) => {
                self.ghosts.remove(at);
                Place::Main
            }
            None => Place::Small,
        };
        self.queue(place).push_back(ticket);
        *self.bytes(place) += bytes;
        place
    }

    /// The resource in this place has changed its size, or has left the shard (`after` is 0).
    pub(crate) fn resize(&mut self, place: Place, before: usize, after: usize) {
        let bytes = self.bytes(place);
        *bytes = bytes.saturating_sub(before) + after;
    }

    /// Whether the small queue has more than its share of the bytes.
    pub(crate) fn has_much_small(&self) -> bool {
        !self.small.is_empty() && self.small_bytes * SMALL_SHARE > self.small_bytes + self.main_bytes
    }

    /// Takes the next resource off a queue. `state` returns what is known of a resource. `None`: the queues are empty.
    pub(crate) fn step(&mut self, state: impl Fn(Ticket) -> Option<State>) -> Option<Step> {
        loop {
            let place =
                if self.main.is_empty() || self.has_much_small() { Place::Small } else { Place::Main };
            let ticket = self.queue(place).pop_front()?;
            let Some(State { visits, bytes }) = state(ticket) else { continue };
            let keeps = match place {
                Place::Small => visits > 1,
                Place::Main => visits > 0,
            };
            self.resize(place, bytes, 0);
            if keeps {
                self.queue(Place::Main).push_back(ticket);
                self.resize(Place::Main, 0, bytes);
                let visits = if place == Place::Small { 0 } else { visits - 1 };
                return Some(Step::Keep(ticket, Place::Main, visits));
            }
            if place == Place::Small {
                if self.ghosts.len() == GHOSTS {
                    self.ghosts.pop_front();
                }
                self.ghosts.push_back(ticket.0);
            }
            return Some(Step::Evict(ticket));
        }
    }

    /// Forgets resources that have left the shard, once most of the queues is made of these. `live` is their number in the
    /// shard.
    pub(crate) fn tidy(&mut self, live: usize, is_live: impl Fn(Ticket) -> bool) {
        if self.small.len() + self.main.len() > 2 * live + 64 {
            self.small.retain(|ticket| is_live(*ticket));
            self.main.retain(|ticket| is_live(*ticket));
        }
    }

    fn queue(&mut self, place: Place) -> &mut VecDeque<Ticket> {
        match place {
            Place::Small => &mut self.small,
            Place::Main => &mut self.main,
        }
    }

    fn bytes(&mut self, place: Place) -> &mut usize {
        match place {
            Place::Small => &mut self.small_bytes,
            Place::Main => &mut self.main_bytes,
        }
    }
}
