//! A page of a user's gists: from the cache, from GitHub, or from the cache because GitHub fails.

use std::rc::Rc;
use std::time::Duration;

use crate::app::{App, Configured};
use crate::cache::Found;
use crate::cache::entry::Content;
use crate::cache::freshness::Freshness;
use crate::github::answer::Failure;
use crate::github::gist;
use crate::metrics::stats::Tally;
use crate::metrics::{Counter, StaleReason};
use crate::ports::{Platform, StoreError};
use crate::request::query;
use crate::request::route::Endpoint;
use crate::response::conditional::{self, CacheStatus, Detail, Forwarded};
use crate::response::error::Error;
use crate::response::link::Relations;
use crate::response::{self, Gists, Link, Response};
use crate::service::{Refusal, Request};
use crate::single_flight::fill::{self, Errand, Flown, Outcome, Source};
use crate::single_flight::lease::Limits;
use crate::single_flight::trouble::Trouble;

/// The route of a request for a page.
pub(crate) struct Asked<'a> {
    /// Which of the two.
    pub(crate) endpoint: Endpoint,
    /// The name, percent-decoded.
    pub(crate) name: &'a str,
    /// The query, as it is.
    pub(crate) raw_query: &'a str,
    /// When the request came (monotonic).
    pub(crate) started: Duration,
}

/// Answers `GET /{username}` and its other form.
pub(crate) async fn gists<P: Platform>(
    app: &Rc<App<P>>,
    request: &impl Request,
    asked: Asked<'_>,
) -> Result<Response, Refusal> {
    let (username, query) = query::validate(asked.name, asked.raw_query)?;
    let configured = app.configured()?;
    let now = app.platform.system_at(asked.started);
    let user = Rc::from(username.key());
    let mut visit =
        Visit { app, configured, request, asked, errand: Errand { username, user, query, generation: None } };
    match visit.look_up(now).await {
        Found::Content(content, Freshness::Fresh) => Ok(visit.hit(content, None, now)),
        Found::Content(content, Freshness::StaleWhileRevalidate) => {
            fill::refresh(app, configured, &visit.errand);
            app.stats.add(Counter::Stale(StaleReason::Revalidate), 1);
            Ok(visit.hit(content, Some(Detail::Revalidating), now))
        }
        Found::Content(content, Freshness::StaleIfError) => visit.fetch(Some(content), true).await,
        Found::Content(_, Freshness::Expired) => visit.fetch(None, true).await,
        Found::Absent(until) => Err(visit.remembered(until, now)),
        Found::Nothing => visit.fetch(None, false).await,
    }
}

/// One request for a page.
struct Visit<'a, P: Platform, R> {
    app: &'a Rc<App<P>>,
    configured: &'a Rc<Configured>,
    request: &'a R,
    asked: Asked<'a>,
    errand: Errand,
}

impl<P: Platform, R: Request> Visit<'_, P, R> {
    /// What the cache has. A store that fails has nothing.
    async fn look_up(&mut self, now: Duration) -> Found {
        match self.ask_cache(now).await {
            Ok(found) => found,
            Err(error) => {
                self.app.complain(&error);
                self.errand.generation = None;
                Found::Nothing
            }
        }
    }

    async fn ask_cache(&mut self, now: Duration) -> Result<Found, StoreError> {
        let cache = self.app.cache(&self.configured.settings)?;
        let generation = cache.generation(&self.app.platform).await?;
        self.errand.generation = Some(generation);
        if !self.errand.query.use_cache {
            return Ok(Found::Nothing);
        }
        cache.look_up(generation, self.errand.page(), now).await
    }

    /// Asks GitHub, alone or with others; `stale` is the answer if that fails. `was_stored` says that there was an
    /// entry, too old for that or not.
    async fn fetch(&self, stale: Option<Content>, was_stored: bool) -> Result<Response, Refusal> {
        let limits = Limits::for_timeout(self.configured.settings.upstream_timeout);
        let patience = match stale {
            Some(_) => limits.give_up,
            None => limits.lease + limits.give_up,
        };
        let Flown { outcome, joined } = fill::fly(self.app, self.configured, &self.errand, patience).await;
        let now = self.app.platform.system();
        match (outcome, stale) {
            (Outcome::Content(content, source), _) => {
                let cache_status = self.forwarded(source, joined, was_stored);
                self.count_miss();
                Ok(self.answer(Rc::unwrap_or_clone(content), false, cache_status, now))
            }
            (Outcome::Trouble(trouble), Some(stale)) if trouble.allows_stale() => {
                self.app.stats.add(Counter::Stale(StaleReason::Error), 1);
                Ok(self.hit(stale, Some(trouble.detail()), now))
            }
            (Outcome::Trouble(trouble), _) => {
                self.count_miss();
                Err(self.refused(trouble, joined, now))
            }
        }
    }

    fn hit(&self, content: Content, detail: Option<Detail>, now: Duration) -> Response {
        self.count_hit();
        let ttl = response::ttl(content.fresh_until, now);
        self.answer(content, true, CacheStatus::Hit { ttl: Some(ttl), detail }, now)
    }

    fn forwarded(&self, source: Source, joined: bool, was_stored: bool) -> CacheStatus {
        let collapsed = joined || matches!(source, Source::Store | Source::Elsewhere);
        let stored = !collapsed && self.errand.generation.is_some();
        let (reason, status) = match (self.errand.query.use_cache, source) {
            (false, _) => (Forwarded::Bypass, None),
            (true, Source::Revalidated) if !joined => (Forwarded::Stale, Some(304)),
            (true, Source::Fetched) if !joined && was_stored => (Forwarded::Stale, Some(200)),
            (true, _) => (Forwarded::UriMiss, None),
        };
        CacheStatus::Forward { reason, status, stored, collapsed, detail: None }
    }

    fn answer(&self, content: Content, hit: bool, cache_status: CacheStatus, now: Duration) -> Response {
        let may_be_kept = self.errand.query.use_cache;
        let gists = Gists {
            etag: content.etag,
            keeping: may_be_kept.then(|| response::keeping(content.stored_at, content.fresh_until, now)),
            cache_status,
            link: Link {
                endpoint: self.asked.endpoint,
                name: self.errand.username.as_asked().to_owned(),
                raw_query: self.asked.raw_query.to_owned(),
                asked: self.errand.query,
                relations: Relations { next: content.has_next, prev: content.has_prev },
            },
        };
        let cors = self.configured.cors.as_ref();
        if self.has_already(content.etag) {
            return Response::not_modified(gists, cors);
        }
        let mut body = content.body;
        gist::complete(&mut body, hit, self.configured.settings.cache_ttl.as_secs());
        Response::gists(gists, body, cors)
    }

    /// Whether the client says that it has this page.
    fn has_already(&self, etag: [u8; 16]) -> bool {
        let fields = self.request.header("if-none-match");
        if fields.is_empty() {
            return false;
        }
        let etag = conditional::etag(etag);
        fields
            .iter()
            .filter_map(|field| str::from_utf8(field).ok())
            .any(|field| conditional::if_none_match(field, &etag))
    }

    /// The 404 that was remembered until then.
    fn remembered(&self, until: Duration, now: Duration) -> Refusal {
        self.count_hit();
        let trouble = Trouble { failure: Failure::NoSuchUser, until };
        Refusal {
            error: trouble.error(self.errand.username.as_asked(), now),
            cache_status: Some(CacheStatus::Hit { ttl: None, detail: None }),
        }
    }

    fn refused(&self, trouble: Trouble, collapsed: bool, now: Duration) -> Refusal {
        let use_cache = self.errand.query.use_cache;
        let reason = if use_cache { Forwarded::UriMiss } else { Forwarded::Bypass };
        let detail = matches!(trouble.failure, Failure::RateLimited { .. }).then_some(Detail::RateLimited);
        let mut error = trouble.error(self.errand.username.as_asked(), now);
        if let (false, Error::UserNotFound { max_age, .. }) = (use_cache, &mut error) {
            *max_age = None;
        }
        Refusal {
            error,
            cache_status: Some(CacheStatus::Forward {
                reason,
                status: None,
                stored: false,
                collapsed,
                detail,
            }),
        }
    }

    fn count_hit(&self) {
        self.app.stats.add(Counter::Hits, 1);
        if let Some(generation) = self.errand.generation {
            self.app.stats.tally(generation, Tally::HIT);
        }
    }

    fn count_miss(&self) {
        self.app.stats.add(Counter::Misses, 1);
        if let Some(generation) = self.errand.generation.filter(|_| self.errand.query.use_cache) {
            self.app.stats.tally(generation, Tally::MISS);
        }
    }
}
