//! What an instance keeps between its requests: parsed settings, open stores, pending counts and singleflight calls.
//! None of it is the only copy of anything that matters: a new instance recreates all of it.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use crate::cache::Cache;
use crate::cache::tally::PendingTallies;
use crate::log::{self, LogThrottle};
use crate::metrics::Counter;
use crate::metrics::stats::{ActiveGuard, FLUSH_INTERVAL, Stats};
use crate::ports::{Level, Platform, Store, StoreError};
use crate::recent::RecentPages;
use crate::response::error::Error;
use crate::settings::{Settings, SettingsError};
use crate::singleflight::call::Group;
use crate::upstream::installation::Installation;
use crate::upstream::outcome::Outcome;
use crate::upstream::permits::Permits;

const SECONDS_OF_A_DAY: u64 = 86_400;

/// The state of one instance, which all of its requests share.
pub struct App<P: Platform> {
    /// The interfaces to the host, or to a test.
    pub platform: P,
    /// The counters of `/metrics`, written to `metrics_store`.
    pub stats: Stats,
    /// The counters of `/cache/stats`, written to `cache_store`.
    pub tallies: PendingTallies,
    /// The singleflight calls of the page fetches in flight.
    pub(crate) fetches: Rc<Group<P, Outcome>>,
    pub(crate) permits: Permits,
    /// What the instance knows of its installation's token, if it is a GitHub App.
    pub(crate) installation: Rc<Installation>,
    configured: OnceCell<Result<Rc<Configured>, SettingsError>>,
    cache: RefCell<Option<Rc<Cache<P::Store>>>>,
    metrics_store: RefCell<Option<Rc<P::Store>>>,
    /// The pages that were asked for lately.
    pub(crate) recent: RecentPages,
    log_throttle: LogThrottle,
}

/// The settings and the values that are derived from them once.
#[derive(Debug)]
pub struct Configured {
    /// The settings as they were read.
    pub settings: Settings,
    /// The value of `Access-Control-Allow-Origin`; `None` if the header is switched off.
    pub cors: Option<Rc<str>>,
    /// [`Settings::credential`]
    pub credential: u64,
}

impl<P: Platform> App<P> {
    /// A new instance on `platform`. It reads settings and opens stores on first use.
    pub fn new(platform: P) -> Self {
        Self {
            platform,
            stats: Stats::default(),
            tallies: PendingTallies::default(),
            fetches: Rc::default(),
            permits: Permits::default(),
            installation: Rc::default(),
            configured: OnceCell::new(),
            cache: RefCell::default(),
            metrics_store: RefCell::default(),
            recent: RecentPages::default(),
            log_throttle: LogThrottle::default(),
        }
    }

    /// The settings, which are read once.
    ///
    /// # Errors
    /// [`Error::Misconfigured`]. The first time, the error is also logged.
    pub fn configured(&self) -> Result<&Rc<Configured>, Error> {
        let read = self.configured.get_or_init(|| {
            let settings = Settings::read(&self.platform).inspect_err(|error| {
                self.log(Level::Error, &error.to_string(), &[("setting", error.setting)]);
            })?;
            let cors = settings.cors_allow_origin.as_deref().map(Rc::from);
            let credential = settings.credential();
            Ok(Rc::new(Configured { settings, cors, credential }))
        });
        read.as_ref().map_err(|error| Error::Misconfigured { reason: error.to_string() })
    }

    /// The value of `Access-Control-Allow-Origin`; `None` if it is switched off or the settings are invalid.
    pub(crate) fn cors(&self) -> Option<&Rc<str>> {
        self.configured().ok().and_then(|configured| configured.cors.as_ref())
    }

    /// The cache. If its store cannot be opened, the next request tries again.
    pub(crate) fn cache(&self, settings: &Settings) -> Result<Rc<Cache<P::Store>>, StoreError> {
        if let Some(cache) = self.cache.borrow().as_ref() {
            return Ok(Rc::clone(cache));
        }
        let store = Rc::new(self.platform.open(&settings.cache_store)?);
        let cache = Rc::new(Cache::new(store, settings.cache_entries));
        *self.cache.borrow_mut() = Some(Rc::clone(&cache));
        Ok(cache)
    }

    /// The store of the metrics. If it cannot be opened, the next request tries again.
    pub(crate) fn metrics_store(&self, settings: &Settings) -> Result<Rc<P::Store>, StoreError> {
        if let Some(store) = self.metrics_store.borrow().as_ref() {
            return Ok(Rc::clone(store));
        }
        let store = Rc::new(self.platform.open(&settings.metrics_store)?);
        *self.metrics_store.borrow_mut() = Some(Rc::clone(&store));
        Ok(store)
    }

    /// Counts a request as active until the returned guard is dropped.
    pub(crate) fn enter(&self) -> ActiveGuard<'_> {
        self.stats.enter()
    }

    /// Counts and logs a failure of the cache's store that the request survives.
    pub(crate) fn report_cache_error(&self, error: &StoreError) {
        self.stats.add(Counter::StoreErrors, 1);
        let reason = error.to_string();
        let fields = [("setting", "cache_store"), ("reason", reason.as_str())];
        self.log_throttled(Level::Error, "cache_store", "cache store operation failed", &fields);
    }

    fn report_metrics_error(&self, error: &StoreError) {
        let reason = error.to_string();
        let fields = [("setting", "metrics_store"), ("reason", reason.as_str())];
        self.log_throttled(Level::Error, "metrics_store", "metrics store operation failed", &fields);
    }

    /// Writes a log line, unless a line with the same label was written less than a second ago.
    pub(crate) fn log_throttled(
        &self,
        level: Level,
        label: &'static str,
        message: &str,
        fields: &[(&str, &str)],
    ) {
        if self.log_throttle.admits(label, self.platform.monotonic()) {
            self.log(level, message, fields);
        }
    }

    /// Writes a log line once a day for each label. Instances come and go, so `store` remembers the day; without a store,
    /// each instance writes the line.
    pub(crate) async fn log_daily(
        &self,
        store: Option<&P::Store>,
        level: Level,
        label: &'static str,
        message: &str,
        fields: &[(&str, &str)],
    ) {
        let day = self.platform.system().as_secs() / SECONDS_OF_A_DAY;
        if !self.log_throttle.admits_today(label, day) {
            return;
        }
        if let Some(store) = store {
            match claim_day(store, label, day).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => self.report_cache_error(&error),
            }
        }
        self.log(level, message, fields);
    }

    /// Writes a log line with `fields`, and with the names of cluster and pod if they are set.
    pub(crate) fn log(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let mut all = fields.to_vec();
        if let Some(Ok(configured)) = self.configured.get() {
            all.push(("cluster", &configured.settings.cluster_name));
            all.push(("pod", &configured.settings.pod_name));
        }
        self.platform.log(&log::line(level, message, &all));
    }

    /// Starts a task that writes the pending counts after [`FLUSH_INTERVAL`], unless there is one already.
    pub(crate) fn flush_soon(self: &Rc<Self>) {
        if !self.stats.schedule_flush() {
            return;
        }
        let scheduled = ScheduledFlush(Rc::clone(self));
        self.platform.spawn(async move {
            let app = Rc::clone(&scheduled.0);
            app.platform.sleep(FLUSH_INTERVAL).await;
            drop(scheduled);
            app.flush().await;
            app.report_active().await;
        });
    }

    /// Makes sure that the counts of a request are written: by the returned work the first time, later by a task.
    pub(crate) fn flush_after_response(self: &Rc<Self>) -> AfterResponse<P> {
        if self.stats.claim_first_flush() {
            return AfterResponse(Some(Rc::clone(self)));
        }
        self.flush_soon();
        AfterResponse(None)
    }

    /// Writes all pending counts now. Failures are logged.
    pub(crate) async fn flush(&self) {
        let Ok(configured) = self.configured() else { return };
        if let Err(error) = self.flush_tallies(configured).await {
            self.report_cache_error(&error);
        }
        let flushed = match self.metrics_store(&configured.settings) {
            Ok(store) => self.stats.flush(&*store).await,
            Err(error) => Err(error),
        };
        if let Err(error) = flushed {
            self.report_metrics_error(&error);
        }
    }

    async fn flush_tallies(&self, configured: &Configured) -> Result<(), StoreError> {
        if self.tallies.is_empty() {
            return Ok(());
        }
        let cache = self.cache(&configured.settings)?;
        match cache.current_generation().await? {
            Some(generation) => self.tallies.flush(&**cache.store(), generation).await,
            None => Ok(()),
        }
    }

    /// Tells the other instances how many requests are active here. A scrape does not call this: it would report itself,
    /// and the number would last longer than the scrape.
    async fn report_active(&self) {
        let Ok(configured) = self.configured() else { return };
        let reported = match self.metrics_store(&configured.settings) {
            Ok(store) => self.stats.report_active(&self.platform, &*store).await,
            Err(error) => Err(error),
        };
        if let Err(error) = reported {
            self.report_metrics_error(&error);
        }
    }
}

/// Whether the caller is the first of all instances to log `label` on `day`.
async fn claim_day<S: Store>(store: &S, label: &str, day: u64) -> Result<bool, StoreError> {
    let key = |day: u64| format!("logged:{label}:{day}");
    if store.increment(&key(day), 1).await? != 1 {
        return Ok(false);
    }
    store.delete(&key(day.saturating_sub(1))).await?;
    Ok(true)
}

/// Work that the platform runs after the response is sent, so that the client does not wait for it.
#[must_use = "the first counts of an instance would be written late"]
pub struct AfterResponse<P: Platform>(Option<Rc<App<P>>>);

impl<P: Platform> AfterResponse<P> {
    /// Whether there is no work, so that no task is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Does the work: writes the instance's first counts.
    pub async fn run(self) {
        if let Some(app) = self.0 {
            app.flush().await;
        }
    }
}

/// A flush that is scheduled. If its task is dropped early, another flush can be scheduled.
struct ScheduledFlush<P: Platform>(Rc<App<P>>);

impl<P: Platform> Drop for ScheduledFlush<P> {
    fn drop(&mut self) {
        self.0.stats.unschedule_flush();
    }
}
