//! Getting a page from GitHub into the cache: together with whoever wants the same, and behind everybody's back.

use std::rc::Rc;
use std::time::Duration;

use crate::app::{App, Configured};
use crate::cache::entry::{self, Content, Record};
use crate::cache::freshness;
use crate::cache::{self, ABSENT_TTL, Cache, Generation, Page};
use crate::github::answer::Failure;
use crate::github::upstream::{self, Reply};
use crate::metrics::stats::Tally;
use crate::ports::{Level, Platform, StoreError};
use crate::request::query::GistQuery;
use crate::request::username::Username;
use crate::single_flight::flight::Flight;
use crate::single_flight::gate::{Gate, Reason};
use crate::single_flight::lease::{Lease, Limits, Turn};
use crate::single_flight::trouble::Trouble;

/// What is to be fetched.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Whose gists.
    pub username: Username,
    /// The name in its form for keys.
    pub user: Rc<str>,
    /// Which of them, and whether what is stored will do.
    pub query: GistQuery,
    /// Into which generation; `None` where the store fails.
    pub generation: Option<Generation>,
}

/// How an errand ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With this page.
    Content(Rc<Content>, Source),
    /// With none.
    Trouble(Trouble),
}

/// Where a page came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was there, just come.
    Store,
    /// GitHub was asked, and sent it.
    Fetched,
    /// GitHub was asked, and said that the stored one still holds.
    Revalidated,
    /// Another process got it while this one waited.
    Elsewhere,
}

/// An outcome, and whether another request of this instance caused it.
pub struct Flown {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether this request only joined.
    pub joined: bool,
}

impl Errand {
    /// The page, for the cache.
    #[must_use]
    pub fn page(&self) -> Page<'_> {
        Page { user: &self.user, page: self.query.page.get(), per_page: self.query.per_page.get() }
    }

    fn key(&self) -> Option<String> {
        self.generation.map(|generation| cache::entry_key(generation, self.page()))
    }

    /// What tells this errand from others in this instance.
    fn flight_key(&self) -> String {
        let Page { user, page, per_page } = self.page();
        self.key().unwrap_or_else(|| format!("no store:{user}:{page}:{per_page}"))
    }
}

/// Runs `errand` or joins it where it is under way, and waits until `patience` is over.
pub async fn fly<P: Platform>(
    app: &Rc<App<P>>,
    configured: &Rc<Configured>,
    errand: &Errand,
    patience: Duration,
) -> Flown {
    let deadline = app.platform.monotonic() + patience;
    // A request that insists on GitHub's word may find that the flight which it joined did not ask.
    for _ in 0..2 {
        let (flight, joined) = board(app, configured, errand);
        match flight.outcome(&app.platform, deadline).await {
            Some(Outcome::Content(_, Source::Store)) if joined && !errand.query.use_cache => {}
            Some(outcome) => return Flown { outcome, joined },
            None if app.platform.monotonic() >= deadline => break,
            None => {}
        }
    }
    Flown { outcome: Outcome::Trouble(Failure::Timeout.into()), joined: true }
}

/// Sees to it that `errand` is under way, without waiting for it.
pub fn refresh<P: Platform>(app: &Rc<App<P>>, configured: &Rc<Configured>, errand: &Errand) {
    let _flight = board(app, configured, errand);
}

/// The flight of `errand`, and whether it was under way already. The task that flies it outlives whoever caused it.
fn board<P: Platform>(
    app: &Rc<App<P>>,
    configured: &Rc<Configured>,
    errand: &Errand,
) -> (Rc<Flight<P, Outcome>>, bool) {
    let (flight, pilot) = app.flights.board(errand.flight_key());
    let Some(pilot) = pilot else { return (flight, true) };
    let fill = Fill { app: Rc::clone(app), configured: Rc::clone(configured), errand: errand.clone() };
    app.platform.spawn(async move {
        let outcome = fill.run().await;
        fill.app.flush_soon();
        pilot.land(outcome);
    });
    // What waits here for long is to be seen in the number of active requests.
    app.flush_soon();
    (flight, false)
}

/// An errand under way.
struct Fill<P: Platform> {
    app: Rc<App<P>>,
    configured: Rc<Configured>,
    errand: Errand,
}

impl<P: Platform> Fill<P> {
    /// Never fails: where the store does, GitHub is asked all the same.
    async fn run(&self) -> Outcome {
        let limits = Limits::for_timeout(self.configured.settings.upstream_timeout);
        if let (Some(key), Some(generation)) = (self.errand.key(), self.errand.generation) {
            let cache = self.app.cache(&self.configured.settings);
            let run = match cache {
                Ok(cache) => self.run_leased(&cache, generation, &key, limits).await,
                Err(error) => Err(error),
            };
            match run {
                Ok(outcome) => return outcome,
                Err(error) => self.app.complain(&error),
            }
        }
        let give_up = self.app.platform.monotonic() + limits.give_up;
        let reply = self.ask(None, None, give_up).await;
        self.conclude(None, reply)
    }

    async fn run_leased(
        &self,
        cache: &Cache<P::Store>,
        generation: Generation,
        key: &str,
        limits: Limits,
    ) -> Result<Outcome, StoreError> {
        let platform = &self.app.platform;
        if let Some(trouble) = self.gate(cache).await?.and_then(|gate| self.shut_by(gate)) {
            return Ok(Outcome::Trouble(trouble));
        }
        let lease = Lease { store: &**cache.store(), clock: platform, key, limits };
        let deadline = platform.monotonic() + limits.lease + limits.give_up;
        let will_do =
            |record: &Record| self.errand.query.use_cache && cache::is_good_enough(record, platform.system());
        match lease.take(will_do, deadline).await? {
            Turn::Found(record) => Ok(self.outcome_of(record, Source::Store)),
            Turn::Theirs(record) => Ok(self.outcome_of(record, Source::Elsewhere)),
            Turn::TooLate => Ok(Outcome::Trouble(Failure::Timeout.into())),
            Turn::Mine(held, record) => {
                let stored = record.as_ref().and_then(|record| record.content.as_ref());
                let reply = self.ask(Some(cache), stored, held.since + limits.give_up).await;
                let outcome = self.conclude(stored, reply);
                // After L another may be at it, and a write of ours would end its lease.
                if lease.is_live(held)
                    && let Err(error) = self.store(cache, generation, key, record.as_ref(), &outcome).await
                {
                    self.app.complain(&error);
                }
                if let Err(error) = lease.release(held).await {
                    self.app.complain(&error);
                }
                Ok(outcome)
            }
        }
    }

    /// What another's record says to this errand.
    fn outcome_of(&self, record: Record, source: Source) -> Outcome {
        let is_fresh = |content: &Content| self.app.platform.system() < content.fresh_until;
        match (record.content, record.failure) {
            (Some(content), None) => Outcome::Content(Rc::new(content), source),
            (Some(content), Some(_)) if source == Source::Store && is_fresh(&content) => {
                Outcome::Content(Rc::new(content), source)
            }
            (_, Some(failure)) => Outcome::Trouble(Trouble::of(&failure)),
            (None, None) => Outcome::Trouble(Failure::Invalid.into()),
        }
    }

    /// Asks GitHub, once it is this errand's turn and if the gate is open.
    async fn ask(
        &self,
        cache: Option<&Cache<P::Store>>,
        stored: Option<&Content>,
        give_up: Duration,
    ) -> Result<Reply, Trouble> {
        let platform = &self.app.platform;
        let limit = self.configured.settings.upstream_concurrency;
        let mut store = cache.map(|cache| &**cache.store());
        let lap = Limits::for_timeout(self.configured.settings.upstream_timeout).lease;
        let mut permit = self.app.permits.acquire(platform, store, limit, lap, give_up).await;
        if let Err(error) = &permit {
            self.app.complain(error);
            store = None;
            permit = self.app.permits.acquire(platform, store, limit, lap, give_up).await;
        }
        let Ok(Some(permit)) = permit else { return Err(Failure::Timeout.into()) };
        let gate = match cache {
            Some(cache) => self.gate(cache).await.unwrap_or_else(|error| {
                self.app.complain(&error);
                None
            }),
            None => None,
        };
        let reply = match gate.and_then(|gate| self.shut_by(gate)) {
            Some(trouble) => Err(trouble),
            None => {
                // Whoever insists on GitHub's word gets all of it.
                let is_of_use = |content: &&Content| {
                    self.errand.query.use_cache && content.credential == self.configured.credential
                };
                let validator = stored.filter(is_of_use).and_then(|content| content.validator.as_deref());
                let reply =
                    upstream::ask(&self.app, &self.configured, &self.errand, validator, give_up).await;
                self.pass_gate(cache, gate, reply).await
            }
        };
        if let Err(error) = permit.release(store).await {
            self.app.complain(&error);
        }
        reply
    }

    async fn gate(&self, cache: &Cache<P::Store>) -> Result<Option<Gate>, StoreError> {
        Gate::read(&**cache.store(), self.configured.credential).await
    }

    /// What a closed gate means for those who come to it.
    fn shut_by(&self, gate: Gate) -> Option<Trouble> {
        gate.is_closed(self.app.platform.system()).then_some(match gate.reason {
            Reason::RateLimit => Trouble { failure: Failure::RateLimited { wait: None }, until: gate.until },
            Reason::Credential => Failure::Unauthorized.into(),
        })
    }

    /// Closes or opens the gate as the reply says.
    async fn pass_gate(
        &self,
        cache: Option<&Cache<P::Store>>,
        gate: Option<Gate>,
        reply: Reply,
    ) -> Result<Reply, Trouble> {
        let now = self.app.platform.system();
        let (closed, reply) = match reply {
            Reply::Failed(failure @ Failure::RateLimited { wait }) => {
                let closed = Gate::rate_limited(now, wait, gate);
                (Some(closed), Err(Trouble { failure, until: closed.until }))
            }
            Reply::Failed(failure @ Failure::Unauthorized) if self.configured.credential != 0 => {
                self.app.log(Level::Error, "GitHub refuses the token of setting 'github_token' (401)");
                (Some(Gate::credential_refused(now)), Err(failure.into()))
            }
            Reply::Failed(failure @ Failure::NoSuchUser) => {
                (None, Err(Trouble { failure, until: now + ABSENT_TTL }))
            }
            Reply::Failed(failure) => return Err(failure.into()),
            Reply::Page(_) | Reply::NotModified => (None, Ok(reply)),
        };
        if let Some(store) = cache.map(|cache| &**cache.store()) {
            let credential = self.configured.credential;
            let written = match (closed, gate) {
                (Some(closed), _) => closed.write(store, credential).await,
                (None, Some(_)) => Gate::clear(store, credential).await,
                (None, None) => Ok(()),
            };
            if let Err(error) = written {
                self.app.complain(&error);
            }
        }
        reply
    }

    /// What the reply makes of what was stored.
    fn conclude(&self, stored: Option<&Content>, reply: Result<Reply, Trouble>) -> Outcome {
        let platform = &self.app.platform;
        let now = Duration::from_millis(entry::millis(platform.system()));
        let ttl = freshness::jittered(self.configured.settings.cache_ttl, platform.random());
        let (content, source) = match (reply, stored) {
            (Err(trouble), _) => return Outcome::Trouble(trouble),
            (Ok(Reply::Page(page)), _) => (*page, Source::Fetched),
            (Ok(Reply::NotModified), Some(stored)) => (stored.clone(), Source::Revalidated),
            (Ok(Reply::NotModified), None) => return Outcome::Trouble(Failure::Invalid.into()),
            (Ok(Reply::Failed(failure)), _) => return Outcome::Trouble(failure.into()),
        };
        let content = Content {
            stored_at: now,
            fresh_until: now + ttl,
            credential: self.configured.credential,
            ..content
        };
        Outcome::Content(Rc::new(content), source)
    }

    /// Writes the outcome, whatever it is: those who wait look for a new revision.
    async fn store(
        &self,
        cache: &Cache<P::Store>,
        generation: Generation,
        key: &str,
        before: Option<&Record>,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let platform = &self.app.platform;
        let change = match outcome {
            Outcome::Content(content, _) => {
                cache.put(platform, generation, key, before, Some(content), None).await?
            }
            Outcome::Trouble(trouble) => {
                let failure = trouble.at(platform.system());
                if trouble.failure == Failure::NoSuchUser {
                    cache.put_absent(platform, generation, &self.errand.user, failure).await?;
                }
                let kept =
                    before.and_then(|record| record.content.as_ref()).filter(|_| !trouble.drops_entry());
                cache.put(platform, generation, key, before, kept, Some(failure)).await?
            }
        };
        if matches!(outcome, Outcome::Content(..)) && !self.errand.query.use_cache {
            // Whoever insists may know better than a remembered 404.
            cache.remove_absent(generation, &self.errand.user).await?;
        }
        if change != 0 {
            self.app.stats.tally(generation, Tally { size: change, ..Tally::default() });
        }
        Ok(())
    }
}
