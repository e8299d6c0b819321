//! A page of a user's gists: from the cache, from GitHub, or from the cache because GitHub fails.

mod fetch;
mod token;

use std::rc::Rc;
use std::time::Duration;

use crate::app::{App, Configured};
use crate::cache::entry::Content;
use crate::cache::freshness::Freshness;
use crate::cache::tally::Tally;
use crate::cache::{Found, LookUpKeys};
use crate::github::answer::UpstreamFailure;
use crate::github::gist;
use crate::github::link::Relations;
use crate::metrics::{Counter, StaleReason};
use crate::pages::fetch::{Fetched, PageFetch};
use crate::ports::{Platform, Request, StoreError};
use crate::recent::RecentPage;
use crate::response::conditional::{self, CacheStatus, Detail, Forwarded};
use crate::response::error::{Error, Refusal};
use crate::response::{self, GistsHead, PageLinks, Response};
use crate::singleflight::lease::LeaseLimits;
use crate::upstream::failure::PageFailure;
use crate::upstream::outcome::{ContentSource, Outcome};

/// Answers `GET /{username}` and `GET /users/{username}/gists`. The request arrived at `started` (monotonic).
pub(crate) async fn handle<P: Platform>(
    app: &Rc<App<P>>,
    request: &impl Request,
    page: RecentPage,
    started: Duration,
) -> Result<Response, Refusal> {
    let configured = app.configured()?;
    let now = app.platform.system_at(started);
    let RecentPage { target, keys } = page;
    let fetch = PageFetch { target, generation: None, gone_at: Duration::ZERO };
    let mut handler = PageHandler { app, configured, request, keys, fetch };
    match handler.look_up(now).await {
        Found::Content(content, Freshness::Fresh) => Ok(handler.hit(content, None, now)),
        Found::Content(content, Freshness::StaleWhileRevalidate) => {
            fetch::refresh(app, configured, &handler.fetch);
            app.stats.add(Counter::Stale(StaleReason::Revalidate), 1);
            Ok(handler.hit(content, Some(Detail::Revalidating), now))
        }
        Found::Content(content, Freshness::StaleIfError) => handler.fetch(Some(content), true).await,
        Found::Content(_, Freshness::Expired) => handler.fetch(None, true).await,
        Found::Absent(until) => Err(handler.remembered_absence(until, now)),
        Found::Nothing { gone_at } => {
            handler.fetch.gone_at = gone_at;
            handler.fetch(None, false).await
        }
    }
}

/// The handling of one request for a page.
struct PageHandler<'a, P: Platform, R> {
    app: &'a Rc<App<P>>,
    configured: &'a Rc<Configured>,
    request: &'a R,
    keys: Rc<LookUpKeys>,
    fetch: PageFetch,
}

impl<P: Platform, R: Request> PageHandler<'_, P, R> {
    /// Looks the page up in the cache. A store that fails has nothing stored.
    async fn look_up(&mut self, now: Duration) -> Found {
        match self.try_look_up(now).await {
            Ok(found) => found,
            Err(error) => {
                self.app.report_cache_error(&error);
                self.fetch.generation = None;
                Found::Nothing { gone_at: Duration::ZERO }
            }
        }
    }

    async fn try_look_up(&mut self, now: Duration) -> Result<Found, StoreError> {
        let cache = self.app.cache(&self.configured.settings)?;
        let (generation, found) = if self.fetch.target.query.use_cache {
            cache.look_up(&self.app.platform, self.fetch.page(), &self.keys, now).await?
        } else {
            (cache.generation(&self.app.platform).await?, Found::Nothing { gone_at: Duration::ZERO })
        };
        self.fetch.generation = Some(generation);
        Ok(found)
    }

    /// Asks GitHub, or joins the request that does. `stale` is answered if that fails. `was_stored` says whether an entry
    /// is stored, even if it is too old to be answered.
    async fn fetch(&self, stale: Option<Content>, was_stored: bool) -> Result<Response, Refusal> {
        let limits = LeaseLimits::for_timeout(self.configured.settings.upstream_timeout);
        // Without a stale entry, it is worth waiting until another process takes over an expired lease.
        let timeout = match stale {
            Some(_) => limits.give_up,
            None => limits.lease + limits.give_up,
        };
        let Fetched { outcome, is_follower } =
            fetch::fetch(self.app, self.configured, &self.fetch, timeout).await;
        let now = self.app.platform.system();
        match (outcome, stale) {
            (Outcome::Content(content, source), _) => {
                let cache_status = self.forwarded(source, is_follower, was_stored);
                self.count_miss();
                Ok(self.respond(Rc::unwrap_or_clone(content), false, cache_status, now))
            }
            (Outcome::Failed(failure), Some(stale)) if failure.allows_stale() => {
                self.app.stats.add(Counter::Stale(StaleReason::Error), 1);
                Ok(self.hit(stale, Some(failure.detail()), now))
            }
            (Outcome::Failed(failure), _) => {
                self.count_miss();
                Err(self.refused(failure, is_follower, now))
            }
        }
    }

    fn hit(&self, content: Content, detail: Option<Detail>, now: Duration) -> Response {
        self.count_hit();
        let ttl = response::ttl(content.fresh_until, now);
        self.respond(content, true, CacheStatus::Hit { ttl: Some(ttl), detail }, now)
    }

    fn forwarded(&self, source: ContentSource, is_follower: bool, was_stored: bool) -> CacheStatus {
        let collapsed = is_follower || matches!(source, ContentSource::Stored | ContentSource::Elsewhere);
        let stored = !collapsed && self.fetch.generation.is_some();
        let (reason, status) = match (self.fetch.target.query.use_cache, source) {
            (false, ContentSource::Revalidated) if !is_follower => (Forwarded::Bypass, Some(304)),
            (false, _) => (Forwarded::Bypass, None),
            (true, ContentSource::Revalidated) if !is_follower => (Forwarded::Stale, Some(304)),
            (true, ContentSource::Fetched) if !is_follower && was_stored => (Forwarded::Stale, Some(200)),
            (true, _) => (Forwarded::UriMiss, None),
        };
        CacheStatus::Forward { reason, status, stored, collapsed, detail: None }
    }

    fn respond(&self, content: Content, hit: bool, cache_status: CacheStatus, now: Duration) -> Response {
        let is_cacheable = self.fetch.target.query.use_cache;
        let head = GistsHead {
            etag: content.etag,
            lifetime: is_cacheable.then(|| response::lifetime(content.stored_at, content.fresh_until, now)),
            cache_status,
            links: PageLinks {
                target: Rc::clone(&self.fetch.target),
                relations: Relations { next: content.has_next, prev: content.has_prev },
            },
        };
        let cors = self.configured.cors.as_ref();
        if self.client_has(content.etag) {
            return Response::not_modified(head, cors);
        }
        let mut body = content.body;
        gist::complete(&mut body, hit, self.configured.settings.cache_ttl.as_secs());
        Response::gists(head, body, cors)
    }

    /// Whether `If-None-Match` says that the client has this page.
    fn client_has(&self, etag: [u8; 16]) -> bool {
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

    /// The 404 that the cache remembers until `until`.
    fn remembered_absence(&self, until: Duration, now: Duration) -> Refusal {
        self.count_hit();
        let failure = PageFailure { failure: UpstreamFailure::NoSuchUser, until };
        Refusal {
            error: failure.error(self.fetch.target.username.as_asked(), now),
            cache_status: Some(CacheStatus::Hit { ttl: None, detail: None }),
        }
    }

    fn refused(&self, failure: PageFailure, collapsed: bool, now: Duration) -> Refusal {
        let use_cache = self.fetch.target.query.use_cache;
        let reason = if use_cache { Forwarded::UriMiss } else { Forwarded::Bypass };
        let is_rate_limit = matches!(failure.failure, UpstreamFailure::RateLimited { .. });
        let mut error = failure.error(self.fetch.target.username.as_asked(), now);
        if let (false, Error::UserNotFound { max_age, .. }) = (use_cache, &mut error) {
            *max_age = None;
        }
        let cache_status = CacheStatus::Forward {
            reason,
            status: None,
            stored: false,
            collapsed,
            detail: is_rate_limit.then_some(Detail::RateLimited),
        };
        Refusal { error, cache_status: Some(cache_status) }
    }

    fn count_hit(&self) {
        self.app.stats.add(Counter::Hits, 1);
        if let Some(generation) = self.fetch.generation {
            self.app.tallies.add(generation, Tally::HIT);
        }
    }

    fn count_miss(&self) {
        self.app.stats.add(Counter::Misses, 1);
        if let Some(generation) = self.fetch.generation.filter(|_| self.fetch.target.query.use_cache) {
            self.app.tallies.add(generation, Tally::MISS);
        }
    }
}
