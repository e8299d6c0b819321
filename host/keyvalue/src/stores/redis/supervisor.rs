//! The task that keeps one thread's connection up.

use super::cache::Cache;
use super::connect::{Connected, Handshake, connect};
use super::shared::Shared;
use redis::aio::MultiplexedConnection;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use wasi_http_host_core::BoundedError;

/// The pauses between attempts to connect. Jitter shortens each by up to half: hosts that lost one server at the same time do not
/// connect again at the same time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// After a connection that lived longer than this, the next attempt comes at once.
const STABLE: Duration = Duration::from_secs(1);
/// How often a connection that carries invalidation messages is sent a `PING`.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the server has at least to reply to it.
const LEAST_HEARTBEAT_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(super) enum State {
    /// The first attempt, or the first after a loss, is under way. Calls wait for it.
    Connecting,
    Up(MultiplexedConnection, u64),
    /// The last attempt failed, for this reason.
    Down(Arc<str>),
}

/// A call found that a connection no longer works: which connection, and why.
pub(super) struct Report {
    pub(super) generation: u64,
    pub(super) reason: String,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    cache: Option<Arc<Cache>>,
    publish: watch::Sender<State>,
    reported: mpsc::Receiver<Report>,
    generation: u64,
    /// Attempts since the last connection.
    attempts: usize,
    handshake: Handshake,
}

impl Supervisor {
    pub(super) fn new(
        shared: Arc<Shared>,
        cache: Option<Arc<Cache>>,
        publish: watch::Sender<State>,
        reported: mpsc::Receiver<Report>,
    ) -> Self {
        Self { shared, cache, publish, reported, generation: 0, attempts: 0, handshake: Handshake::default() }
    }

    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let limit = self.shared.config.connect_timeout.get();
            let attempt = connect(&self.shared, self.cache.as_ref(), &mut self.handshake, self.attempts);
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
            sleep(with_jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Drives the connection until it breaks. Returns why.
    async fn drive(&mut self, connected: Connected) -> String {
        let Connected { connection, driver, untracked } = connected;
        self.generation += 1;
        let generation = self.generation;
        let shared = self.shared.clone();
        let stats = &shared.stats;
        let _up = stats.connected();
        tracing::info!(store = self.shared.name, address = %self.shared.address, "connected to the key-value store");
        let live = self.cache.as_ref().filter(|_| untracked.is_none()).map(Live::begin);
        let _tracked = live.is_some().then(|| stats.tracked());
        if let Some(reason) = untracked.filter(|_| !self.shared.untracked_logged.swap(true, Relaxed)) {
            tracing::warn!(
                store = self.shared.name,
                reason,
                "the key-value store sends no invalidation messages: the host does not cache its values"
            );
        }
        let pinged = connection.clone();
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
        let limit = self.shared.config.timeout.get().max(LEAST_HEARTBEAT_LIMIT);
        let dead = async {
            match live {
                Some(_) => heartbeat(pinged, limit).await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            () = driver => "it closed the connection".to_owned(),
            reason = report => reason,
            reason = dead => reason,
        };
        tracing::warn!(
            store = self.shared.name,
            reason = %BoundedError(&reason),
            "lost the connection to the key-value store"
        );
        reason
    }

    /// Publishes why there is no connection. Logs each reason once, not at each attempt.
    fn down(&self, reason: String) {
        let known = matches!(&*self.publish.borrow(), State::Down(known) if **known == *reason);
        if !known {
            tracing::warn!(
                store = self.shared.name,
                address = %self.shared.address,
                reason = %BoundedError(&reason),
                "cannot connect to the key-value store: its operations fail until a connection succeeds"
            );
            self.publish.send_replace(State::Down(reason.into()));
        }
    }
}

/// The cache may answer for as long as this guard lives.
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

/// Ends when the server does not reply. A server that vanished without closing the connection sends no invalidation messages.
async fn heartbeat(mut connection: MultiplexedConnection, limit: Duration) -> String {
    loop {
        sleep(HEARTBEAT).await;
        match timeout(limit, redis::cmd("PING").exec_async(&mut connection)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no reply to PING within {limit:?}"),
        }
    }
}

fn with_jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 512;
    pause - pause * u32::try_from(random).unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_shortened_by_half_at_most_and_not_always_the_same() {
        let pauses: Vec<_> = (0..64).map(|_| with_jitter(LONGEST_PAUSE)).collect();
        assert!(pauses.iter().all(|pause| (LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
