//! Load on a loopback address, bounded in rate and time; failures are counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Access, fail};
use testkit::http::blocking::{Client, Connection};
use testkit::http::{Request, Response};

/// The maximum duration of a load, if a test does not stop it.
const MAX_TIME: Duration = Duration::from_secs(420);

/// The number of reasons that are kept.
const MAX_REASONS: usize = 20;

/// A load that runs in the background.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Tally>>,
}

/// The results of a load.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests that were sent.
    pub sent: u64,
    /// Responses, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a whole response.
    pub broken: u64,
    /// The reasons of the first failures.
    pub reasons: Vec<String>,
    /// The time from a request's first byte to the last byte of its response.
    pub latencies: Vec<Duration>,
}

impl Load {
    /// Sends `requests` in turn until [`Load::stop`]: on this number of connections, at this total rate.
    ///
    /// # Panics
    /// If the address is not on loopback: no other machine is ever put under load. If the test has no exclusive [`Access`].
    #[track_caller]
    #[must_use]
    pub fn start(client: &Client, connections: usize, per_second: f64, requests: &[Request]) -> Self {
        allowed(client);
        let stop = Arc::new(AtomicBool::new(false));
        let every = Duration::from_secs_f64(connections as f64 / per_second);
        let workers = (0..connections)
            .map(|index| {
                let (client, requests, stop) = (client.clone(), requests.to_vec(), Arc::clone(&stop));
                // Spread over the interval, so that the connections do not send at the same time.
                let offset = every.mul_f64(index as f64 / connections as f64);
                std::thread::spawn(move || work(&client, &requests, index, offset, every, &stop))
            })
            .collect();
        Self { stop, workers }
    }

    /// Stops the load.
    #[must_use]
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.into_iter().filter_map(|worker| worker.join().ok()).fold(Tally::default(), Tally::with)
    }
}

fn work(
    client: &Client,
    requests: &[Request],
    first: usize,
    offset: Duration,
    every: Duration,
    stop: &AtomicBool,
) -> Tally {
    let mut tally = Tally::default();
    let started = Instant::now();
    let mut due = started + offset;
    let mut connection = None;
    for request in requests.iter().cycle().skip(first) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // A slow response delays the next request. Missed requests are not sent later.
        due = (due + every).max(Instant::now());
        if stop.load(Ordering::Relaxed) || started.elapsed() > MAX_TIME {
            break;
        }
        connection = tally.send(client, connection.take(), request);
    }
    tally
}

/// Fails the test if the client's address is not on loopback, or other tests run.
#[track_caller]
pub(crate) fn allowed(client: &Client) {
    if !client.address().ip().is_loopback() {
        fail(format!("load only on loopback, not on {}", client.address()));
    }
    Access::require_exclusive("load");
}

impl Tally {
    /// Requests without a response, or with a status of 500 or above.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.broken + self.statuses.range(500..).map(|(_, count)| count).sum::<u64>()
    }

    /// The number of responses with this status.
    #[must_use]
    pub fn status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    /// A summary in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let (median, late) = (self.latency(0.5), self.latency(0.99));
        format!(
            "{} sent, {} failed, statuses {:?}, p50 {median:.1?}, p99 {late:.1?}",
            self.sent,
            self.failed(),
            self.statuses
        )
    }

    /// A quantile of the latencies; zero if there is none.
    #[must_use]
    pub fn latency(&self, share: f64) -> Duration {
        crate::percentile(&self.latencies, share).unwrap_or_default()
    }

    /// Sends a request, and counts what comes of it. Returns the connection if another request may follow on it.
    pub(crate) fn send(
        &mut self,
        client: &Client,
        open: Option<Connection>,
        request: &Request,
    ) -> Option<Connection> {
        self.sent += 1;
        let asked = Instant::now();
        let mut open = match open.map_or_else(|| client.connect(), Ok) {
            Ok(open) => open,
            Err(error) => {
                self.broke(&format!("{}: connect: {error}", request.target()));
                return None;
            }
        };
        match open.send(request) {
            Ok(response) => {
                self.latencies.push(asked.elapsed());
                self.answered(request.target(), &response);
                Some(open).filter(|open| !open.over())
            }
            Err(error) => {
                self.broke(&format!("{}: {error}", request.target()));
                None
            }
        }
    }

    fn answered(&mut self, target: &str, response: &Response) {
        *self.statuses.entry(response.status).or_default() += 1;
        if response.status >= 500 {
            self.because(&format!("{target}: {}: {}", response.status, response.text()));
        }
    }

    fn broke(&mut self, reason: &str) {
        self.broken += 1;
        self.because(reason);
    }

    fn because(&mut self, reason: &str) {
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(reason.to_owned());
        }
    }

    pub(crate) fn with(mut self, other: Self) -> Self {
        self.sent += other.sent;
        self.broken += other.broken;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        let room = MAX_REASONS.saturating_sub(self.reasons.len());
        self.reasons.extend(other.reasons.into_iter().take(room));
        self.latencies.extend(other.latencies);
        self
    }
}

/// Sends this number of requests at once, each on a connection that is open already.
///
/// # Panics
/// If the address is not on loopback, the test has no exclusive [`Access`], or a request gets no response.
#[track_caller]
#[must_use]
pub fn burst(client: &Client, count: usize, request: &Request) -> Vec<Response> {
    allowed(client);
    let start = Arc::new(Barrier::new(count));
    let asking: Vec<_> = (0..count)
        .map(|_| {
            let (client, request, start) = (client.clone(), request.clone(), Arc::clone(&start));
            std::thread::spawn(move || {
                let connection = client.connect();
                start.wait();
                connection?.send(&request)
            })
        })
        .collect();
    let answers = asking.into_iter().map(|asking| match asking.join() {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => fail(format!("one of {count} requests at once: {error}")),
        Err(_) => fail("a thread of a burst panicked"),
    });
    answers.collect()
}
