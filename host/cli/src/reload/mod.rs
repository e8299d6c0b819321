//! Reloads the application when its files or settings change, while requests are served.

mod debounce;
mod hangup;
mod retry;
mod watch;

pub(crate) use hangup::Hangup;
pub(crate) use watch::FileWatch;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::{JoinError, spawn_blocking},
    time::{Interval, MissedTickBehavior, interval},
};

use wasi_http_host_application::{Generation, LoadError, Loader};
use wasi_http_host_core::lock;
use wasi_http_host_manifest::Resolved;
use wasi_http_host_runtime::CallError;
use wasi_http_host_server::Worker;

use self::{debounce::Debounce, retry::Retry};
use crate::{
    memory::MemoryLimits,
    metrics::{HostMetrics, Reload},
};

/// How often watched files are checked. A change is loaded when two checks in a row find the same state. All checks
/// run on other threads, one after another, so that a hanging file system blocks only reloads
/// (`docs/decisions/0035-files-are-polled.md`).
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Detects changes, and brings new generations to the serving threads.
pub(crate) struct Reloader {
    loader: Arc<Loader>,
    workers: Vec<Arc<Worker>>,
    metrics: Arc<HostMetrics>,
    memory: MemoryLimits,
    current: Arc<Generation>,
    /// `None` if files are not watched.
    watch: Option<Arc<Mutex<FileWatch>>>,
    hangup: Hangup,
    /// The error of the last attempt, so that the same error is logged only once.
    failed: Option<String>,
    retry: Retry,
    /// The new settings, or the error of reading them, while they differ from the settings that are served.
    settings: Debounce<Result<Vec<Resolved>, String>>,
    /// The last error of the settings, so that the same error is logged only once.
    settings_error: Option<String>,
}

/// Why a change is not served.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("component {name:?}: {cause}")]
    Instance { name: Arc<str>, cause: CallError },
    #[error("loading the application panicked: {0}")]
    Panic(#[from] JoinError),
}

impl ReloadError {
    /// Whether a retry may succeed although nothing changes.
    fn may_pass(&self) -> bool {
        match self {
            Self::Load(error) => error.may_pass(),
            // The pool is full until requests of the previous generation are complete.
            Self::Instance { cause, .. } => matches!(cause, CallError::NoInstance),
            Self::Panic(_) => false,
        }
    }
}

/// What may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A watched file.
    File,
    /// A setting.
    Setting,
    /// SIGHUP asks for a reload, whatever has changed.
    Signal,
    /// The reason why the last attempt failed may be gone.
    Retry,
}

impl Reloader {
    pub(crate) fn new(
        loader: Arc<Loader>,
        current: Arc<Generation>,
        workers: Vec<Arc<Worker>>,
        metrics: Arc<HostMetrics>,
        memory: MemoryLimits,
        watch: Option<FileWatch>,
        hangup: Hangup,
    ) -> Self {
        let watch = watch.map(|watch| Arc::new(Mutex::new(watch)));
        Self {
            loader,
            workers,
            metrics,
            memory,
            current,
            watch,
            hangup,
            failed: None,
            retry: Retry::default(),
            settings: Debounce::new(),
            settings_error: None,
        }
    }

    /// Runs for ever. Must be called within a runtime.
    pub(crate) async fn run(mut self) {
        let config = self.loader.config();
        let poll = config.settings_poll.get();
        let mut files = self.watch.is_some().then(|| ticks(POLL_INTERVAL));
        let polls = config.settings_dir.is_some() && !poll.is_zero();
        let mut settings = polls.then(|| ticks(poll));
        let mut hangups = self.hangup.signals();
        loop {
            let change = tokio::select! {
                () = tick(&mut files) => Change::File,
                () = tick(&mut settings) => Change::Setting,
                () = hangups.next() => Change::Signal,
                () = self.retry.due() => Change::Retry,
            };
            if change == Change::File && !self.has_settled().await {
                continue;
            }
            match change {
                Change::Setting => {
                    if self.apply_settings().await
                        && let Some(settings) = &mut settings
                    {
                        settings.reset_after(POLL_INTERVAL.min(poll));
                    }
                }
                Change::File | Change::Signal => {
                    self.failed = None;
                    self.retry.never();
                    self.reload().await;
                }
                Change::Retry => self.reload().await,
            }
        }
    }

    /// Whether a watched file has changed, and no longer changes.
    async fn has_settled(&self) -> bool {
        let Some(watch) = self.watch.clone() else { return false };
        spawn_blocking(move || lock(&watch).has_settled()).await.unwrap_or_default()
    }

    async fn reload(&mut self) {
        let (loader, current, watch) = (self.loader.clone(), self.current.clone(), self.watch.clone());
        let load = move || {
            if let Some(watch) = watch {
                // Record the files' state before they are read, so that a change during the reading counts as another
                // change.
                let files = loader.files(&current);
                let mut watch = lock(&watch);
                watch.extend(files);
                watch.mark_loaded();
            }
            loader.reload(&current)
        };
        let done = match spawn_blocking(load).await.map_err(ReloadError::from) {
            Ok(Ok(generation)) => self.swap(generation).await,
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(error),
        };
        if done.as_ref().is_err_and(ReloadError::may_pass) {
            self.retry.later();
        } else {
            self.retry.never();
        }
        let message = done.as_ref().err().map(ToString::to_string);
        if message.is_none() || message != self.failed {
            self.failed = message;
            self.report(done, "the application");
        }
    }

    /// Applies new settings when they have settled. Returns whether to check again soon, because they have not
    /// settled.
    async fn apply_settings(&mut self) -> bool {
        let (loader, current) = (self.loader.clone(), self.current.clone());
        let read = spawn_blocking(move || loader.settings(&current)).await;
        let found = match read.map_err(ReloadError::from).and_then(|found| Ok(found?)) {
            Ok(None) => {
                self.settings.forget();
                self.settings_error = None;
                return false;
            }
            Ok(Some(settings)) => Ok(settings),
            Err(error) => Err(error),
        };
        if !self.settings.has_settled(found.as_ref().cloned().map_err(ToString::to_string)) {
            return true;
        }
        let done = match found.and_then(|settings| Ok(self.loader.with_settings(&self.current, settings)?)) {
            Ok(generation) => self.swap(generation).await,
            Err(error) => Err(error),
        };
        let message = done.as_ref().err().map(ToString::to_string);
        if message.is_none() || message != self.settings_error {
            self.settings_error = message;
            self.report(done, "the settings");
        }
        false
    }

    fn report(&self, done: Result<Vec<String>, ReloadError>, what: &str) {
        match done {
            Ok(changed) => {
                self.metrics.reloads.count(Reload::Done);
                tracing::info!(components = changed.join(" "), "{what} changed: reloaded");
            }
            Err(error) => {
                self.metrics.reloads.count(Reload::Failed);
                tracing::error!(%error, "{what} changed and cannot be served: the host still serves the previous state");
            }
        }
    }

    /// Serves `generation` after an instance of each new component has started on each thread. Returns the IDs of the
    /// components that changed.
    async fn swap(&mut self, generation: Arc<Generation>) -> Result<Vec<String>, ReloadError> {
        let mut next = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            next.push(worker.prepare(&generation).map_err(LoadError::from)?);
        }
        for next in &next {
            for served in next.fresh() {
                let failed = |cause| ReloadError::Instance { name: served.deployment.name.clone(), cause };
                served.dispatch.ensure_instance().await.map_err(failed)?;
            }
        }
        let same = |name: &str| {
            let (before, after) = (self.current.named(name), generation.named(name));
            matches!((before, after), (Some(before), Some(after)) if Arc::ptr_eq(before, after))
        };
        let names = generation.deployments().iter().map(|deployment| &*deployment.name);
        let changed = names.filter(|name| !same(name)).map(str::to_owned).collect();
        for next in next {
            next.adopt();
        }
        self.current = generation;
        self.memory.report(&self.current, &self.metrics.memory_bound);
        Ok(changed)
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}
