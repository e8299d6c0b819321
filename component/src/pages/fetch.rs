//! Fetching a page from GitHub into the cache. All requests for the same page share one fetch, which runs in a task of
//! its own and outlives the clients that wait for it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::app::{App, Configured};
use crate::cache::entry::{Content, FailureRecord, Record};
use crate::cache::freshness;
use crate::cache::key::{Generation, PageKey, entry_key};
use crate::cache::{self, ABSENT_TTL, Cache};
use crate::github::answer::{self, Quota, UpstreamFailure};
use crate::github::client::{Client, Observer, Reply};
use crate::github::gist::Listing;
use crate::github::http_date;
use crate::github::link::Relations;
use crate::github::version::{self, VersionNotice};
use crate::metrics::limits::GitHubLimits;
use crate::metrics::{Counter, GitHubStatus};
use crate::pages::token::TokenSource;
use crate::ports::{FetchError, FetchResponse, Level, Platform, StoreError};
use crate::request::target::PageTarget;
use crate::settings::{Secret, Settings};
use crate::singleflight::call::{Call, Joined};
use crate::singleflight::lease::{Acquisition, HeldLease, Lease, LeaseLimits};
use crate::time::millis;
use crate::upstream::failure::PageFailure;
use crate::upstream::gate::{Change, Closing, Gate, Reason, Reserve};
use crate::upstream::outcome::{ContentSource, Outcome};
use crate::upstream::permits::Permit;

/// The first pause between two attempts to release a lease. Each further pause is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// What a fetch needs to know about the page.
#[derive(Debug, Clone)]
pub(super) struct PageFetch {
    /// Whose gists, which page, and whether a stored page may be used.
    pub(super) target: Rc<PageTarget>,
    /// The generation to write to; `None` if the cache's store fails.
    pub(super) generation: Option<Generation>,
    /// Pages that were stored until this time, since the Unix epoch, do not count: GitHub said then that the user is gone.
    pub(super) gone_at: Duration,
}

impl PageFetch {
    /// The page's key in the cache.
    pub(super) fn page(&self) -> PageKey<'_> {
        let PageTarget { user, query, .. } = &*self.target;
        PageKey { user, page: query.page.get(), per_page: query.per_page.get() }
    }

    fn entry_key(&self) -> Option<String> {
        self.generation.map(|generation| entry_key(generation, self.page()))
    }

    /// The key of the singleflight call.
    fn call_key(&self) -> String {
        let PageKey { user, page, per_page } = self.page();
        self.entry_key().unwrap_or_else(|| format!("no store:{user}:{page}:{per_page}"))
    }
}

/// The outcome of [`fetch`].
pub(super) struct Fetched {
    /// The page, or why there is none.
    pub(super) outcome: Outcome,
    /// Whether this request was a follower: another request of this instance caused the fetch.
    pub(super) is_follower: bool,
}

/// Fetches a page, or joins the fetch that is in flight. Gives up after `timeout`; the fetch itself continues.
pub(super) async fn fetch<P: Platform>(
    app: &Rc<App<P>>,
    configured: &Rc<Configured>,
    page: &PageFetch,
    timeout: Duration,
) -> Fetched {
    let deadline = app.platform.monotonic() + timeout;
    // A request that bypasses the cache needs an answer of GitHub's. The call that it joins may have found a stored
    // page instead; then the request makes a second call.
    for _ in 0..2 {
        let (call, is_follower) = join(app, configured, page);
        match call.outcome(&app.platform, deadline).await {
            Some(Outcome::Content(_, ContentSource::Stored))
                if is_follower && !page.target.query.use_cache => {}
            Some(outcome) => return Fetched { outcome, is_follower },
            None if app.platform.monotonic() >= deadline => break,
            None => {}
        }
    }
    Fetched { outcome: Outcome::Failed(UpstreamFailure::Timeout.into()), is_follower: true }
}

/// Starts to fetch a page, unless that is in flight already. Does not wait.
pub(super) fn refresh<P: Platform>(app: &Rc<App<P>>, configured: &Rc<Configured>, page: &PageFetch) {
    let _call = join(app, configured, page);
}

/// Joins the call for `page`, and starts the leader's task if there was none. The second value says whether the caller
/// is a follower.
fn join<P: Platform>(
    app: &Rc<App<P>>,
    configured: &Rc<Configured>,
    page: &PageFetch,
) -> (Rc<Call<P, Outcome>>, bool) {
    let Joined { call, leader } = app.fetches.join(page.call_key());
    let Some(leader) = leader else { return (call, true) };
    let task = FetchTask {
        app: Rc::clone(app),
        configured: Rc::clone(configured),
        page: page.clone(),
        quota: Cell::default(),
        notice: Cell::default(),
        held: Cell::default(),
    };
    app.platform.spawn(async move {
        let outcome = task.run().await;
        task.app.flush_soon();
        leader.complete(outcome);
        task.clean_up().await;
    });
    // Requests that wait for this fetch must appear in `http_requests_active`.
    app.flush_soon();
    (call, false)
}

/// The task of a singleflight call's leader.
struct FetchTask<P: Platform> {
    app: Rc<App<P>>,
    configured: Rc<Configured>,
    page: PageFetch,
    /// The quota in GitHub's last answer to this task.
    quota: Cell<Option<Quota>>,
    /// What GitHub's last answer to this task says about the API version.
    notice: Cell<Option<VersionNotice>>,
    /// The lease that the task holds and has to release.
    held: Cell<Option<HeldLease>>,
}

impl<P: Platform> FetchTask<P> {
    /// Fetches the page under the lease. If the cache's store fails, asks GitHub without it.
    async fn run(&self) -> Outcome {
        let limits = LeaseLimits::for_timeout(self.configured.settings.upstream_timeout);
        if let (Some(key), Some(generation)) = (self.page.entry_key(), self.page.generation) {
            let result = match self.app.cache(&self.configured.settings) {
                Ok(cache) => self.run_leased(&cache, generation, &key, limits).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(outcome) => return outcome,
                Err(error) => self.app.report_cache_error(&error),
            }
        }
        let deadline = self.app.platform.monotonic() + limits.give_up;
        let reply = self.ask(None, None, deadline).await;
        self.outcome_of_reply(None, reply)
    }

    /// Releases the lease and renews the generation. Runs after the outcome is delivered.
    async fn clean_up(&self) {
        if self.page.generation.is_none() {
            return;
        }
        let cleaned_up = match self.app.cache(&self.configured.settings) {
            Ok(cache) => {
                self.release(&cache).await;
                cache.renew(self.app.platform.system()).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = cleaned_up {
            self.app.report_cache_error(&error);
        }
    }

    /// Removes the keys of the lease that this task holds. Tries again with growing pauses until the store accepts that or
    /// the lease is over, so that no request waits for a lease that nobody holds.
    async fn release(&self, cache: &Cache<P::Store>) {
        let (Some(key), Some(held)) = (self.page.entry_key(), self.held.take()) else { return };
        let limits = LeaseLimits::for_timeout(self.configured.settings.upstream_timeout);
        let lease = Lease { store: &**cache.store(), clock: &self.app.platform, key: &key, limits };
        let mut pause = FIRST_RETRY;
        while let Err(error) = lease.release(held).await {
            self.app.report_cache_error(&error);
            self.app.platform.sleep(pause).await;
            pause *= 2;
        }
    }

    async fn run_leased(
        &self,
        cache: &Cache<P::Store>,
        generation: Generation,
        key: &str,
        limits: LeaseLimits,
    ) -> Result<Outcome, StoreError> {
        let platform = &self.app.platform;
        let lease = Lease { store: &**cache.store(), clock: platform, key, limits };
        let gate = self.gate(cache).await?;
        // A request that the reserve refuses writes nothing: its record would displace another one.
        let is_stored = !gate.reserve.is_reached(platform.system(), 0)
            || lease.read().await?.is_some_and(|record| record.content.is_some());
        if let Some(failure) = self.closed_by(gate, is_stored, 0) {
            return Ok(Outcome::Failed(failure));
        }
        let deadline = platform.monotonic() + limits.lease + limits.give_up;
        let credential = self.configured.credential;
        let is_usable = |record: &Record| {
            self.page.target.query.use_cache
                && cache::is_usable(record, platform.system(), self.page.gone_at, credential)
        };
        // The failure of another credential says nothing about ours.
        let is_foreign = |record: &Record| {
            record.failure.is_some_and(|failure| !failure.is_not_stored() && failure.credential != credential)
        };
        let acquisition = loop {
            let acquisition = lease.acquire(is_usable, deadline).await?;
            if !matches!(&acquisition, Acquisition::Elsewhere(record) if is_foreign(record)) {
                break acquisition;
            }
        };
        let (held, record) = match acquisition {
            Acquisition::Acquired(held, record) => (Some(held), record),
            // The store refused the page that the holder got.
            Acquisition::Elsewhere(record)
                if record.failure.as_ref().is_some_and(FailureRecord::is_not_stored) =>
            {
                (None, Some(record))
            }
            Acquisition::Usable(record) => return Ok(self.outcome_of_record(record, ContentSource::Stored)),
            Acquisition::Elsewhere(record) => {
                return Ok(self.outcome_of_record(record, ContentSource::Elsewhere));
            }
            Acquisition::TimedOut => return Ok(Outcome::Failed(UpstreamFailure::Timeout.into())),
        };
        Ok(self.fetch_page(cache, generation, &lease, held, record.as_ref()).await)
    }

    /// Asks GitHub. The holder of the lease also writes the outcome, and has to release the lease later.
    async fn fetch_page(
        &self,
        cache: &Cache<P::Store>,
        generation: Generation,
        lease: &Lease<'_, P::Store, P>,
        held: Option<HeldLease>,
        record: Option<&Record>,
    ) -> Outcome {
        let stored = record.and_then(|record| record.content.as_ref());
        let since = held.map_or_else(|| self.app.platform.monotonic(), |held| held.since);
        let reply = self.ask(Some(cache), stored, since + lease.limits.give_up).await;
        let outcome = self.outcome_of_reply(stored, reply);
        self.held.set(held);
        // After L another process may hold the lease, and a write would end that lease.
        if held.is_some_and(|held| lease.is_live(held))
            && let Err(error) = self.store(cache, generation, lease.key, record, &outcome).await
        {
            self.app.report_cache_error(&error);
        }
        outcome
    }

    /// The outcome that another process wrote.
    fn outcome_of_record(&self, record: Record, source: ContentSource) -> Outcome {
        let is_fresh = |content: &Content| {
            self.app.platform.system() < content.fresh_until && cache::is_after(content, self.page.gone_at)
        };
        match (record.content, record.failure) {
            (Some(content), None) => Outcome::Content(Rc::new(content), source),
            (Some(content), Some(_)) if source == ContentSource::Stored && is_fresh(&content) => {
                Outcome::Content(Rc::new(content), source)
            }
            (_, Some(failure)) => Outcome::Failed(PageFailure::from_record(&failure)),
            (None, None) => Outcome::Failed(UpstreamFailure::Invalid.into()),
        }
    }

    /// Waits for a permit, then asks GitHub if the rate-limit gate is open. `stored` is the stored page.
    async fn ask(
        &self,
        cache: Option<&Cache<P::Store>>,
        stored: Option<&Content>,
        deadline: Duration,
    ) -> Result<Reply, PageFailure> {
        let (permit, store) = self.permit(cache.map(|cache| &**cache.store()), deadline).await;
        let Some(permit) = permit else { return Err(UpstreamFailure::Timeout.into()) };
        let (gate, others) = match cache {
            Some(cache) => {
                let gate = self.gate_with_others(cache, &permit, store, stored.is_some()).await;
                gate.unwrap_or_else(|error| {
                    self.app.report_cache_error(&error);
                    Default::default()
                })
            }
            None => Default::default(),
        };
        let reply = match self.closed_by(gate, stored.is_some(), others) {
            Some(failure) => Err(failure),
            None => match self.send_with_token(stored, store, deadline).await {
                Ok(reply) => {
                    self.warn_of_version(store).await;
                    self.update_gate(cache, gate, reply).await
                }
                Err(failure) => Err(failure),
            },
        };
        if let Err(error) = permit.release(store).await {
            self.app.report_cache_error(&error);
        }
        reply
    }

    /// A permit, and the store that it is in. If the store fails, only the permits of this instance count.
    async fn permit<'s>(
        &self,
        store: Option<&'s P::Store>,
        deadline: Duration,
    ) -> (Option<Permit<'_>>, Option<&'s P::Store>) {
        let (platform, settings) = (&self.app.platform, &self.configured.settings);
        let period = LeaseLimits::for_timeout(settings.upstream_timeout).lease;
        let limit = settings.upstream_concurrency;
        match self.app.permits.acquire(platform, store, limit, period, deadline).await {
            Ok(permit) => (permit, store),
            Err(error) => {
                self.app.report_cache_error(&error);
                let permit = self.app.permits.acquire(platform, None::<&P::Store>, limit, period, deadline);
                (permit.await.unwrap_or_default(), None)
            }
        }
    }

    /// Sends the request with the token that GitHub knows us by, if there is one. `store` keeps the token of an app; if GitHub
    /// refuses that, the request is sent once more with a new one.
    async fn send_with_token(
        &self,
        stored: Option<&Content>,
        store: Option<&P::Store>,
        deadline: Duration,
    ) -> Result<Reply, PageFailure> {
        let settings = &self.configured.settings;
        let Some(app) = &settings.github_app else {
            return Ok(self.send(settings.github_token.as_ref(), stored, deadline).await);
        };
        let tokens = TokenSource::new(&self.app, &self.configured, app);
        let token = tokens.token(store, deadline).await?;
        let reply = self.send(Some(&token), stored, deadline).await;
        if reply != Reply::Failed(UpstreamFailure::Unauthorized) {
            return Ok(reply);
        }
        tokens.forget(store, &token).await;
        let token = tokens.token(store, deadline).await?;
        Ok(self.send(Some(&token), stored, deadline).await)
    }

    async fn send(&self, token: Option<&Secret>, stored: Option<&Content>, deadline: Duration) -> Reply {
        let now = self.app.platform.system();
        // Also for a request that bypasses the cache: a 304 is GitHub's present answer, and costs no quota with a token.
        let has_usable_validator = |content: &&Content| {
            content.credential == self.configured.credential
                && now.saturating_sub(content.fetched_at) < self.configured.settings.cache_refetch_after
        };
        let validator = stored.filter(has_usable_validator).and_then(|content| content.validator.as_deref());
        let client = Client {
            platform: &self.app.platform,
            settings: &self.configured.settings,
            token,
            observer: self,
            username: &self.page.target.username,
            query: self.page.target.query,
        };
        client.list_gists(validator, deadline).await
    }

    /// Logs what GitHub's answer says about the end of the API version.
    async fn warn_of_version(&self, store: Option<&P::Store>) {
        let Some(VersionNotice { retired, sunset }) = self.notice.take() else { return };
        let (level, label, message) = match retired {
            true => (
                Level::Error,
                "version_retired",
                "GitHub no longer supports the API version and sends no pages; set a newer version",
            ),
            false => (
                Level::Warn,
                "version_deprecated",
                "GitHub will end its support for the API version; set a newer version",
            ),
        };
        let sunset = sunset.map(http_date::day).unwrap_or_default();
        let fields = [
            ("setting", "github_api_version"),
            ("version", self.configured.settings.github_api_version.as_str()),
            ("sunset", sunset.as_str()),
        ];
        self.app.log_daily(store, level, label, message, &fields).await;
    }

    async fn gate(&self, cache: &Cache<P::Store>) -> Result<Gate, StoreError> {
        Gate::read(&**cache.store(), self.configured.credential).await
    }

    /// The gate's record, and how many other requests are under way if the reserve depends on that. `permit` is in `store`.
    async fn gate_with_others(
        &self,
        cache: &Cache<P::Store>,
        permit: &Permit<'_>,
        store: Option<&P::Store>,
        is_stored: bool,
    ) -> Result<(Gate, u32), StoreError> {
        let (platform, settings) = (&self.app.platform, &self.configured.settings);
        let period = LeaseLimits::for_timeout(settings.upstream_timeout).lease;
        let mut others = None;
        loop {
            // After the others have been counted, the record is read again. A request that is no longer under way wrote the
            // record before it released its permit.
            let gate = self.gate(cache).await?;
            if is_stored || others.is_some() || !gate.reserve.is_reached(platform.system(), u32::MAX) {
                return Ok((gate, others.unwrap_or_default()));
            }
            others = Some(permit.others(platform, store, settings.upstream_concurrency, period).await?);
        }
    }

    /// The failure of a request that finds `gate` closed; `None` if it is open. The request is about a page that is stored
    /// or not, and `others` are under way.
    #[inline(never)] // for the size of the component
    fn closed_by(&self, gate: Gate, is_stored: bool, others: u32) -> Option<PageFailure> {
        let now = self.app.platform.system();
        let Gate { closing, reserve } = gate;
        let until = if closing.period.contains(now) {
            if closing.reason == Reason::Credential {
                return Some(UpstreamFailure::Unauthorized.into());
            }
            closing.period.end()
        } else if !is_stored && reserve.is_reached(now, others) {
            self.app.stats.add(Counter::Reserved, 1);
            reserve.period.end()
        } else {
            return None;
        };
        Some(PageFailure { failure: UpstreamFailure::RateLimited { wait: None }, until })
    }

    /// Closes or opens the rate-limit gate as the reply demands. `gate` is its record before the request.
    async fn update_gate(
        &self,
        cache: Option<&Cache<P::Store>>,
        gate: Gate,
        reply: Reply,
    ) -> Result<Reply, PageFailure> {
        let now = self.app.platform.system();
        let Settings { github_rate_limit_reserve: percent, upstream_concurrency, .. } =
            self.configured.settings;
        let guesses = gate.closing.guesses;
        let open = Some(Closing::default());
        let (mut closing, reply) = match reply {
            Reply::Failed(failure @ UpstreamFailure::RateLimited { wait }) => {
                let closed = Closing::rate_limited(now, wait, guesses);
                (Some(closed), Err(PageFailure { failure, until: closed.period.end() }))
            }
            Reply::Failed(failure @ UpstreamFailure::Unauthorized) if self.configured.credential != 0 => {
                let (setting, message) = match self.configured.settings.github_app {
                    None => ("github_token", "GitHub refused the token; replace the token"),
                    Some(_) => (
                        "github_app_installation_id",
                        "GitHub refused a new token of the installation; check the installation",
                    ),
                };
                self.app.log(Level::Error, message, &[("setting", setting), ("status", "401")]);
                (Some(Closing::credential_refused(now, guesses)), Err(failure.into()))
            }
            Reply::Failed(failure @ UpstreamFailure::NoSuchUser) => {
                (open, Err(PageFailure { failure, until: now + ABSENT_TTL }))
            }
            Reply::Failed(failure) => (None, Err(failure.into())),
            Reply::Page(_) | Reply::NotModified(_) => (open, Ok(reply)),
        };
        // A 304 need not state the quota. Such an answer does not end the reserve.
        let quota = self.quota.take();
        if let Some(Quota { remaining: 0, renewed_in, .. }) = quota
            && closing.is_none_or(|closing| closing == Closing::default())
        {
            let guesses = closing.map_or(guesses, |open| open.guesses);
            closing = Some(Closing::rate_limited(now, Some(renewed_in), guesses));
        }
        let reserve = quota.map(|quota| Reserve::of_quota(now, quota, percent, upstream_concurrency));
        if let Some(store) = cache.map(|cache| &**cache.store())
            && let Err(error) =
                Gate::update(store, self.configured.credential, gate, Change { closing, reserve }, now).await
        {
            self.app.report_cache_error(&error);
        }
        reply
    }

    /// The outcome of GitHub's reply. `stored` is the page that a 304 confirms.
    fn outcome_of_reply(&self, stored: Option<&Content>, reply: Result<Reply, PageFailure>) -> Outcome {
        let platform = &self.app.platform;
        let now = Duration::from_millis(millis(platform.system()));
        let fresh_until = now + freshness::jittered(self.configured.settings.cache_ttl, platform.random());
        let credential = self.configured.credential;
        match (reply, stored) {
            (Ok(Reply::Page(page)), _) => {
                let content = Content {
                    body: page.listing.body,
                    stored_at: now,
                    fresh_until,
                    fetched_at: now,
                    validator: page.validator,
                    credential,
                    etag: page.listing.etag,
                    count: page.listing.count,
                    has_next: page.relations.next,
                    has_prev: page.relations.prev,
                };
                Outcome::Content(Rc::new(content), ContentSource::Fetched)
            }
            (Ok(Reply::NotModified(relations)), Some(stored)) => {
                let content = Content { stored_at: now, fresh_until, credential, ..stored.clone() };
                let content = match relations {
                    Some(relations) => self.with_relations(content, relations),
                    None => content,
                };
                Outcome::Content(Rc::new(content), ContentSource::Revalidated)
            }
            (Ok(Reply::NotModified(_)), None) => Outcome::Failed(UpstreamFailure::Invalid.into()),
            (Ok(Reply::Failed(failure)), _) => Outcome::Failed(failure.into()),
            (Err(failure), _) => Outcome::Failed(failure),
        }
    }

    /// The page with the neighbours that a 304 names. The gists are the same.
    fn with_relations(&self, content: Content, after: Relations) -> Content {
        let before = Relations { next: content.has_next, prev: content.has_prev };
        if after == before {
            return content;
        }
        let page = (self.page.target.query.page, self.page.target.query.per_page);
        match Listing::with_relations((&content.body, content.count), page, before, after) {
            Some(Listing { body, etag, .. }) => {
                Content { body, etag, has_next: after.next, has_prev: after.prev, ..content }
            }
            None => content,
        }
    }

    /// Writes the outcome, also if it is a failure: processes that wait for the lease look for a new revision. If the
    /// store refuses the outcome, perhaps because the page is too large, writes as much of the record as it accepts.
    async fn store(
        &self,
        cache: &Cache<P::Store>,
        generation: Generation,
        key: &str,
        before: Option<&Record>,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let platform = &self.app.platform;
        let before_content = before.and_then(|record| record.content.as_ref());
        // What GitHub says of the user holds for all of the user's pages.
        let absence = match outcome {
            // The request bypassed what the cache remembers.
            Outcome::Content(..) => (!self.page.target.query.use_cache).then_some(None),
            Outcome::Failed(failure) => failure
                .drops_entry()
                .then(|| Some(failure.to_record(platform.system(), self.configured.credential))),
        };
        if let Some(gone) = absence
            && let Err(error) = cache.put_absence(platform, generation, &self.page.target.user, gone).await
        {
            self.app.report_cache_error(&error);
        }
        let mut record = FailureRecord {
            at: platform.system(),
            kind: FailureRecord::NOT_STORED,
            status: 0,
            until: Duration::ZERO,
            credential: self.configured.credential,
        };
        // What to write, and what instead if the store refuses that.
        let (page, kept) = match outcome {
            Outcome::Content(content, _) => (Some(&**content), before_content),
            Outcome::Failed(failure) => {
                record = failure.to_record(record.at, record.credential);
                (None, before_content.filter(|_| !failure.drops_entry()))
            }
        };
        for (content, failure) in [(page, None), (kept, Some(record))] {
            if content.is_some() {
                match cache.put(platform, key, before, content, failure).await {
                    Ok(()) => return Ok(()),
                    Err(error) => self.app.report_cache_error(&error),
                }
            }
        }
        cache.put(platform, key, before, None, Some(record)).await
    }
}

impl<P: Platform> Observer for FetchTask<P> {
    fn exchanged(&self, result: Result<&FetchResponse, &FetchError>) {
        self.app.stats.add(Counter::GitHub(GitHubStatus::of(result)), 1);
        let Ok(response) = result else { return };
        let notice = version::notice(response);
        let limits = GitHubLimits {
            remaining: answer::remaining(response),
            sunset: notice.and_then(|notice| notice.sunset),
        };
        // A 304 need not say anything.
        if limits.remaining.is_some() || limits.sunset.is_some() {
            self.app.stats.set_github_limits(limits);
        }
        self.notice.set(notice);
        self.quota.set(answer::quota(response, self.app.platform.system()));
    }

    fn failed(&self, reason: &str) {
        let fields = [("user", self.page.target.username.as_asked()), ("reason", reason)];
        self.app.log_throttled(Level::Warn, "github", "request to GitHub failed", &fields);
    }
}
