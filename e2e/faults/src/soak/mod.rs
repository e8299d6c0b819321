//! The soak test: minutes of hits, misses, errors, clients that abort or read late, HTTP/2, failures of GitHub and a cache that is
//! cleared. Afterwards, all resources must return to their idle level.

mod clients;
mod figures;
mod side_load;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::fake::{Delivery, EVERYONE, FakeGitHub, ScriptedResponse};
use testkit::{Host, HostOptions, RedisServer};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::load::Load;
use crate::plan::{Allows, Plan};
use crate::tally::Tally;
use crate::testbed::{github, options, sharing, with_long_store_limits, with_response_cache};
use crate::traffic::{Gists, Mix};
use figures::{Findings, History};
use side_load::SideLoad;

const TOKEN: &str = "soak-token";
/// Errors that the failures of GitHub and the host's limits explain.
const ALLOWED_STATUSES: &[u16] = &[502, 503, 504];
const EVERY: Duration = Duration::from_millis(500);
/// The time that resources may take to return to the idle level: the longest time limit of kept connections.
const QUIET: Duration = Duration::from_secs(150);

/// The arguments of the soak test.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The duration of the load: 90s, 5m, 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    lasting: Duration,
    /// Print JSON objects in place of the tables
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit).and_then(|digits| digits.parse().ok()).ok_or("not a number")?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{unit:?} is neither s, m nor h")),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds).max(10)))
}

/// The name of a host, the requests that an instance serves, and further options.
type Variant = (&'static str, &'static str, fn(HostOptions) -> HostOptions);

/// A host with the history of its resources.
struct WatchedHost {
    name: &'static str,
    host: Host,
    history: History,
    load: Option<Load>,
}

pub(crate) async fn run(arguments: &Arguments) -> ExitCode {
    match soak(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(arguments: &Arguments) -> Result<bool, String> {
    let (github, redis) = (Arc::new(github().await?), RedisServer::start());
    let mut watched = Vec::new();
    let unchanged = |options| options;
    let hosts: [Variant; 3] = [
        ("instances reused", "10000", unchanged),
        ("a fresh instance a request", "1", unchanged),
        ("the response cache", "10000", with_response_cache),
    ];
    for (name, requests, change) in hosts {
        // Scrapes must not keep instances alive.
        let options = options()
            .await
            .without("--component-metrics")
            .setting("github_api_url", &github.url())
            .setting("admin_token", TOKEN)
            .setting("cache_ttl", "5")
            .setting("upstream_timeout", "2")
            .flag("--instance-max-requests", requests)
            .flag("--instance-idle-timeout", "2s")
            .flag("--keep-alive-timeout", "5s");
        let host = change(with_long_store_limits(sharing(options, &redis))).start().await;
        watched.push(WatchedHost { name, host, history: History::new(github.address().port()), load: None });
    }
    // A short load, so that everything that is created once exists; then the idle level.
    let warming = Arc::new(SideLoad::default());
    let tallies = busy(&mut watched, &github, &warming, Duration::from_secs(3)).await;
    if tallies.iter().any(|tally| tally.lost > 0) {
        return Err(format!("lost while warming up: {tallies:?}"));
    }
    for watched_host in &mut watched {
        watched_host.history.rest_idle(&watched_host.host, QUIET).await;
    }

    if !arguments.json {
        println!("load for {:?}, on three hosts that share a Redis", arguments.lasting);
    }
    let side_load = Arc::new(SideLoad::default());
    let tallies = busy(&mut watched, &github, &side_load, arguments.lasting).await;
    let mut well = true;
    for (watched_host, tally) in watched.iter_mut().zip(&tallies) {
        let mut findings = watched_host.history.rest_after(&watched_host.host, QUIET).await;
        findings.add(tally.lost == 0, || {
            format!("{} requests are lost: {}", tally.lost, tally.reasons.join("\n    "))
        });
        well &= findings.is_empty();
        show(arguments, watched_host, tally, &findings);
    }
    let mut findings = Findings::default();
    for left in ["permit", "lease"] {
        let keys: Vec<String> =
            redis.query(&["KEYS", &format!("*{left}:*")]).map_err(|error| error.to_string())?;
        findings.add(keys.is_empty(), || format!("{left}s are left in Redis: {keys:?}"));
    }
    let wrong = side_load.take_failures();
    findings.add(wrong.is_empty(), || wrong.join("\n    "));
    well &= findings.is_empty();
    summary(arguments, &side_load, &findings);
    Ok(well)
}

/// Puts load on all hosts for this time, and samples their resources. Returns the counts of each host.
async fn busy(
    watched: &mut [WatchedHost],
    github: &Arc<FakeGitHub>,
    side_load: &Arc<SideLoad>,
    lasting: Duration,
) -> Vec<Tally> {
    let mut others = JoinSet::new();
    for watched_host in &mut *watched {
        let address = watched_host.host.address();
        let plan = Plan {
            addresses: vec![address],
            clients: 6,
            pause: Duration::from_millis(5),
            allows: Allows::errors(ALLOWED_STATUSES),
        };
        watched_host.load = Some(Load::start(plan, Gists::recurring(Mix::ALL)));
        others.spawn(clients::leaving(address, Arc::clone(side_load)));
        others.spawn(clients::reading_late(address, Arc::clone(side_load)));
        others.spawn(clients::multiplexing(address, Arc::clone(side_load)));
        others.spawn(clients::clearing(address, TOKEN, Arc::clone(side_load)));
    }
    others.spawn(failing(Arc::clone(github), Arc::clone(side_load)));
    let begun = Instant::now();
    while begun.elapsed() < lasting {
        for watched_host in &mut *watched {
            watched_host.history.sample(&watched_host.host, begun.elapsed()).await;
        }
        sleep(EVERY).await;
    }
    side_load.stop();
    let mut tallies = Vec::new();
    for watched_host in &mut *watched {
        if let Some(load) = watched_host.load.take() {
            tallies.push(load.finish().await);
        }
    }
    while let Some(ended) = others.join_next().await {
        if let Err(error) = ended {
            side_load.fail(format!("a client panicked: {error}"));
        }
    }
    github.restore(EVERYONE);
    tallies
}

/// GitHub fails for one second in four.
async fn failing(github: Arc<FakeGitHub>, side_load: Arc<SideLoad>) {
    let faults = [
        ScriptedResponse::status(503),
        ScriptedResponse::genuine().deliver(Delivery::Reset(10)),
        ScriptedResponse::genuine().deliver(Delivery::Silence),
        ScriptedResponse::genuine().deliver(Delivery::Claim(1 << 20)),
        ScriptedResponse::genuine().after(Duration::from_millis(500)),
    ];
    let well = Duration::from_secs(3);
    for fault in faults.iter().cycle() {
        for (answer, lasting) in [(ScriptedResponse::genuine(), well), (fault.clone(), well / 3)] {
            github.always(EVERYONE, answer);
            let until = Instant::now() + lasting;
            while Instant::now() < until {
                if side_load.is_stopped() {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn show(arguments: &Arguments, watched_host: &WatchedHost, tally: &Tally, findings: &Findings) {
    if arguments.json {
        println!("{}", watched_host.history.json(watched_host.name, tally, findings));
        return;
    }
    let (answers, lost) = (tally.total(), tally.lost);
    let slowest = tally.slowest.as_secs_f64();
    println!(
        "\n{}: {answers} answers, {lost} lost, {} refused while GitHub failed, slowest {slowest:.2} s",
        watched_host.name,
        tally.refused.values().sum::<u64>()
    );
    print!("{}", watched_host.history.table());
    for fault in findings.all() {
        println!("  FAILED: {fault}");
    }
}

fn summary(arguments: &Arguments, side_load: &SideLoad, findings: &Findings) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (aborted, slow_readers) = (count(&side_load.aborted), count(&side_load.slow_readers));
    let (multiplexed, cleared) = (count(&side_load.multiplexed), count(&side_load.cleared));
    if arguments.json {
        let faults: Vec<_> = findings.all().collect();
        println!(
            "{}",
            serde_json::json!({ "aborted": aborted, "slow_readers": slow_readers, "http2": multiplexed, "cleared": cleared, "failures": faults })
        );
        return;
    }
    println!(
        "\nbesides: {aborted} clients aborted, {slow_readers} read slowly, {multiplexed} answers over HTTP/2, the cache cleared {cleared} times"
    );
    for fault in findings.all() {
        println!("  FAILED: {fault}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "5", "m", "5d", "-5s", "1.5m"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
