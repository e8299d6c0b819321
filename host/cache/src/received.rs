//! What becomes of the component's response to a request.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, StatusCode, header};

use crate::{
    conditional,
    entry::{Answer, Entry, How},
    fetch::{Fetch, Kind},
    filling::{Filling, Ready},
    flight::Phase,
    metrics::Outcome,
    status,
};

/// What becomes of a component's response.
pub enum Received {
    /// It goes to the client, and is not stored.
    Pass,
    /// It goes to the client, and its body is to be given to this.
    Fill(Box<Filling>),
    /// A stored response goes to the client in place of it.
    Answer(Answer, Outcome),
}

impl Fetch {
    /// The component has answered. `received` is the wall clock's time.
    pub fn received(
        mut self: Box<Self>,
        status: StatusCode,
        headers: &mut HeaderMap,
        now: Instant,
        received: SystemTime,
    ) -> Received {
        let is_error = matches!(status.as_u16(), 500 | 502 | 503 | 504);
        if is_error && let Some(answer) = self.stale_answer(now) {
            return Received::Answer(answer, Outcome::Stale);
        }
        match self.kind {
            Kind::Other => {
                if !self.method.is_safe() {
                    self.space.invalidate(&self.key.address(), status, headers);
                }
            }
            Kind::Head => self.described(status, headers, now, received),
            Kind::Get => {
                if status == StatusCode::NOT_MODIFIED
                    && let Some(stale) = self.validated().cloned()
                {
                    let is_same = conditional::is_about(headers, &stale.head.headers);
                    let entry = self.validates(&stale, headers, now, received, is_same);
                    let current = entry.as_ref().unwrap_or(&stale);
                    let mut answer = current.answer(&self.method, &self.request, now, How::Validated);
                    if is_same {
                        // The store may lack some of these fields, or all. They are for this client.
                        answer.update(headers, self.initial_age(headers, now, received));
                    }
                    return Received::Answer(answer, Outcome::Validated);
                }
                let head = self.head(status, headers, now, received);
                let length = headers.get(header::CONTENT_LENGTH).cloned();
                if let Some(head) = head
                    && let Some(ready) = Ready::new(&self, head, length.as_ref())
                {
                    if let Some(flight) = &self.flight {
                        flight.set(Phase::Head);
                    }
                    status::add_forwarded(headers, self.reason, true);
                    return Received::Fill(Box::new(ready.owning(self)));
                }
                self.not_stored(status, now);
            }
        }
        status::add_forwarded(headers, self.reason, false);
        Received::Pass
    }

    /// The response is not stored. A stored response that it would have replaced is removed, because the component has
    /// answered anew. A response that the client forbids to store, or that is for one client, removes nothing.
    fn not_stored(&mut self, status: StatusCode, now: Instant) {
        self.phase = Phase::NotStored;
        let (hash, stale, collapses) = (self.hash, self.stale.as_ref(), self.flight.is_some());
        let may_replace = self.may_store && !self.is_authenticated;
        let is_replaced =
            |status: StatusCode| !status.is_server_error() && status != StatusCode::PARTIAL_CONTENT;
        self.space.state.store.with(hash, |shard| {
            if collapses {
                shard.do_not_collapse(hash, now);
            }
            if let Some(stale) = stale.filter(|_| may_replace && is_replaced(status)) {
                shard.retain_variants(hash, &self.key.address(), |entry| !Arc::ptr_eq(entry, stale));
            }
        });
    }

    /// The component has said by a 304 that `stale` is current. Returns what is stored then (RFC 9111, 4.3.4). `None`: the 304
    /// must not be stored, or is about another response (not `is_same`), and `stale` is removed.
    fn validates(
        &mut self,
        stale: &Arc<Entry>,
        update: &HeaderMap,
        now: Instant,
        received: SystemTime,
        is_same: bool,
    ) -> Option<Arc<Entry>> {
        self.phase = Phase::NotStored;
        let entry = if is_same { self.updated(stale, update, now, received) } else { None };
        if !self.may_store {
            return entry;
        }
        let address = self.key.address();
        let is_stored = self.space.state.store.with(self.hash, |shard| match &entry {
            Some(entry) => shard.replace(self.hash, &address, stale, entry),
            None => {
                shard.retain_variants(self.hash, &address, |known| !Arc::ptr_eq(known, stale));
                false
            }
        });
        if is_stored {
            self.phase = Phase::Stored;
        }
        entry
    }

    /// The component has answered `HEAD` (RFC 9111, 4.3.5).
    fn described(&self, status: StatusCode, update: &HeaderMap, now: Instant, received: SystemTime) {
        let is_followed = self.may_store && status == StatusCode::OK;
        let Some(stale) = self.stale.as_ref().filter(|_| is_followed) else { return };
        let is_same = conditional::describes(update, &stale.head.headers, stale.body.len());
        let entry = if is_same { self.updated(stale, update, now, received) } else { None };
        let address = self.key.address();
        self.space.state.store.with(self.hash, |shard| match entry {
            Some(entry) => {
                shard.replace(self.hash, &address, stale, &entry);
            }
            None => {
                shard.retain_variants(self.hash, &address, |known| !Arc::ptr_eq(known, stale));
            }
        });
    }
}
