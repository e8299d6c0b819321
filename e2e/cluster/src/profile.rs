//! A load of users that come and go, from the JSON file of a k6 script: `load/shop.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::load::{Tally, allowed};
use crate::{fail, percentile};
use testkit::http::Request;
use testkit::http::blocking::Client;

/// How often a user who is not there yet looks whether it is time to come.
const LOOK: Duration = Duration::from_millis(50);

/// The most users of a profile: each is a thread.
const MAX_USERS: u32 = 1_000;

/// A load profile.
#[derive(Debug, Clone, Deserialize)]
pub struct Profile {
    options: Options,
    /// The time between a user's last response and the next round of requests.
    pause_seconds: f64,
    /// What a user requests in each round.
    requests: Vec<Visit>,
}

/// The part of k6's options that a profile may use.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    stages: Vec<Stage>,
    thresholds: BTreeMap<String, Vec<String>>,
}

/// The number of users changes evenly to `target` within `duration`.
#[derive(Debug, Clone, Deserialize)]
struct Stage {
    #[serde(deserialize_with = "duration")]
    duration: Duration,
    target: u32,
}

#[derive(Debug, Clone, Deserialize)]
struct Visit {
    kind: String,
    path: String,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Panics
    /// If the file is missing, or is no profile.
    #[track_caller]
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| fail(format!("{}: {error}", path.display())));
        Self::parse(&text).unwrap_or_else(|error| fail(format!("{}: {error}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let profile: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if profile.users() > MAX_USERS {
            return Err(format!("{} users are more than {MAX_USERS}", profile.users()));
        }
        for (metric, expressions) in &profile.options.thresholds {
            for expression in expressions {
                Threshold::parse(metric, expression)?;
            }
        }
        Ok(profile)
    }

    /// The same stages in this share of their time, and the same pause.
    #[must_use]
    pub fn in_share_of_time(mut self, share: f64) -> Self {
        for stage in &mut self.options.stages {
            stage.duration = stage.duration.mul_f64(share);
        }
        self
    }

    /// The most users at once.
    #[must_use]
    pub fn users(&self) -> u32 {
        self.options.stages.iter().map(|stage| stage.target).max().unwrap_or_default()
    }

    /// How many users there are at this time after the start; `None` at the end.
    fn users_after(&self, elapsed: Duration) -> Option<u32> {
        let (mut begin, mut before) = (Duration::ZERO, 0);
        for stage in &self.options.stages {
            let within = elapsed.saturating_sub(begin);
            if within < stage.duration {
                let share = within.as_secs_f64() / stage.duration.as_secs_f64();
                let change = (f64::from(stage.target) - f64::from(before)) * share;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between two numbers of users"
                )]
                return Some((f64::from(before) + change).round() as u32);
            }
            (begin, before) = (begin + stage.duration, stage.target);
        }
        None
    }

    /// Runs the profile to its end, with a client for each kind of request. Returns the results by kind.
    ///
    /// # Panics
    /// If a kind has no client, a client's address is not on loopback, or the test has no exclusive [`crate::Access`].
    #[track_caller]
    #[must_use]
    pub fn run(&self, clients: &BTreeMap<&str, Client>) -> BTreeMap<String, Tally> {
        let round: Arc<Vec<_>> = Arc::new(
            self.requests
                .iter()
                .map(|visit| {
                    let client = clients.get(&*visit.kind);
                    let client = client.unwrap_or_else(|| fail(format!("no client for {}", visit.kind)));
                    allowed(client);
                    (visit.kind.clone(), client.clone(), Request::get(&visit.path))
                })
                .collect(),
        );
        let profile = Arc::new(self.clone());
        let started = Instant::now();
        let users: Vec<_> = (0..self.users())
            .map(|user| {
                let (profile, round) = (Arc::clone(&profile), Arc::clone(&round));
                std::thread::spawn(move || profile.user(user, started, &round))
            })
            .collect();
        let mut all: BTreeMap<String, Tally> = BTreeMap::new();
        for (kind, tally) in users.into_iter().filter_map(|user| user.join().ok()).flatten() {
            let sum = all.remove(&kind).unwrap_or_default().with(tally);
            all.insert(kind, sum);
        }
        all
    }

    /// One user until the end of the profile.
    fn user(
        &self,
        user: u32,
        started: Instant,
        round: &[(String, Client, Request)],
    ) -> BTreeMap<String, Tally> {
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        let mut connections: BTreeMap<&str, _> = BTreeMap::new();
        while let Some(users) = self.users_after(started.elapsed()) {
            if user >= users {
                std::thread::sleep(LOOK);
                continue;
            }
            for (kind, client, request) in round {
                let tally = tallies.entry(kind.clone()).or_default();
                let open = tally.send(client, connections.remove(&**kind), request);
                connections.extend(open.map(|open| (&**kind, open)));
            }
            std::thread::sleep(Duration::from_secs_f64(self.pause_seconds));
        }
        tallies
    }

    /// The thresholds that these results exceed, as text.
    #[must_use]
    pub fn exceeded(&self, results: &BTreeMap<String, Tally>) -> Vec<String> {
        let mut exceeded = Vec::new();
        for (metric, expressions) in &self.options.thresholds {
            for expression in expressions {
                match Threshold::parse(metric, expression) {
                    Ok(threshold) => exceeded.extend(threshold.exceeded(results)),
                    Err(error) => exceeded.push(error),
                }
            }
        }
        exceeded
    }
}

/// A threshold of k6.
#[derive(Debug)]
struct Threshold<'a> {
    /// As it is written, for messages.
    written: String,
    /// The kind of request, or all.
    kind: Option<&'a str>,
    limit: Limit,
}

#[derive(Debug, PartialEq)]
enum Limit {
    /// A quantile of the latencies, and its limit in milliseconds.
    Latency(f64, f64),
    /// The share of failed requests: k6 counts a status of 400 and above.
    Failed(f64),
}

impl<'a> Threshold<'a> {
    fn parse(metric: &'a str, expression: &str) -> Result<Self, String> {
        let written = format!("{metric}: {expression}");
        let (name, kind) = match metric.split_once("{kind:") {
            Some((name, kind)) => (name, kind.strip_suffix('}')),
            None => (metric, None),
        };
        let (left, limit) = expression.split_once('<').unwrap_or_default();
        let limit = limit.trim().parse::<f64>();
        let quantile = left.trim().strip_prefix("p(").and_then(|rest| rest.strip_suffix(')'));
        let limit = match (name, left.trim(), quantile.map(str::parse::<f64>), limit) {
            ("http_req_duration", _, Some(Ok(quantile)), Ok(limit)) => {
                Limit::Latency(quantile / 100.0, limit)
            }
            ("http_req_failed", "rate", None, Ok(limit)) => Limit::Failed(limit),
            _ => {
                return Err(format!(
                    "threshold {written}: it is neither p(N)<MS of http_req_duration nor rate<R of http_req_failed, each with {{kind:K}} or without"
                ));
            }
        };
        Ok(Self { written, kind, limit })
    }

    fn exceeded(&self, results: &BTreeMap<String, Tally>) -> Option<String> {
        let of_kind = results.iter().filter(|(kind, _)| self.kind.is_none_or(|wanted| wanted == *kind));
        let all = of_kind.fold(Tally::default(), |sum, (_, tally)| sum.with(tally.clone()));
        let measured = match self.limit {
            Limit::Latency(quantile, limit) => {
                let latency = percentile(&all.latencies, quantile).map(|latency| latency.as_secs_f64() * 1e3);
                latency.filter(|latency| *latency >= limit).map(|latency| format!("{latency:.1} ms"))
            }
            Limit::Failed(limit) => {
                let failed: u64 = all.broken + all.statuses.range(400..).map(|(_, count)| count).sum::<u64>();
                let share = failed as f64 / all.sent.max(1) as f64;
                (share >= limit).then(|| format!("{failed} of {} failed", all.sent))
            }
        };
        // Without requests, nothing is below a threshold.
        let measured = if all.sent == 0 { Some("no requests".to_owned()) } else { measured };
        measured.map(|measured| format!("{}: {measured}", self.written))
    }
}

/// A duration of k6, such as `1m30s`.
fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || serde::de::Error::custom(format!("{text:?} is no duration such as 1m30s"));
    let (mut rest, mut sum) = (&*text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let one = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        (rest, sum) = (after, sum + one.checked_mul(number).ok_or_else(wrong)?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Profile {
        Profile::read(&testkit::paths::workspace().join("e2e/cluster/load/shop.json"))
    }

    #[test]
    fn the_profile_of_the_shop_has_fifty_and_then_a_hundred_users_for_sixteen_minutes() {
        let after = |minutes: u64| shop().users_after(Duration::from_secs(minutes * 60));
        let users: Vec<_> = [0, 1, 2, 7, 8, 9, 14, 15, 16].map(after).to_vec();
        let wanted = [0, 25, 50, 50, 75, 100, 100, 50].map(Some);
        assert_eq!(users, wanted.into_iter().chain([None]).collect::<Vec<_>>());
        assert_eq!(shop().users(), 100);
        assert_eq!(shop().in_share_of_time(0.01).users_after(Duration::from_millis(600)), Some(25));
    }

    #[test]
    fn the_script_that_k6_runs_reads_the_profile() {
        let script = testkit::paths::workspace().join("e2e/cluster/load/shop.js");
        let script = std::fs::read_to_string(script).unwrap_or_default();
        for line in [
            r#"JSON.parse(open("./shop.json"))"#,
            "export const options = profile.options;",
            "export default function",
        ] {
            assert!(script.contains(line), "{line}: {script}");
        }
    }

    fn tally(kind: &str, statuses: &[(u16, u64)], milliseconds: u64) -> BTreeMap<String, Tally> {
        let sent = statuses.iter().map(|(_, count)| count).sum::<u64>();
        let latencies = (0..sent).map(|_| Duration::from_millis(milliseconds)).collect();
        let tally =
            Tally { sent, statuses: statuses.iter().copied().collect(), latencies, ..Tally::default() };
        BTreeMap::from([(kind.to_owned(), tally)])
    }

    #[test]
    fn a_threshold_that_is_exceeded_is_named_with_what_was_measured() {
        let thresholds = |results: &[BTreeMap<String, Tally>]| {
            let all = results.iter().flat_map(BTreeMap::clone).collect();
            shop().exceeded(&all)
        };
        let good = tally("api", &[(200, 995), (500, 5)], 199);
        assert_eq!(
            thresholds(&[good.clone(), tally("page", &[(200, 900), (404, 5)], 499)]),
            Vec::<String>::new()
        );
        let slow = thresholds(&[tally("api", &[(200, 100)], 200)]);
        assert_eq!(slow, ["http_req_duration{kind:api}: p(95)<200: 200.0 ms"]);
        let failed = thresholds(&[tally("api", &[(200, 99), (404, 1)], 1)]);
        assert_eq!(failed, ["http_req_failed: rate<0.01: 1 of 100 failed"]);
        let none = thresholds(&[tally("page", &[(200, 100)], 1)]);
        assert_eq!(none, ["http_req_duration{kind:api}: p(95)<200: no requests"]);
    }

    #[test]
    fn what_is_no_profile_is_refused_by_name() {
        let with = |stage: &str, metric: &str, expression: &str| {
            let text = format!(
                r#"{{"options": {{"stages": [{stage}], "thresholds": {{"{metric}": ["{expression}"]}}}}, "pause_seconds": 1, "requests": []}}"#
            );
            Profile::parse(&text).map(|profile| profile.options.stages[0].duration)
        };
        let stage = r#"{"duration": "1m30s", "target": 1}"#;
        assert_eq!(with(stage, "http_req_failed", "rate<0.01"), Ok(Duration::from_secs(90)));
        for (stage, metric, expression, named) in [
            (r#"{"duration": "1", "target": 1}"#, "http_req_failed", "rate<1", "\"1\""),
            (r#"{"duration": "1d", "target": 1}"#, "http_req_failed", "rate<1", "\"1d\""),
            (r#"{"duration": "1s", "target": 1001}"#, "http_req_failed", "rate<1", "1001 users"),
            (stage, "http_reqs", "count<1", "http_reqs: count<1"),
            (stage, "http_req_duration", "p(95)>1", "p(95)>1"),
            (stage, "http_req_duration", "avg<1", "avg<1"),
        ] {
            let error = with(stage, metric, expression).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
