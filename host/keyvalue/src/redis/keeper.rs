//! The task that keeps one thread's connection.

use super::Shared;
use super::cache::Cache;
use super::connect::{Connected, Greeting, connect};
use redis::aio::MultiplexedConnection;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

/// The pauses between attempts to connect, of which each is shortened by up to half: hosts that lost one server
/// together do not come back together.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that lived longer was a good one: the next is tried at once.
const STABLE: Duration = Duration::from_secs(1);
/// A connection on whose word the cache relies is asked so often for a sign of life …
const BEAT: Duration = Duration::from_secs(1);
/// … and given this long for it at least.
const LEAST_BEAT_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(super) enum State {
    /// The first attempt, or the first after a loss: it is worth waiting for.
    Connecting,
    Up(MultiplexedConnection, u64),
    /// The last attempt failed, for this reason.
    Down(Arc<str>),
}

/// A connection did not do: which, and why.
pub(super) struct Report {
    pub(super) generation: u64,
    pub(super) reason: String,
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    cache: Option<Arc<Cache>>,
    publish: watch::Sender<State>,
    reported: mpsc::Receiver<Report>,
    generation: u64,
    /// Attempts since there was a connection.
    attempts: usize,
    greeting: Greeting,
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        cache: Option<Arc<Cache>>,
        publish: watch::Sender<State>,
        reported: mpsc::Receiver<Report>,
    ) -> Self {
        Self { shared, cache, publish, reported, generation: 0, attempts: 0, greeting: Greeting::default() }
    }

    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let limit = self.shared.settings.connect;
            let attempt = connect(&self.shared, self.cache.as_ref(), &mut self.greeting, self.attempts);
            let attempt = timeout(limit, attempt).await;
            let attempt = attempt.unwrap_or_else(|_| Err(format!("no connection within {limit:?}")));
            let reason = match attempt {
                Ok(connected) => {
                    self.attempts = 0;
                    let since = Instant::now();
                    let reason = self.drive(connected).await;
                    if since.elapsed() > STABLE {
                        pause = FIRST_PAUSE;
                        self.publish.send_replace(State::Connecting);
                        continue;
                    }
                    reason
                }
                Err(reason) => {
                    self.attempts += 1;
                    self.shared.stats.not_connected();
                    reason
                }
            };
            self.down(reason);
            sleep(shortened(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until the connection breaks, and says why.
    async fn drive(&mut self, connected: Connected) -> String {
        let Connected { connection, driver, untracked } = connected;
        self.generation += 1;
        let generation = self.generation;
        let stats = self.shared.stats.clone();
        let _up = stats.connected();
        tracing::info!(store = self.shared.name, address = %self.shared.address, "connected to the key-value store");
        let live = self.cache.as_ref().filter(|_| untracked.is_none()).map(Live::begin);
        let _tracked = live.is_some().then(|| stats.tracked());
        if let Some(reason) = untracked.filter(|_| !self.shared.told_untracked.swap(true, Relaxed)) {
            tracing::warn!(
                store = self.shared.name,
                reason,
                "the key-value store does not say what changes: each read asks it"
            );
        }
        let beats = connection.clone();
        self.publish.send_replace(State::Up(connection, generation));
        let report = async {
            loop {
                match self.reported.recv().await {
                    Some(report) if report.generation == generation => return report.reason,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        let limit = self.shared.settings.answer.max(LEAST_BEAT_LIMIT);
        let dead = async {
            match live {
                Some(_) => beat(beats, limit).await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            () = driver => "it closed the connection".to_owned(),
            reason = report => reason,
            reason = dead => reason,
        };
        tracing::warn!(store = self.shared.name, reason, "lost the connection to the key-value store");
        reason
    }

    /// Says it once, not at each attempt.
    fn down(&self, reason: String) {
        let known = matches!(&*self.publish.borrow(), State::Down(known) if **known == *reason);
        if !known {
            tracing::warn!(
                store = self.shared.name,
                address = %self.shared.address,
                reason,
                "the key-value store cannot be reached: components go on without it, or fail"
            );
            self.publish.send_replace(State::Down(reason.into()));
        }
    }
}

/// The cache is kept right for as long as this is there.
struct Live(Arc<Cache>);

impl Live {
    fn begin(cache: &Arc<Cache>) -> Self {
        cache.live();
        Self(cache.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Ends when there is no sign of life. A peer that has gone without a word would say no more what changes.
async fn beat(mut connection: MultiplexedConnection, limit: Duration) -> String {
    loop {
        sleep(BEAT).await;
        match timeout(limit, redis::cmd("PING").exec_async(&mut connection)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no sign of life within {limit:?}"),
        }
    }
}

fn shortened(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 512;
    pause - pause * u32::try_from(random).unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_shortened_by_half_at_most_and_not_always_the_same() {
        let pauses: Vec<_> = (0..64).map(|_| shortened(LONGEST_PAUSE)).collect();
        assert!(pauses.iter().all(|pause| (LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
