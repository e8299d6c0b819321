//! What is to be done with a request: the lookup in the store.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue, Method, header};

use crate::{
    asked::Asked,
    conditional,
    directives::Directives,
    entry::{Answer, Entry, How},
    fetch::{Fetch, Kind},
    flight::{Flight, Phase, Turn},
    key::{self, Address},
    metrics::Outcome,
    shard::{Begun, Found},
    space::Space,
    status::Reason,
};

/// What is to be done with a request.
pub enum Ask {
    /// The cache answers.
    Answer(Answer, Outcome),
    /// The cache answers, and the host is to ask the component in the background.
    Refresh(Answer, Box<Fetch>),
    /// The response to another request, which is in flight, may answer this one. Wait, and ask again.
    Wait(Arc<Flight>),
    /// The host is to ask the component.
    Fetch(Box<Fetch>),
    /// The client wants a stored response, and there is none: 504 (RFC 9111, 5.2.1.7).
    OnlyIfCached,
}

impl Space {
    /// Looks up a response to a request. `turn` is what the last wait has returned.
    pub fn ask(self: &Arc<Self>, asked: &Asked<'_>, now: Instant, turn: Turn) -> Ask {
        let kind = match *asked.method {
            Method::GET if !asked.has_body => Kind::Get,
            Method::HEAD if !asked.has_body => Kind::Head,
            _ => return self.pass(asked, now, Reason::Method),
        };
        let address = self.address(asked.https, asked.authority, asked.path);
        if address.bytes() > key::MAX_BYTES || conditional::is_for_origin(asked.headers) {
            return self.pass(asked, now, Reason::Bypass);
        }
        let request = self.directives(asked.headers);
        let hash = self.state.store.hash(&address);
        let (sought, begun) = self.look((asked, kind, &request), (hash, &address), now, turn);
        let fetch = |stale: Option<Arc<Entry>>, reason, flight| {
            let fetch = Fetch::new(self.clone(), kind, asked, hash, address.to_key(), now);
            Box::new(fetch.with(stale, reason, flight, asked.may_store()))
        };
        match (sought, begun) {
            (Sought::Answers(entry), _) => {
                let (how, outcome) = match turn {
                    Turn::Again => (How::Collapsed, Outcome::Collapsed),
                    _ => (How::Hit, Outcome::Hit),
                };
                Ask::Answer(entry.answer(asked.method, asked.headers, now, how), outcome)
            }
            (Sought::AnswersStale(entry, refreshes), begun) => {
                let answer = entry.answer(asked.method, asked.headers, now, How::Hit);
                if !refreshes || matches!(begun, Begun::Follows(_)) {
                    return Ask::Answer(answer, Outcome::Stale);
                }
                entry.refresh_begins(now);
                let refresh = fetch(Some(entry), Reason::Stale, begun.flight());
                Ask::Refresh(answer, Box::new(refresh.in_background()))
            }
            (_, Begun::Follows(flight)) => Ask::Wait(flight),
            (Sought::Absent(_, _) | Sought::Unusable(..), begun) if request.only_if_cached => {
                self.end(hash, &begun);
                Ask::OnlyIfCached
            }
            (Sought::Absent(_, reason), begun) => Ask::Fetch(fetch(None, reason, begun.flight())),
            (Sought::Unusable(entry, reason), begun) => {
                Ask::Fetch(fetch(Some(entry), reason, begun.flight()))
            }
        }
    }

    /// Looks up a response, and registers the request to the component if there is none.
    fn look(
        &self,
        (asked, kind, request): (&Asked<'_>, Kind, &Directives),
        (hash, address): (u64, &Address<'_>),
        now: Instant,
        turn: Turn,
    ) -> (Sought, Begun) {
        let store = &self.state.store;
        let mut removed = Vec::new();
        let looked = store.with(hash, |shard| {
            let found = shard.find(hash, address, asked.headers, self.epoch(), &mut removed);
            let sought = Sought::new(found, kind, (asked, request), now);
            if !sought.asks_component() {
                return (sought, Begun::Alone);
            }
            if turn == Turn::Again {
                // The stored response cannot answer other requests, so they would wait in vain.
                shard.do_not_collapse(hash, now);
            }
            let collapses = turn == Turn::First && sought.collapses(kind, asked, request);
            let selection = sought.entry().map(|known| &known.head.selection);
            let selected = selection.map_or(0, |selection| store.hash_selected(selection, asked.headers));
            let begun = shard.begin(hash, selected, collapses, now);
            (sought, begun)
        });
        store.counts.invalidated.inc_by(removed.len() as u64);
        looked
    }

    /// A request that bypasses the cache. Its response may invalidate stored responses.
    fn pass(self: &Arc<Self>, asked: &Asked<'_>, now: Instant, reason: Reason) -> Ask {
        let address = self.address(asked.https, asked.authority, asked.path);
        let fetch = Fetch::new(self.clone(), Kind::Other, asked, 0, address.to_key(), now);
        Ask::Fetch(Box::new(fetch.with(None, reason, None, false)))
    }

    fn end(&self, hash: u64, begun: &Begun) {
        match begun {
            Begun::Follows(_) => {}
            Begun::Alone => self.state.store.with(hash, |shard| shard.end(hash, None)),
            Begun::Leads(flight) => {
                self.state.store.with(hash, |shard| shard.end(hash, Some(flight)));
                flight.set(Phase::NotStored);
            }
        }
    }

    /// The directives of a request, if they count.
    fn directives(&self, headers: &HeaderMap) -> Directives {
        if !self.state.settings.request_directives {
            return Directives::default();
        }
        let mut directives = Directives::parse(headers.get_all(header::CACHE_CONTROL));
        // RFC 9111, 5.4.
        if !headers.contains_key(header::CACHE_CONTROL) {
            let mut pragma = headers.get_all(header::PRAGMA).iter().map(HeaderValue::as_bytes);
            directives.no_cache = pragma.any(|pragma| pragma.eq_ignore_ascii_case(b"no-cache"));
        }
        directives
    }
}

/// What a lookup in the store has found for a request.
enum Sought {
    /// A response that answers the request.
    Answers(Arc<Entry>),
    /// A stale response that answers the request. Whether it is to be refreshed.
    AnswersStale(Arc<Entry>, bool),
    /// A response that may answer the request once the component has validated it.
    Unusable(Arc<Entry>, Reason),
    /// No response, or only some (of which this is one) that answer other requests.
    Absent(Option<Arc<Entry>>, Reason),
}

impl Sought {
    fn new(found: Found, kind: Kind, (asked, request): (&Asked<'_>, &Directives), now: Instant) -> Self {
        let entry = match found {
            Found::Nothing => return Self::Absent(None, Reason::UriMiss),
            Found::Others(other) => return Self::Absent(Some(other), Reason::VaryMiss),
            Found::Entry(entry) => entry,
        };
        let (age, freshness) = (entry.age(now), entry.head.freshness);
        if entry.satisfies(request, age) {
            return Self::Answers(entry);
        }
        if *request != Directives::default() && freshness.is_fresh(age) {
            return Self::Unusable(entry, Reason::Request);
        }
        if !request.refuses_stale() && freshness.may_refresh_later(age) {
            // A refresh gets the body too, and stores it.
            let refreshes = kind == Kind::Get && entry.is_refresh_due(now) && asked.may_store();
            return Self::AnswersStale(entry, refreshes);
        }
        Self::Unusable(entry, Reason::Stale)
    }

    fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Answers(entry) | Self::AnswersStale(entry, _) | Self::Unusable(entry, _) => Some(entry),
            Self::Absent(other, _) => other.as_ref(),
        }
    }

    /// Whether a request to the component follows.
    fn asks_component(&self) -> bool {
        match self {
            Self::Answers(_) => false,
            Self::AnswersStale(_, refreshes) => *refreshes,
            Self::Unusable(..) | Self::Absent(..) => true,
        }
    }

    /// Whether requests like this one wait for one another.
    fn collapses(&self, kind: Kind, asked: &Asked<'_>, request: &Directives) -> bool {
        if let Self::AnswersStale(..) = self {
            return true;
        }
        if kind != Kind::Get || asked.is_authenticated || *request != Directives::default() {
            return false;
        }
        // Nobody else can use a response that is not stored.
        if !asked.may_store() {
            return false;
        }
        let has = |name| asked.headers.contains_key(name);
        match self {
            // The cache's preconditions replace the client's.
            Self::Unusable(entry, _) if conditional::has_validator(&entry.head.headers) => {
                !has(header::AUTHORIZATION)
            }
            _ => {
                !(has(header::AUTHORIZATION)
                    || has(header::RANGE)
                    || has(header::IF_NONE_MATCH)
                    || has(header::IF_MODIFIED_SINCE))
            }
        }
    }
}

impl Begun {
    fn flight(self) -> Option<Arc<Flight>> {
        match self {
            Self::Leads(flight) => Some(flight),
            Self::Alone | Self::Follows(_) => None,
        }
    }
}
