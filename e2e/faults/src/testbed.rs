//! The testbed of a fault: hosts, a fake GitHub, and clients.

use std::time::{Duration, Instant};

use e2e::Instances;
use e2e::fake::FakeGitHub;
use testkit::{DEADLINE, Host, HostOptions, RedisServer, Samples, paths, ports};
use tokio::time::sleep;

use crate::load::Load;
use crate::plan::{Allows, Plan};
use crate::tally::Tally;
use crate::traffic::{Gists, Mix, POPULAR, Traffic, people};

const CLIENTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(10);
/// The pause between two comparisons of counts.
const LOOK: Duration = Duration::from_millis(100);

/// Hosts and their fake GitHub.
pub(crate) struct Testbed {
    /// The hosts. Dropped before the fake GitHub.
    pub(crate) hosts: Vec<Host>,
    pub(crate) github: FakeGitHub,
}

/// The counts of all hosts at one time.
pub(crate) struct Counted {
    of_hosts: Vec<Counts>,
}

/// The requests that the host and the component have counted. The host's response cache, if it has one, answers the difference.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counts {
    host: f64,
    cached: f64,
    component: f64,
}

/// The outcomes of the response cache that do not reach the component. The gists API allows no stale response.
const ANSWERED_BY_CACHE: [&str; 2] = ["hit", "collapsed"];

/// The options of all hosts. Time limits are long, so that they do not apply on a slow machine.
pub(crate) async fn options() -> HostOptions {
    e2e::options(Instances::Reused)
        .await
        .setting("cache_ttl", "86400")
        .flag("--component-metrics", "/metrics")
        .flag("--keep-alive-timeout", "60s")
}

/// A host that serves the guest `service` (`host/guests/service`) in place of the gists API.
pub(crate) async fn guest(change: impl FnOnce(HostOptions) -> HostOptions) -> Host {
    let options = options().await.without("--component-metrics").app(paths::guest("service"));
    change(options).start().await
}

/// A fake GitHub with all users that the clients request.
pub(crate) async fn github() -> Result<FakeGitHub, String> {
    FakeGitHub::bind(ports::ANY, people()).await.map_err(|error| format!("no fake GitHub: {error}"))
}

/// Options of a host whose cache is in Redis.
pub(crate) fn sharing(options: HostOptions, redis: &RedisServer) -> HostOptions {
    options
        .setting("cache_store", "shared")
        .flag("--keyvalue-store", &format!("shared=redis://{}", redis.address()))
}

/// Options with long time limits of the store, for faults that do not concern Redis.
pub(crate) fn with_long_store_limits(options: HostOptions) -> HostOptions {
    options.flag("--redis-timeout", "10s").flag("--redis-connect-timeout", "10s")
}

/// Options with the host's response cache. The host answers there what the component marks: its own cache's hits.
pub(crate) fn with_response_cache(options: HostOptions) -> HostOptions {
    options.flag("--response-cache", "16MiB")
}

impl Testbed {
    /// One host with a store of its own.
    pub(crate) async fn alone(change: impl FnOnce(HostOptions) -> HostOptions) -> Result<Self, String> {
        let github = github().await?;
        let host = change(options().await.setting("github_api_url", &github.url())).start().await;
        Self { hosts: vec![host], github }.warm().await
    }

    /// Two hosts that share a cache.
    pub(crate) async fn pair(
        redis: &RedisServer,
        change: impl Fn(HostOptions) -> HostOptions,
    ) -> Result<Self, String> {
        let github = github().await?;
        let mut hosts = Vec::new();
        for _ in 0..2 {
            let options = sharing(options().await.setting("github_api_url", &github.url()), redis);
            hosts.push(change(options).start().await);
        }
        Self { hosts, github }.warm().await
    }

    /// Loads the popular users into the cache.
    pub(crate) async fn warm(self) -> Result<Self, String> {
        for host in &self.hosts {
            for number in 0..POPULAR {
                let reply = host.get(&format!("/popular-{number}")).await;
                if reply.status != 200 {
                    return Err(format!("before any fault: {} {}", reply.status, reply.text()));
                }
            }
        }
        Ok(self)
    }

    /// The first host.
    ///
    /// # Errors
    /// If there is no host.
    pub(crate) fn host(&mut self) -> Result<&mut Host, String> {
        self.hosts.first_mut().ok_or_else(|| "no host".to_owned())
    }

    /// Starts clients of all hosts. Returns once the responses are normal, with the counts from before.
    pub(crate) async fn load(&self, mix: Mix, allows: Allows) -> Result<(Load, Counted), String> {
        let counted = self.settled().await?;
        let load = self.clients(Gists::new(mix), allows);
        load.recovered().await?;
        let before = load.tally();
        if before.retried > 0 {
            return Err(format!("a host went before any fault: {before:?}"));
        }
        Ok((load, counted))
    }

    /// Starts clients of all hosts.
    pub(crate) fn clients(&self, traffic: impl Traffic, allows: Allows) -> Load {
        let addresses = self.hosts.iter().map(Host::address).collect();
        Load::start(Plan { addresses, clients: CLIENTS, pause: PAUSE, allows }, traffic)
    }

    /// Waits for recovery, stops the load, and compares the counts: see [`Counted::all`]. Returns the results and the time to
    /// recovery.
    ///
    /// # Errors
    /// If the responses do not recover, or a count is lost.
    pub(crate) async fn end(
        &self,
        load: Load,
        counted: &Counted,
        others: u64,
    ) -> Result<(Tally, Duration), String> {
        let recovered_after = load.recovered().await?;
        let tally = load.finish().await;
        counted.all(self, &tally, others).await?;
        Ok((tally, recovered_after))
    }

    /// The counts of hosts and components, once the two agree: a component publishes its counts a moment later.
    async fn settled(&self) -> Result<Counted, String> {
        let begun = Instant::now();
        loop {
            let of_hosts = self.counts().await;
            if of_hosts.iter().all(|counts| counts.host == counts.cached + counts.component) {
                return Ok(Counted { of_hosts });
            }
            if begun.elapsed() > DEADLINE {
                return Err(format!("counts are lost: {of_hosts:?}"));
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the counts agree. Returns the number of answers that the response caches of the hosts gave, at least one each.
    ///
    /// # Errors
    /// If a count is lost, or a cache has answered nothing.
    pub(crate) async fn answered_by_caches(&self) -> Result<f64, String> {
        let Counted { of_hosts } = self.settled().await?;
        if of_hosts.iter().any(|counts| counts.cached == 0.0) {
            return Err(format!("a response cache has answered nothing: {of_hosts:?}"));
        }
        Ok(of_hosts.iter().map(|counts| counts.cached).sum())
    }

    async fn counts(&self) -> Vec<Counts> {
        let mut all = Vec::new();
        for host in &self.hosts {
            all.push(Counts::of(&host.samples().await));
        }
        all
    }
}

impl Counted {
    /// Waits until the hosts have counted each response exactly once. `others` is the number of responses of the first host to
    /// requests outside of the load.
    ///
    /// # Errors
    /// If a count is lost, or one too many.
    pub(crate) async fn all(&self, testbed: &Testbed, tally: &Tally, others: u64) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let now = testbed.counts().await;
            let expected = tally.answers.iter().enumerate().map(|(at, answers)| {
                // Far below 2^53.
                (answers + if at == 0 { others } else { 0 }) as f64
            });
            let grown = self.of_hosts.iter().zip(&now).map(|(before, now)| Counts {
                host: now.host - before.host,
                cached: now.cached - before.cached,
                component: now.component - before.component,
            });
            let (grown, expected): (Vec<_>, Vec<_>) = (grown.collect(), expected.collect());
            let same = |(grown, expected): (&Counts, &f64)| {
                grown.host == *expected && grown.cached + grown.component == *expected
            };
            if grown.iter().zip(&expected).all(same) {
                return Ok(());
            }
            if begun.elapsed() > DEADLINE {
                return Err(format!("counts are lost: answers {expected:?}, counted {grown:?}"));
            }
            sleep(LOOK).await;
        }
    }
}

impl Counts {
    fn of(samples: &Samples) -> Self {
        let answered = ["1xx", "2xx", "3xx", "4xx", "5xx"]
            .map(|class| samples.sum("wasi_http_host_requests_total", &[("status", class)]));
        let scrapes = samples.sum("http_requests_total", &[("endpoint", "/metrics")]);
        let cached = ANSWERED_BY_CACHE.map(|outcome| {
            samples.sum("wasi_http_host_response_cache_requests_total", &[("outcome", outcome)])
        });
        Self {
            host: answered.iter().sum(),
            cached: cached.iter().sum(),
            component: samples.sum("http_requests_total", &[]) - scrapes,
        }
    }
}
