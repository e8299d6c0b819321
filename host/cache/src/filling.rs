//! A response that is being stored.

use http::HeaderValue;

use crate::{
    budget::Charge,
    entry::{self, Entry, Head},
    fetch::Fetch,
    flight::Phase,
};

/// The least bytes that a body of unknown length gets at first.
const LEAST_BYTES: usize = 4 << 10;

/// A response whose body is still arriving. It is stored once it is complete, and forgotten when this is dropped before.
pub struct Filling {
    fetch: Box<Fetch>,
    head: Head,
    /// The bytes of the head.
    charge: Charge,
    /// The length that the response announces.
    announced: Option<usize>,
    body: Vec<u8>,
    /// The bytes of the body. `None`: the response cannot be stored.
    body_charge: Option<Charge>,
}

/// A [`Filling`] before it owns its [`Fetch`].
pub(crate) struct Ready {
    head: Head,
    charge: Charge,
    announced: Option<usize>,
    body_charge: Charge,
}

impl Ready {
    /// `None`: the response is too large, or there is no room.
    pub(crate) fn new(fetch: &Fetch, head: Head, length: Option<&HeaderValue>) -> Option<Self> {
        let announced = match length {
            Some(length) => Some(length.to_str().ok()?.parse().ok()?),
            None => None,
        };
        let state = &fetch.space.state;
        if announced.is_some_and(|announced| announced > state.largest()) {
            return None;
        }
        let charge = state.store.charge(fetch.head_bytes(&head))?;
        let body_charge = state.store.charge(announced.unwrap_or(0))?;
        Some(Self { head, charge, announced, body_charge })
    }

    pub(crate) fn owning(self, fetch: Box<Fetch>) -> Filling {
        let Self { head, charge, announced, body_charge } = self;
        Filling { fetch, head, charge, announced, body: Vec::new(), body_charge: Some(body_charge) }
    }
}

impl Filling {
    /// Adds the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.body_charge.is_none() {
            return;
        }
        let length = self.body.len() + bytes.len();
        if length > self.announced.unwrap_or(self.fetch.space.state.largest()) || !self.reserve(length) {
            self.give_up();
            return;
        }
        self.body.extend_from_slice(bytes);
    }

    /// Makes room for a body of `length` bytes. Returns `false` if there is none.
    fn reserve(&mut self, length: usize) -> bool {
        let capacity = self.body.capacity();
        if length <= capacity {
            return true;
        }
        let state = &self.fetch.space.state;
        let wanted = match self.announced {
            Some(announced) => announced,
            None => (2 * capacity).max(length).max(LEAST_BYTES).min(state.largest()),
        };
        let Some(charge) = &mut self.body_charge else { return false };
        if let Some(more) = wanted.checked_sub(charge.bytes()).filter(|more| *more > 0) {
            match state.store.charge(more) {
                Some(more) => charge.add(more),
                None => return false,
            }
        }
        self.body.reserve_exact(wanted - self.body.len());
        true
    }

    /// The response cannot be stored: it is too large, or has trailers, or there is no room.
    pub fn give_up(&mut self) {
        if self.body_charge.take().is_none() {
            return;
        }
        self.body = Vec::new();
        self.fetch.phase = Phase::NotStored;
        let (hash, now) = (self.fetch.hash, self.head.stored);
        self.fetch.space.state.store.with(hash, |shard| shard.do_not_collapse(hash, now));
        self.fetch.space.state.store.counts.refused.inc();
    }

    /// The body is complete: stores the response. Returns whether it is stored.
    pub fn finish(self: Box<Self>) -> bool {
        let Self { mut fetch, head, charge, announced, body, body_charge } = *self;
        let Some(body_charge) = body_charge else { return false };
        fetch.phase = Phase::NotStored;
        let store = &fetch.space.state.store;
        if announced.is_some_and(|announced| announced != body.len()) {
            store.counts.refused.inc();
            return false;
        }
        let entry = Entry::new(head, entry::charged(body.into_boxed_slice(), body_charge), charge);
        let hash = fetch.hash;
        let stored = store.with(hash, |shard| {
            // Under the shard's lock: a purge that the response is too old for has not yet removed what the shard has.
            if fetch.space.is_over(&entry) {
                return Err(entry);
            }
            shard.store(hash, &fetch.key.address(), entry)
        });
        let is_stored = stored.is_ok();
        // What was replaced, or refused, is dropped outside the lock.
        drop(stored);
        if is_stored {
            store.counts.stored.inc();
            fetch.phase = Phase::Stored;
        } else {
            store.counts.refused.inc();
        }
        is_stored
    }

    /// The whole body has come with the head: stores the response. Returns whether it is stored.
    pub fn whole(mut self: Box<Self>, body: &[u8]) -> bool {
        self.push(body);
        self.finish()
    }
}
