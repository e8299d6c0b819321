//! A request to the component, from the cache's point of view.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, Method, header};

use crate::{
    asked::Asked,
    conditional,
    entry::{Answer, Entry, How},
    flight::{Flight, Phase},
    key::Key,
    metrics::Outcome,
    space::Space,
    status::Reason,
};

/// What a request asks of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A response that may be stored.
    Get,
    /// A description of one.
    Head,
    /// Nothing is stored. The response may invalidate others.
    Other,
}

/// A request to the component.
pub struct Fetch {
    pub(crate) space: Arc<Space>,
    pub(crate) kind: Kind,
    pub(crate) method: Method,
    pub(crate) hash: u64,
    pub(crate) key: Key,
    /// The client's fields. Empty if nothing is stored.
    pub(crate) request: HeaderMap,
    pub(crate) is_authenticated: bool,
    /// The stored response that the request validates, or that may replace an error.
    pub(crate) stale: Option<Arc<Entry>>,
    pub(crate) reason: Reason,
    /// Whether anything of the response may be stored.
    pub(crate) may_store: bool,
    /// Whether no client waits for the response.
    is_in_background: bool,
    /// The number of invalidations when the request began.
    pub(crate) begun: u64,
    pub(crate) started: Instant,
    pub(crate) flight: Option<Arc<Flight>>,
    /// The state that followers see when this ends.
    pub(crate) phase: Phase,
}

impl Fetch {
    pub(crate) fn new(
        space: Arc<Space>,
        kind: Kind,
        asked: &Asked<'_>,
        hash: u64,
        key: Key,
        now: Instant,
    ) -> Self {
        let begun = space.state.store.invalidations();
        Self {
            space,
            kind,
            method: asked.method.clone(),
            hash,
            key,
            request: if kind == Kind::Other { HeaderMap::new() } else { asked.headers.clone() },
            is_authenticated: asked.is_authenticated || asked.headers.contains_key(header::AUTHORIZATION),
            stale: None,
            reason: Reason::UriMiss,
            may_store: false,
            is_in_background: false,
            begun,
            started: now,
            flight: None,
            phase: Phase::Abandoned,
        }
    }

    pub(crate) fn with(
        mut self,
        stale: Option<Arc<Entry>>,
        reason: Reason,
        flight: Option<Arc<Flight>>,
        may_store: bool,
    ) -> Self {
        (self.stale, self.reason, self.flight, self.may_store) = (stale, reason, flight, may_store);
        self
    }

    /// The same for a request for which no client waits.
    pub(crate) fn in_background(mut self) -> Self {
        self.is_in_background = true;
        self
    }

    /// Completes the fields of the request to the component: it validates the stored response.
    pub fn prepare(&self, headers: &mut HeaderMap) {
        match self.validated() {
            Some(stale) => conditional::validate(headers, &stale.head.headers),
            None if self.is_in_background => conditional::validate(headers, &HeaderMap::new()),
            None => {}
        }
    }

    /// The stored response that the request validates.
    pub(crate) fn validated(&self) -> Option<&Arc<Entry>> {
        self.stale
            .as_ref()
            .filter(|stale| self.kind == Kind::Get && conditional::has_validator(&stale.head.headers))
    }

    /// How metrics count the request, if the component's response goes to the client.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.reason {
            Reason::Bypass | Reason::Method => Outcome::Bypass,
            _ => Outcome::Miss,
        }
    }

    /// The component has not answered. Returns the stored response that answers in its place.
    #[must_use]
    pub fn failed(mut self: Box<Self>, now: Instant) -> Option<Answer> {
        self.phase = Phase::NotStored;
        self.stale_answer(now)
    }

    pub(crate) fn stale_answer(&mut self, now: Instant) -> Option<Answer> {
        self.phase = Phase::NotStored;
        let stale = self.stale.as_ref().filter(|_| self.kind != Kind::Other)?;
        let is_valid = !stale.is_invalidated() && !self.space.is_over(stale);
        (is_valid && stale.head.freshness.may_replace_error(stale.age(now)))
            .then(|| stale.answer(&self.method, &self.request, now, How::Replacement))
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if self.kind == Kind::Other {
            return;
        }
        let flight = self.flight.as_ref();
        self.space.state.store.with(self.hash, |shard| shard.end(self.hash, flight));
        // After the end, because whoever learns of the end looks up the shard.
        if let Some(flight) = flight {
            flight.set(self.phase);
        }
    }
}
