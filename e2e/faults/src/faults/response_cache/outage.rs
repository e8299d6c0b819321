//! The origin fails while a stale response may answer (`stale-if-error`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use testkit::http::Response;
use tokio::net::TcpListener;

use super::{Origin, Received, Source, agrees, forwarding, timed_get, version};
use crate::fault::{Observed, Outcome, ensure};
use crate::load::Load;
use crate::plan::{Allows, Plan};
use crate::tally::Tally;
use crate::traffic::{Grade, Traffic, TrafficRequest, shown};

const FIELDS: &str = "cache-control: max-age=1, stale-if-error=7\r\n";
/// The age at which the stored response may no longer answer.
const USABLE_FOR: Duration = Duration::from_secs(8);
const CLIENTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(10);
/// The errors that each run waits for.
const ERRORS: u64 = 6;

/// Requests for the one page. The stored response is of version 1, and its request began between two times.
struct Page {
    received: Arc<Received>,
    requested: (Instant, Instant),
    /// The errors once the stored response may no longer answer.
    errors: &'static [u16],
}

impl Traffic for Page {
    fn draw(&self, _: &mut Rng) -> TrafficRequest {
        let (received, (earliest, latest), errors) =
            (Arc::clone(&self.received), self.requested, self.errors);
        let sent = Instant::now();
        // The host has decided between these two times, so that each comparison is right on a slow machine, too.
        let check = move |reply: &Response| {
            let got = Instant::now();
            let source = Source::of(reply);
            received.count(source);
            match reply.status {
                status if errors.contains(&status) => {
                    if got.duration_since(earliest) < USABLE_FOR {
                        return Grade::Wrong(format!("{} although the stale page may answer", shown(reply)));
                    }
                    Grade::Refused(status)
                }
                200 if version(reply) == Some(1) => {
                    if sent.saturating_duration_since(latest) >= USABLE_FOR {
                        return Grade::Wrong(format!("the stale page beyond its time: {:?}", reply.headers));
                    }
                    if source == Source::Stale { Grade::Stale } else { Grade::Right }
                }
                200 if version(reply) == Some(2) => Grade::Right,
                _ => Grade::Wrong(shown(reply)),
            }
        };
        TrafficRequest { target: "/page".to_owned(), check: Box::new(check) }
    }
}

/// The origin's port is closed: 502 once the time is over.
pub(in crate::faults) async fn origin_gone() -> Outcome {
    outage(None).await
}

/// The origin accepts connections and does not answer: 504 once the time is over.
pub(in crate::faults) async fn origin_silent() -> Outcome {
    outage(Some("2s")).await
}

/// With `limit`, the origin is silent, and this is the host's limit for a request.
async fn outage(limit: Option<&str>) -> Outcome {
    // Connections that the silent origin has not accepted are reset when it ends.
    let (what, error, errors): (_, _, &'static [u16]) =
        if limit.is_some() { ("silent", 504, &[502, 504]) } else { ("gone", 502, &[502]) };
    let mut origin = Origin::start(FIELDS, 0).await?;
    let options = forwarding(&origin).await;
    let options = match limit {
        Some(limit) => options.flag("--request-timeout", limit),
        None => options,
    };
    let host = options.start().await;
    let received = Arc::new(Received::default());
    let (earliest, first, latest) = timed_get(&host, "/page", &received).await;
    origin.stop().await;
    ensure!(version(&first) == Some(1), "before any fault: {}", shown(&first));
    let silent = match limit {
        // The kernel accepts the connections.
        Some(_) => Some(TcpListener::bind(origin.address()).await.map_err(|error| error.to_string())?),
        None => None,
    };
    let page = Page { received: Arc::clone(&received), requested: (earliest, latest), errors };
    let plan = Plan {
        addresses: vec![host.address()],
        clients: CLIENTS,
        pause: PAUSE,
        allows: Allows::errors(errors),
    };
    let load = Load::start(plan, page);
    until_errors(&load, error).await?;
    drop(silent);
    origin.next_version();
    origin.resume().await?;
    let recovered_after = load.recovered().await?;
    let tally = load.finish().await;
    agrees(&host, &received).await?;
    let refused: u64 = tally.refused.values().sum();
    Ok(Observed {
        done: format!(
            "the origin {what}: {} stale answers for {USABLE_FOR:?}, then {refused} errors",
            tally.stale
        ),
        tally,
        recovered_after,
    })
}

/// Waits for errors. Until then, stale pages must have answered, and no request may be lost.
async fn until_errors(load: &Load, error: u16) -> Result<(), String> {
    let refused = |tally: &Tally| tally.refused.get(&error).copied().unwrap_or_default();
    load.until("the stale page's time is over", |tally| tally.lost > 0 || refused(tally) >= ERRORS).await?;
    let tally = load.tally();
    if tally.lost == 0 && tally.stale == 0 {
        return Err(format!("no stale page answered: {tally:?}"));
    }
    Ok(())
}
