//! A request to the component, from the cache's point of view: what it asks, and what becomes of the response.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{
    conditional, date,
    directives::Directives,
    entry::{self, Answer, Entry, Head, How},
    filling::Filling,
    flight::{Flight, Phase},
    freshness::{self, Freshness},
    groups,
    key::Key,
    metrics::Outcome,
    shard::RESOURCE_OVERHEAD,
    space::{Asked, Space},
    status::{self, Reason},
    targeted::Applicable,
    vary::Selection,
};

/// The statuses that the cache understands (RFC 9111, 5.2.2.3).
const UNDERSTOOD: [u16; 30] = [
    200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414,
    415, 422, 429, 451, 500, 501, 502, 503, 504,
];

/// What a request asks of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A response that may be stored.
    Get,
    /// A description of one.
    Head,
    /// Nothing: the response may invalidate others.
    Other,
}

/// A request to the component.
pub struct Fetch {
    pub(crate) space: Arc<Space>,
    kind: Kind,
    method: Method,
    pub(crate) hash: u64,
    pub(crate) key: Key,
    /// The client's fields. Empty if nothing is stored.
    request: HeaderMap,
    is_authenticated: bool,
    /// The stored response that the request validates, or that may replace an error.
    stale: Option<Arc<Entry>>,
    reason: Reason,
    may_store: bool,
    /// Whether no client waits for the response.
    is_in_background: bool,
    /// The number of invalidations when the request began.
    begun: u64,
    started: Instant,
    flight: Option<Arc<Flight>>,
    /// What followers learn when this ends.
    pub(crate) phase: Phase,
}

/// What becomes of a component's response.
pub enum Received {
    /// It goes to the client, and is not stored.
    Pass,
    /// It goes to the client, and its body is to be given to this.
    Fill(Box<Filling>),
    /// A stored response goes to the client in its place.
    Answer(Answer, Outcome),
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
        let begun = space.cache.store.invalidations();
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
        no_store: bool,
    ) -> Self {
        // The client's wish not to have the response stored costs nothing, so it always counts (RFC 9111, 5.2.1.5).
        let no_store = no_store || Directives::parse(self.request.get_all(header::CACHE_CONTROL)).no_store;
        (self.stale, self.reason, self.flight, self.may_store) = (stale, reason, flight, !no_store);
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
    fn validated(&self) -> Option<&Arc<Entry>> {
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

    /// The component has answered. `received` is the wall clock's time.
    pub fn received(
        mut self: Box<Self>,
        status: StatusCode,
        headers: &mut HeaderMap,
        now: Instant,
        received: SystemTime,
    ) -> Received {
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
                    let entry = self.validates(&stale, headers, now, received).unwrap_or(stale);
                    let answer = entry.answer(&self.method, &self.request, now, How::Validated);
                    return Received::Answer(answer, Outcome::Validated);
                }
                let is_error = matches!(status.as_u16(), 500 | 502 | 503 | 504);
                if is_error && let Some(answer) = self.stale_answer(now) {
                    return Received::Answer(answer, Outcome::Stale);
                }
                let head = self.head(status, headers, now, received);
                let length = headers.get(header::CONTENT_LENGTH).cloned();
                if let Some(head) = head
                    && let Some(filling) = Filling::new(&mut self, head, length.as_ref())
                {
                    if let Some(flight) = &self.flight {
                        flight.set(Phase::Head);
                    }
                    status::add_forwarded(headers, self.reason, true);
                    return Received::Fill(Box::new(filling.owning(self)));
                }
                self.not_stored(status, now);
            }
        }
        status::add_forwarded(headers, self.reason, false);
        Received::Pass
    }

    /// The component has not answered. Returns the stored response that answers in its place.
    #[must_use]
    pub fn failed(mut self: Box<Self>, now: Instant) -> Option<Answer> {
        self.phase = Phase::NotStored;
        self.stale_answer(now)
    }

    fn stale_answer(&mut self, now: Instant) -> Option<Answer> {
        self.phase = Phase::NotStored;
        let stale = self.stale.as_ref().filter(|_| self.kind != Kind::Other)?;
        let is_valid = !stale.is_invalidated() && !self.space.is_over(stale);
        (is_valid && stale.head.freshness.may_replace_error(stale.age(now)))
            .then(|| stale.answer(&self.method, &self.request, now, How::Replacement))
    }

    /// The response is not stored. A stored response that it would have replaced is removed, because the component has
    /// answered anew.
    fn not_stored(&mut self, status: StatusCode, now: Instant) {
        self.phase = Phase::NotStored;
        let (hash, stale, collapses) = (self.hash, self.stale.as_ref(), self.flight.is_some());
        let is_replaced =
            |status: StatusCode| !status.is_server_error() && status != StatusCode::PARTIAL_CONTENT;
        self.space.cache.store.with(hash, |shard| {
            if collapses {
                shard.do_not_collapse(hash, now);
            }
            if let Some(stale) = stale.filter(|_| is_replaced(status)) {
                shard.retain_variants(hash, &self.key.address(), |entry| !Arc::ptr_eq(entry, stale));
            }
        });
    }

    /// What is stored of a response, beside its body. `None`: it must not be stored, or it could never be reused.
    fn head(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        now: Instant,
        received: SystemTime,
    ) -> Option<Head> {
        let is_partial = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        if !self.may_store || is_partial || status.is_informational() {
            return None;
        }
        let applicable = Applicable::of(headers);
        let freshness = self.freshness(status, headers, &applicable, received)?;
        let stored = entry::stored_fields(headers, &applicable.directives, received)?;
        self.complete(status, stored, headers, freshness, now, received)
    }

    /// The limits of reuse. `None`: the response must not be stored.
    fn freshness(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        applicable: &Applicable,
        received: SystemTime,
    ) -> Option<Freshness> {
        let directives = &applicable.directives;
        let is_understood = UNDERSTOOD.contains(&status.as_u16());
        // RFC 9111, 5.2.2.3.
        let no_store = if directives.must_understand { !is_understood } else { directives.no_store };
        if no_store || directives.private {
            return None;
        }
        let is_for_shared = directives.public || directives.s_maxage.is_some();
        if self.is_authenticated && !is_for_shared && !directives.must_revalidate {
            return None;
        }
        let sets_cookie = headers.contains_key(header::SET_COOKIE)
            && !directives.unstored_fields.contains(&header::SET_COOKIE);
        if sets_cookie && !(is_for_shared || applicable.is_targeted || self.space.cache.settings.set_cookie) {
            return None;
        }
        let is_pragma = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"no-cache");
        // Nothing is assumed of a response that may be meant for one client.
        let may_assume = !sets_cookie
            && !self.request.contains_key(header::COOKIE)
            && !headers.get_all(header::PRAGMA).iter().any(is_pragma);
        Freshness::of(status, headers, applicable, received, may_assume)
    }

    /// `stored` are the fields to be stored, and `arrived` those that have arrived.
    fn complete(
        &self,
        status: StatusCode,
        stored: HeaderMap,
        arrived: &HeaderMap,
        freshness: Freshness,
        now: Instant,
        received: SystemTime,
    ) -> Option<Head> {
        let selection = Selection::new(&stored, &self.request)?;
        let groups = groups::groups(&stored, &groups::CACHE_GROUPS).ok()?;
        let delay = now.saturating_duration_since(self.started);
        let head = Head {
            status,
            selection,
            freshness,
            groups: groups.iter().map(|group| self.space.groups.join(group)).collect(),
            initial_age: freshness::initial_age(arrived, received, delay),
            stored: now,
            generated: date::field(&stored, header::DATE).unwrap_or(received),
            begun: self.begun,
            headers: stored,
        };
        let can_validate = conditional::has_validator(&head.headers);
        let age = head.initial_age;
        let is_useful = can_validate
            || freshness.is_fresh(age)
            || freshness.allows_stale
                && (freshness.may_refresh_later(age) || freshness.may_replace_error(age));
        is_useful.then_some(head)
    }

    /// The component has said by a 304 that `stale` is current. Returns what is stored then (RFC 9111, 4.3.4).
    fn validates(
        &mut self,
        stale: &Arc<Entry>,
        update: &HeaderMap,
        now: Instant,
        received: SystemTime,
    ) -> Option<Arc<Entry>> {
        self.phase = Phase::NotStored;
        let entry = self.updated(stale, update, now, received);
        let address = self.key.address();
        let is_stored = self.space.cache.store.with(self.hash, |shard| match &entry {
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
        let Some(stale) = self.stale.as_ref().filter(|_| status == StatusCode::OK) else { return };
        let is_same = conditional::describes(update, &stale.head.headers, stale.body.len());
        let entry = if is_same { self.updated(stale, update, now, received) } else { None };
        let address = self.key.address();
        self.space.cache.store.with(self.hash, |shard| match entry {
            Some(entry) => {
                shard.replace(self.hash, &address, stale, &entry);
            }
            None => {
                shard.retain_variants(self.hash, &address, |known| !Arc::ptr_eq(known, stale));
            }
        });
    }

    /// A stored response with the fields of `update`. `None`: it must no longer be stored.
    fn updated(
        &self,
        stale: &Arc<Entry>,
        update: &HeaderMap,
        now: Instant,
        received: SystemTime,
    ) -> Option<Arc<Entry>> {
        let directives = Applicable::of(update).directives;
        let mut headers = entry::updated_fields(&stale.head.headers, update, &directives)?;
        if date::field(update, header::DATE).is_none() {
            headers.insert(header::DATE, HeaderValue::try_from(httpdate::fmt_http_date(received)).ok()?);
        }
        let applicable = Applicable::of(&headers);
        let status = stale.head.status;
        let freshness = self.freshness(status, &headers, &applicable, received)?;
        let head = self.complete(status, headers, update, freshness, now, received)?;
        let charge = self.space.cache.store.charge(self.head_bytes(&head))?;
        Some(Entry::new(head, stale.body.clone(), charge))
    }

    /// The bytes that an entry with this head takes, beside its body.
    pub(crate) fn head_bytes(&self, head: &Head) -> usize {
        head.bytes() + self.key.bytes() + RESOURCE_OVERHEAD
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if self.kind == Kind::Other {
            return;
        }
        let flight = self.flight.as_ref();
        self.space.cache.store.with(self.hash, |shard| shard.end(self.hash, flight));
        // After the end: who learns of it looks into the shard.
        if let Some(flight) = flight {
            flight.set(self.phase);
        }
    }
}
