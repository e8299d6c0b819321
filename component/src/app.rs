//! What an instance keeps between its requests: settings that have been read, stores that are open, counts that are
//! not written yet, fetches that are under way. Nothing that matters; another instance has it in no time.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::cache::Cache;
use crate::metrics::Counter;
use crate::metrics::stats::{Active, Stats};
use crate::ports::{Level, Platform, StoreError};
use crate::response::error::Error;
use crate::settings::{Settings, SettingsError};
use crate::single_flight::fill::Outcome;
use crate::single_flight::flight::Flights;
use crate::single_flight::permits::Permits;

/// The same trouble is logged at most this often, however many requests run into it.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// An instance of the service.
pub struct App<P: Platform> {
    /// What it runs on.
    pub platform: P,
    /// What it has counted.
    pub stats: Stats,
    pub(crate) flights: Rc<Flights<P, Outcome>>,
    pub(crate) permits: Permits,
    configured: OnceCell<Result<Rc<Configured>, SettingsError>>,
    cache: RefCell<Option<Rc<Cache<P::Store>>>>,
    metrics_store: RefCell<Option<Rc<P::Store>>>,
    /// When each kind of trouble was last logged: as many as there are labels.
    last_logged: RefCell<BTreeMap<&'static str, Duration>>,
}

/// The settings, and what follows from them.
#[derive(Debug)]
pub struct Configured {
    /// The settings.
    pub settings: Settings,
    /// The value of `Access-Control-Allow-Origin`.
    pub cors: Option<Rc<str>>,
    /// The hash of the credential that GitHub is asked with.
    pub credential: u64,
}

impl<P: Platform> App<P> {
    /// An instance on `platform`. Nothing is read or opened before it is needed.
    pub fn new(platform: P) -> Self {
        Self {
            platform,
            stats: Stats::default(),
            flights: Rc::default(),
            permits: Permits::default(),
            configured: OnceCell::new(),
            cache: RefCell::default(),
            metrics_store: RefCell::default(),
            last_logged: RefCell::default(),
        }
    }

    /// The settings, read once.
    ///
    /// # Errors
    /// [`Error::Misconfigured`], logged the first time.
    pub fn configured(&self) -> Result<&Rc<Configured>, Error> {
        let read = self.configured.get_or_init(|| {
            let settings = Settings::read(&self.platform).inspect_err(|error| {
                self.log(Level::Error, &error.to_string());
            })?;
            let cors = settings.cors_allow_origin.as_deref().map(Rc::from);
            let credential = settings.credential();
            Ok(Rc::new(Configured { settings, cors, credential }))
        });
        read.as_ref().map_err(|error| Error::Misconfigured { reason: error.to_string() })
    }

    /// The value of `Access-Control-Allow-Origin`, where the settings are usable.
    pub(crate) fn cors(&self) -> Option<&Rc<str>> {
        self.configured().ok().and_then(|configured| configured.cors.as_ref())
    }

    /// The cache. A store that could not be opened is tried again with the next request.
    pub(crate) fn cache(&self, settings: &Settings) -> Result<Rc<Cache<P::Store>>, StoreError> {
        if let Some(cache) = self.cache.borrow().as_ref() {
            return Ok(Rc::clone(cache));
        }
        let store = Rc::new(self.platform.open(&settings.cache_store)?);
        let cache = Rc::new(Cache::new(store, settings.cache_entries));
        *self.cache.borrow_mut() = Some(Rc::clone(&cache));
        Ok(cache)
    }

    /// The store of the metrics.
    pub(crate) fn metrics_store(&self, settings: &Settings) -> Result<Rc<P::Store>, StoreError> {
        if let Some(store) = self.metrics_store.borrow().as_ref() {
            return Ok(Rc::clone(store));
        }
        let store = Rc::new(self.platform.open(&settings.metrics_store)?);
        *self.metrics_store.borrow_mut() = Some(Rc::clone(&store));
        Ok(store)
    }

    /// Counts a failure of the cache's store, and says so.
    pub(crate) fn complain(&self, error: &StoreError) {
        self.stats.add(Counter::StoreErrors, 1);
        self.log_sparingly(Level::Error, "cache_store", &format!("the store of the cache fails: {error}"));
    }

    /// Writes a log line unless there was one of that label just now.
    pub(crate) fn log_sparingly(&self, level: Level, label: &'static str, message: &str) {
        let now = self.platform.monotonic();
        let last = self.last_logged.borrow().get(label).copied();
        if last.is_none_or(|last| now.saturating_sub(last) >= LOG_INTERVAL) {
            self.last_logged.borrow_mut().insert(label, now);
            self.log(level, message);
        }
    }

    fn complain_of_metrics(&self, error: &StoreError) {
        self.log_sparingly(
            Level::Error,
            "metrics_store",
            &format!("the store of the metrics fails: {error}"),
        );
    }

    /// Writes a log line: JSON, with the names of pod and cluster where they are set.
    pub(crate) fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        let mut line = serde_json::Map::new();
        let mut member = |name: &str, value: &str| {
            if !value.is_empty() {
                line.insert(name.to_owned(), value.into());
            }
        };
        member("level", level);
        member("message", message);
        if let Some(Ok(configured)) = self.configured.get() {
            member("cluster", &configured.settings.cluster_name);
            member("pod", &configured.settings.pod_name);
        }
        self.platform.log(&serde_json::Value::Object(line).to_string());
    }

    /// Sees to it that what has been counted is written soon, behind the back of whoever caused it.
    pub(crate) fn flush_soon(self: &Rc<Self>) {
        if !self.stats.take_flush_duty() {
            return;
        }
        let duty = FlushDuty(Rc::clone(self));
        self.platform.spawn(async move {
            let app = Rc::clone(&duty.0);
            app.platform.sleep(crate::metrics::stats::FLUSH_INTERVAL).await;
            drop(duty);
            app.flush().await;
            app.report_active().await;
        });
    }

    /// Sees to it that what a request has counted is written: soon, or, the first time, by whoever sends the response.
    pub(crate) fn flush_behind(self: &Rc<Self>) -> Behind<P> {
        if self.stats.take_first_flush() {
            return Behind(Some(Rc::clone(self)));
        }
        self.flush_soon();
        Behind(None)
    }

    /// Writes what has been counted.
    pub(crate) async fn flush(&self) {
        let Ok(configured) = self.configured() else { return };
        if let Err(error) = self.flush_tallies(configured).await {
            self.complain(&error);
        }
        let flushed = match self.metrics_store(&configured.settings) {
            Ok(store) => self.stats.flush(&*store).await,
            Err(error) => Err(error),
        };
        if let Err(error) = flushed {
            self.complain_of_metrics(&error);
        }
    }

    /// Tells the other instances how many requests are active here. Not before a scrape: that one counts itself, and
    /// would be seen for longer than it lasts.
    async fn report_active(&self) {
        let Ok(configured) = self.configured() else { return };
        let reported = match self.metrics_store(&configured.settings) {
            Ok(store) => self.stats.report_active(&self.platform, &*store).await,
            Err(error) => Err(error),
        };
        if let Err(error) = reported {
            self.complain_of_metrics(&error);
        }
    }

    async fn flush_tallies(&self, configured: &Configured) -> Result<(), StoreError> {
        if !self.stats.has_tallies() {
            return Ok(());
        }
        let cache = self.cache(&configured.settings)?;
        match cache.present_generation().await? {
            Some(generation) => self.stats.flush_tallies(&**cache.store(), generation).await,
            None => Ok(()),
        }
    }

    /// Counts a request as active while the guard exists.
    pub(crate) fn enter(&self) -> Active<'_> {
        self.stats.enter()
    }
}

/// What is to be done once a response is out, so that nobody waits for it.
#[must_use = "the first counts of an instance would be written late"]
pub struct Behind<P: Platform>(Option<Rc<App<P>>>);

impl<P: Platform> Behind<P> {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Does it.
    pub async fn run(self) {
        if let Some(app) = self.0 {
            app.flush().await;
        }
    }
}

/// The duty to flush; a task that is dropped before its time lays it down, too.
struct FlushDuty<P: Platform>(Rc<App<P>>);

impl<P: Platform> Drop for FlushDuty<P> {
    fn drop(&mut self) {
        self.0.stats.lay_down_flush_duty();
    }
}
