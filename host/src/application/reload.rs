//! Changes while requests run: what is served now is replaced by what the files have become.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinError, spawn_blocking},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{Generation, Loader, watch::Watch};
use crate::{
    host::StartError,
    server::Worker,
    telemetry::{HostMetrics, Reload},
};

/// How often files are looked at; what has changed is loaded when it has stood still for as long.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks for changes, and brings them to the threads.
pub(crate) struct Reloader {
    loader: Arc<Loader>,
    workers: Vec<Arc<Worker>>,
    metrics: Arc<HostMetrics>,
    current: Arc<Generation>,
    /// The last failure of the settings, so that it is told once.
    unfit: Option<String>,
}

/// Why a change is not served.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Load(#[from] StartError),
    #[error("component {name:?}: {cause}")]
    Instance { name: Arc<str>, cause: crate::service::CallError },
    #[error("loading it broke down: {0}")]
    Panic(#[from] JoinError),
}

/// What may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A file that is watched.
    File,
    /// A setting.
    Setting,
    /// Whatever it is: somebody asks.
    Signal,
}

impl Reloader {
    pub(crate) fn new(
        loader: Arc<Loader>,
        current: Arc<Generation>,
        workers: Vec<Arc<Worker>>,
        metrics: Arc<HostMetrics>,
    ) -> Self {
        Self { loader, workers, metrics, current, unfit: None }
    }

    /// Looks for ever. To be called within a runtime.
    pub(crate) async fn run(mut self) {
        let config = self.loader.config();
        let (watches, poll) = (config.watch, config.settings_poll.get());
        let mut files = watches.then(|| Watch::new(self.loader.files(&self.current)));
        let mut look = watches.then(|| ticks(LOOK_EVERY));
        let polls = config.settings_dir.is_some() && !poll.is_zero();
        let mut settings = polls.then(|| ticks(poll));
        let mut hangup = hangup();
        loop {
            let change = tokio::select! {
                () = tick(&mut look) => Change::File,
                () = tick(&mut settings) => Change::Setting,
                () = hung_up(&mut hangup) => Change::Signal,
            };
            if change == Change::File && !files.as_mut().is_some_and(Watch::has_settled) {
                continue;
            }
            match change {
                Change::Setting => self.resettle().await,
                Change::File | Change::Signal => {
                    // Their state before they are read: what changes meanwhile is another change.
                    if let Some(files) = &mut files {
                        files.extend(self.loader.files(&self.current));
                        files.settle();
                    }
                    self.reload().await;
                }
            }
        }
    }

    async fn reload(&mut self) {
        let (loader, current) = (self.loader.clone(), self.current.clone());
        let loaded = spawn_blocking(move || loader.reload(&current)).await;
        let loaded = loaded.map_err(ReloadError::from).and_then(|loaded| Ok(loaded?));
        let done = match loaded {
            Ok(generation) => self.swap(generation).await,
            Err(error) => Err(error),
        };
        self.report(done, "the application");
    }

    async fn resettle(&mut self) {
        let (loader, current) = (self.loader.clone(), self.current.clone());
        let loaded = spawn_blocking(move || loader.resettle(&current)).await;
        let done = match loaded.map_err(ReloadError::from).and_then(|loaded| Ok(loaded?)) {
            Ok(None) => {
                self.unfit = None;
                return;
            }
            Ok(Some(generation)) => self.swap(generation).await,
            Err(error) => Err(error),
        };
        let told = done.as_ref().err().map(ToString::to_string);
        if told.is_some() && told == self.unfit {
            return;
        }
        self.unfit = told;
        self.report(done, "the settings");
    }

    fn report(&self, done: Result<Vec<String>, ReloadError>, what: &str) {
        match done {
            Ok(changed) => {
                self.metrics.reloads.count(Reload::Done);
                tracing::info!(components = changed.join(" "), "{what} changed: reloaded");
            }
            Err(error) => {
                self.metrics.reloads.count(Reload::Failed);
                tracing::error!(%error, "{what} changed, and cannot be served: what was before still is");
            }
        }
    }

    /// Serves `generation`, once each of its components has shown on each thread that it can be instantiated. Returns
    /// the names of those that changed.
    async fn swap(&mut self, generation: Arc<Generation>) -> Result<Vec<String>, ReloadError> {
        let mut next = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            next.push(worker.prepare(&generation).map_err(StartError::from)?);
        }
        for next in &next {
            for served in next.fresh() {
                let failed = |cause| ReloadError::Instance { name: served.deployment.name.clone(), cause };
                served.dispatch.proven().await.map_err(failed)?;
            }
        }
        let same = |name: &str| {
            let (before, after) = (self.current.named(name), generation.named(name));
            matches!((before, after), (Some(before), Some(after)) if Arc::ptr_eq(before, after))
        };
        let names = generation.deployments.iter().map(|deployment| &*deployment.name);
        let changed = names.filter(|name| !same(name)).map(str::to_owned).collect();
        for next in next {
            next.adopt();
        }
        self.current = generation;
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

/// Asks for a reload, as with other servers; where there is a terminal, it ends the process together with that.
fn hangup() -> Option<Signal> {
    if std::io::stdin().is_terminal() {
        return None;
    }
    signal(SignalKind::hangup()).inspect_err(|error| tracing::warn!(%error, "SIGHUP is not heard")).ok()
}

async fn hung_up(signal: &mut Option<Signal>) {
    if let Some(hangup) = signal
        && hangup.recv().await.is_some()
    {
        return;
    }
    // Nothing is heard, or nothing more.
    std::future::pending::<()>().await;
}
