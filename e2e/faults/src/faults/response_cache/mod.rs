//! Faults with the host's response cache (`--response-cache`), before the guest `forwarder` and an origin of the test.

mod clock;
mod operator;
mod origin;
mod outage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use testkit::http::Response;
use testkit::{DEADLINE, Host, HostOptions, Samples, paths};
use tokio::time::sleep;

use crate::testbed::options;
use origin::Origin;

pub(super) use clock::steps;
pub(super) use operator::{purges, reloads};
pub(super) use outage::{origin_gone, origin_silent};

const CAPACITY: &str = "2MiB";
/// The pause between two looks at the counts.
const LOOK: Duration = Duration::from_millis(50);

/// Options of a host that forwards to this origin.
async fn forwarding(origin: &Origin) -> HostOptions {
    let address = origin.address();
    options()
        .await
        .without("--component-metrics")
        .app(paths::guest("forwarder"))
        .flags(&["--var", &format!("origin={address}")])
        .flag("--allowed-outbound-host", &format!("http://{address}"))
        .flag("--response-cache", CAPACITY)
}

/// How a response came about, by the host's member of `Cache-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A fresh stored response.
    Hit,
    /// A stale stored response.
    Stale,
    /// The response to another request in progress.
    Collapsed,
    /// The component.
    Component,
}

impl Source {
    fn of(reply: &Response) -> Self {
        let status = reply.header("cache-status").unwrap_or_default();
        match status {
            _ if status.contains("detail=stale-if-error") || status.contains("ttl=-") => Self::Stale,
            _ if status.contains("; hit;") => Self::Hit,
            _ if status.ends_with("; collapsed") => Self::Collapsed,
            _ => Self::Component,
        }
    }
}

/// The responses that clients have received, by their sources.
#[derive(Debug, Default)]
struct Received {
    hits: AtomicU64,
    stale: AtomicU64,
    collapsed: AtomicU64,
    component: AtomicU64,
}

impl Received {
    fn count(&self, source: Source) {
        let count = match source {
            Source::Hit => &self.hits,
            Source::Stale => &self.stale,
            Source::Collapsed => &self.collapsed,
            Source::Component => &self.component,
        };
        count.fetch_add(1, SeqCst);
    }

    fn all(&self) -> [u64; 4] {
        [&self.hits, &self.stale, &self.collapsed, &self.component].map(|count| count.load(SeqCst))
    }
}

/// What the host has counted: the same as [`Received::all`], and all requests.
fn counted(samples: &Samples) -> ([u64; 4], u64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, far below 2^53")]
    let whole = |value: f64| value as u64;
    let outcome =
        |outcome| whole(samples.sum("wasi_http_host_response_cache_requests_total", &[("outcome", outcome)]));
    let component = ["miss", "bypass", "validated"].map(outcome).iter().sum();
    let all = whole(samples.sum("wasi_http_host_requests_total", &[]));
    ([outcome("hit"), outcome("stale"), outcome("collapsed"), component], all)
}

/// Waits until the host has counted each response exactly once, by its source, and until all requests are the sum of these.
///
/// # Errors
/// If a count is lost, or one too many.
async fn agrees(host: &Host, received: &Received) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let (counts, all) = counted(&host.samples().await);
        if counts == received.all() && all == counts.iter().sum::<u64>() {
            return Ok(());
        }
        if begun.elapsed() > DEADLINE {
            return Err(format!(
                "hits, stale, collapsed and the component's: received {:?}, counted {counts:?} of {all} requests",
                received.all()
            ));
        }
        sleep(LOOK).await;
    }
}

/// Sends a `GET`, and counts the response. Returns the times before and after it, too.
async fn timed_get(host: &Host, target: &str, received: &Received) -> (Instant, Response, Instant) {
    let before = Instant::now();
    let reply = host.get(target).await;
    received.count(Source::of(&reply));
    (before, reply, Instant::now())
}

/// The version of the origin that the response is of.
fn version(reply: &Response) -> Option<u64> {
    std::str::from_utf8(&reply.body).ok()?.split(' ').next()?.parse().ok()
}

/// A version, shared between an operator and clients.
type Floor = Arc<AtomicU64>;
