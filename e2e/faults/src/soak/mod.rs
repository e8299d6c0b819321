//! Minutes of everything at once: hits, misses, errors, clients that leave or dawdle, HTTP/2, a GitHub that fails, a cache that is
//! emptied. Then quiet; and all that was in use must be back where it was.

mod clients;
mod figures;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::fake::{Answer, Delivery, EVERYONE, FakeGitHub};
use e2e::harness::{Host, Redis};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::load::{Allows, Load, Plan};
use crate::site::{github, options, patient, sharing};
use crate::tally::Tally;
use crate::traffic::{Gists, Mix};
use figures::{Course, Verdict};

const TOKEN: &str = "soak-token";
/// What GitHub's failures may bring about, and the host's own bounds.
const TOLERATES: &[u16] = &[502, 503, 504];
const EVERY: Duration = Duration::from_millis(500);
/// How long what was in use may take to go: the longest time limits of connections that are kept.
const QUIET: Duration = Duration::from_secs(150);

/// How the soak is run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long the load lasts: 90s, 5m, 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    lasting: Duration,
    /// A JSON object in place of the tables
    #[arg(long)]
    json: bool,
}

/// What else is going on, besides the requests that are graded.
#[derive(Default)]
pub(crate) struct Besides {
    stop: AtomicBool,
    /// Clients that left, dawdled, spoke HTTP/2, emptied the cache.
    aborted: AtomicU64,
    dawdled: AtomicU64,
    multiplexed: AtomicU64,
    cleared: AtomicU64,
    /// What must not be, in words; the first count.
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Besides {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn complain(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if wrong.len() < 20 {
            wrong.push(what);
        }
    }
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

/// A host with the course of its figures.
struct Patient {
    name: &'static str,
    host: Host,
    course: Course,
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
    let (github, redis) = (Arc::new(github().await?), Redis::start());
    let mut patients = Vec::new();
    for (name, requests) in [("instances reused", "10000"), ("a fresh instance a request", "1")] {
        // What is watched must not keep instances awake.
        let options = options()
            .without("--component-metrics")
            .setting("github_api_url", &github.url())
            .setting("admin_token", TOKEN)
            .setting("cache_ttl", "5")
            .setting("upstream_timeout", "2")
            .flag("--instance-max-requests", requests)
            .flag("--instance-idle-timeout", "2s")
            .flag("--keep-alive-timeout", "5s");
        let host = Host::start(patient(sharing(options, &redis))).await;
        patients.push(Patient { name, host, course: Course::new(github.address().port()), load: None });
    }
    // A little of everything, so that what is made once is made; then the idle level.
    let warming = Arc::new(Besides::default());
    let tallies = busy(&mut patients, &github, &warming, Duration::from_secs(3)).await;
    if tallies.iter().any(|tally| tally.lost > 0) {
        return Err(format!("lost while warming up: {tallies:?}"));
    }
    for patient in &mut patients {
        patient.course.rest_idle(&patient.host, QUIET).await;
    }

    if !arguments.json {
        println!("load for {:?}, on two hosts that share a Redis", arguments.lasting);
    }
    let besides = Arc::new(Besides::default());
    let tallies = busy(&mut patients, &github, &besides, arguments.lasting).await;
    let mut well = true;
    for (patient, tally) in patients.iter_mut().zip(&tallies) {
        let mut verdict = patient.course.rest_after(&patient.host, QUIET).await;
        verdict.add(tally.lost == 0, || {
            format!("{} requests are lost: {}", tally.lost, tally.reasons.join("\n    "))
        });
        well &= verdict.is_well();
        show(arguments, patient, tally, &verdict);
    }
    let mut verdict = Verdict::default();
    for left in ["permit", "lease"] {
        let keys = redis.command(&format!("KEYS *{left}:*")).map_err(|error| error.to_string())?;
        verdict.add(keys == "*0", || format!("{left}s are left in Redis: {keys}"));
    }
    let wrong = std::mem::take(&mut *besides.wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    verdict.add(wrong.is_empty(), || wrong.join("\n    "));
    well &= verdict.is_well();
    summary(arguments, &besides, &verdict);
    Ok(well)
}

/// Load on all hosts for so long, sampled; what came of each.
async fn busy(
    patients: &mut [Patient],
    github: &Arc<FakeGitHub>,
    besides: &Arc<Besides>,
    lasting: Duration,
) -> Vec<Tally> {
    let mut others = JoinSet::new();
    for patient in &mut *patients {
        let address = patient.host.address();
        let plan = Plan {
            addresses: vec![address],
            clients: 6,
            pause: Duration::from_millis(5),
            allows: Allows::errors(TOLERATES),
        };
        patient.load = Some(Load::start(plan, Gists::recurring(Mix::ALL)));
        others.spawn(clients::leaving(address, Arc::clone(besides)));
        others.spawn(clients::dawdling(address, Arc::clone(besides)));
        others.spawn(clients::multiplexing(address, Arc::clone(besides)));
        others.spawn(clients::clearing(address, TOKEN, Arc::clone(besides)));
    }
    others.spawn(failing(Arc::clone(github), Arc::clone(besides)));
    let begun = Instant::now();
    while begun.elapsed() < lasting {
        for patient in &mut *patients {
            patient.course.sample(&patient.host, begun.elapsed()).await;
        }
        sleep(EVERY).await;
    }
    besides.stop.store(true, Ordering::Relaxed);
    let mut tallies = Vec::new();
    for patient in &mut *patients {
        if let Some(load) = patient.load.take() {
            tallies.push(load.finish().await);
        }
    }
    while let Some(ended) = others.join_next().await {
        if let Err(error) = ended {
            besides.complain(format!("a client broke down: {error}"));
        }
    }
    github.truth(EVERYONE);
    tallies
}

/// GitHub is well most of the time.
async fn failing(github: Arc<FakeGitHub>, besides: Arc<Besides>) {
    let faults = [
        Answer::status(503),
        Answer::truth().deliver(Delivery::Reset(10)),
        Answer::truth().deliver(Delivery::Silence),
        Answer::truth().deliver(Delivery::Claim(1 << 20)),
        Answer::truth().after(Duration::from_millis(500)),
    ];
    let well = Duration::from_secs(3);
    for fault in faults.iter().cycle() {
        for (answer, lasting) in [(Answer::truth(), well), (fault.clone(), well / 3)] {
            github.always(EVERYONE, answer);
            let until = Instant::now() + lasting;
            while Instant::now() < until {
                if !besides.goes_on() {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn show(arguments: &Arguments, patient: &Patient, tally: &Tally, verdict: &Verdict) {
    if arguments.json {
        println!("{}", patient.course.json(patient.name, tally, verdict));
        return;
    }
    let (answers, lost) = (tally.total(), tally.lost);
    let slowest = tally.slowest.as_secs_f64();
    println!(
        "\n{}: {answers} answers, {lost} lost, {} refused while GitHub failed, slowest {slowest:.2} s",
        patient.name,
        tally.refused.values().sum::<u64>()
    );
    print!("{}", patient.course.table());
    for fault in verdict.faults() {
        println!("  FAILED: {fault}");
    }
}

fn summary(arguments: &Arguments, besides: &Besides, verdict: &Verdict) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (aborted, dawdled) = (count(&besides.aborted), count(&besides.dawdled));
    let (multiplexed, cleared) = (count(&besides.multiplexed), count(&besides.cleared));
    if arguments.json {
        let faults: Vec<_> = verdict.faults().collect();
        println!(
            "{}",
            serde_json::json!({ "aborted": aborted, "dawdled": dawdled, "http2": multiplexed, "cleared": cleared, "failures": faults })
        );
        return;
    }
    println!(
        "\nbesides: {aborted} clients left half-way, {dawdled} read slowly, {multiplexed} answers over HTTP/2, the cache emptied {cleared} times"
    );
    for fault in verdict.faults() {
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
