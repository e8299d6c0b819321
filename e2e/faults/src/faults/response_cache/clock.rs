//! Steps of the wall clock: they change the age of no stored response, and let no response outlive its lifetime.

use std::time::{Duration, Instant, SystemTime};

use testkit::Host;
use testkit::http::Response;
use tokio::time::sleep;

use super::{Origin, Received, Source, agrees, forwarding, timed_get};
use crate::fault::{Observed, Outcome, ensure};
use crate::faults::clock::Clock;
use crate::tally::Tally;
use crate::traffic::shown;

const HOUR: i64 = 3600;
/// The lifetime of the response that is stored before the steps, in seconds.
const LIFETIME: u64 = 7200;
/// The lifetime of the response whose end is waited for.
const SHORT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// A host, its origin, and a stored response.
struct Bench {
    host: Host,
    origin: Origin,
    received: Received,
    tally: Tally,
}

/// The times before the request for a stored response, and after its response.
#[derive(Clone, Copy)]
struct Requested {
    earliest: Instant,
    latest: Instant,
}

pub(in crate::faults) async fn steps() -> Outcome {
    let clock = Clock::real().await?;
    let origin = Origin::start("", 0).await?;
    let host = clock.read_by(forwarding(&origin).await).start().await;
    let mut bench = Bench { host, origin, received: Received::default(), tally: Tally::default() };

    bench.origin.respond_with(&format!("cache-control: max-age={LIFETIME}\r\n"));
    let (stored, _) = bench.store("/early").await?;
    let mut hour = bench.hour("/date").await?;
    for offset in [HOUR, -HOUR, 2 * HOUR, 0] {
        clock.set(offset).await?;
        let now = bench.hour(&format!("/date/{offset}")).await?;
        ensure!(now != hour, "the host's clock does not show the step to {offset} s");
        hour = now;
        bench.has_its_age("/early", stored, 0).await;
        match offset {
            HOUR => bench.an_hour_ahead().await?,
            offset if offset < 0 => bench.behind().await?,
            _ => {}
        }
    }
    agrees(&bench.host, &bench.received).await?;
    Ok(Observed {
        done: "+1 h, −2 h, +3 h, −2 h; ages and lifetimes are right".to_owned(),
        tally: bench.tally,
        recovered_after: Duration::ZERO,
    })
}

impl Bench {
    async fn get(&mut self, target: &str) -> (Requested, Response) {
        let (earliest, reply, latest) = timed_get(&self.host, target, &self.received).await;
        (Requested { earliest, latest }, reply)
    }

    /// Requests a page that is not stored.
    async fn store(&mut self, target: &str) -> Result<(Requested, Response), String> {
        let (requested, reply) = self.get(target).await;
        self.tally.add(None);
        if reply.status != 200 || Source::of(&reply) != Source::Component {
            return Err(format!("{target}: {} {:?}", shown(&reply), reply.headers));
        }
        Ok((requested, reply))
    }

    /// The hour that the host's clock shows: the date of a response that is stored without one. The first answer does not show
    /// the clock: hyper writes the same date until the clock has passed it.
    async fn hour(&mut self, target: &str) -> Result<String, String> {
        self.origin.respond_with(&format!("cache-control: max-age={LIFETIME}\r\n"));
        self.store(target).await?;
        let (_, reply) = self.get(target).await;
        self.tally.add(None);
        let hour = reply.header("date").and_then(|date| date.get(17..19)).map(str::to_owned);
        hour.filter(|_| Source::of(&reply) == Source::Hit)
            .ok_or_else(|| format!("no hit: {:?}", reply.headers))
    }

    /// Checks that a stored response answers with its age: `more` seconds, and the time since its request.
    async fn has_its_age(&mut self, target: &str, stored: Requested, more: u64) {
        let (asked, reply) = self.get(target).await;
        let least = asked.earliest.saturating_duration_since(stored.latest).as_secs() + more;
        // A date is cut to seconds.
        let most = asked.latest.duration_since(stored.earliest).as_secs() + more + u64::from(more > 0);
        let age = reply.header("age").and_then(|age| age.parse().ok());
        let is_right =
            Source::of(&reply) == Source::Hit && age.is_some_and(|age| (least..=most).contains(&age));
        let problem = (!is_right).then(|| format!("{target}, {least} to {most} s old: {:?}", reply.headers));
        self.tally.add(problem);
    }

    /// The host's clock is an hour ahead of the origin's, so that the origin's responses seem to be an hour old.
    async fn an_hour_ahead(&mut self) -> Result<(), String> {
        let hour = HOUR.unsigned_abs();
        self.origin
            .respond_with(&format!("{}cache-control: max-age={LIFETIME}\r\n", date("date", Duration::ZERO)));
        let (stored, _) = self.store("/ahead").await?;
        self.has_its_age("/ahead", stored, hour).await;
        self.origin.respond_with(&format!("{}cache-control: max-age=1800\r\n", date("date", Duration::ZERO)));
        for _ in 0..2 {
            self.store("/ahead/stale").await?;
        }
        Ok(())
    }

    /// The host's clock is behind the origin's, so that the origin's dates are in the future.
    async fn behind(&mut self) -> Result<(), String> {
        let fields = [date("date", Duration::ZERO), date("expires", SHORT)].concat();
        self.origin.respond_with(&fields);
        let (stored, _) = self.store("/behind").await?;
        loop {
            let (asked, reply) = self.get("/behind").await;
            let is_hit = Source::of(&reply) == Source::Hit;
            let is_early = asked.latest.duration_since(stored.earliest) < SHORT;
            let is_late = asked.earliest.saturating_duration_since(stored.latest) >= SHORT;
            let is_wrong = if is_hit { is_late } else { is_early };
            self.tally.add(is_wrong.then(|| format!("/behind, fresh for {SHORT:?}: {:?}", reply.headers)));
            if !is_hit || is_wrong {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }
}

/// The line of a field with the test's own date, this much later.
fn date(name: &str, later: Duration) -> String {
    format!("{name}: {}\r\n", httpdate::fmt_http_date(SystemTime::now() + later))
}
