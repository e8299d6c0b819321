//! What a fault happens to: hosts, the GitHub below them, and clients.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use e2e::fake::FakeGitHub;
use e2e::harness::{Host, Instances, Options, Redis, Samples, target};
use tokio::time::sleep;

use crate::load::{Allows, DEADLINE, Load, Plan};
use crate::tally::Tally;
use crate::traffic::{Gists, Mix, POPULAR, Traffic, people};

const CLIENTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(10);
/// Between two looks at the counts.
const LOOK: Duration = Duration::from_millis(100);

/// Hosts and their GitHub.
pub(crate) struct Site {
    /// Dropped before what they depend on.
    pub(crate) hosts: Vec<Host>,
    pub(crate) github: FakeGitHub,
}

/// What the hosts have counted so far.
pub(crate) struct Counted {
    of_hosts: Vec<Counts>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Counts {
    host: f64,
    component: f64,
}

/// What all faults share: nothing ends by itself because a slow machine takes its time.
pub(crate) fn options() -> Options {
    Options::new(Instances::Reused)
        .setting("cache_ttl", "86400")
        .flag("--component-metrics", "/metrics")
        .flag("--keep-alive-timeout", "60s")
}

/// One that serves the host's own guest in place of the gists API.
pub(crate) async fn guest(change: impl FnOnce(Options) -> Options) -> Result<Host, String> {
    let wasm = target().join("wasm32-wasip2/release/guest_service.wasm");
    if !wasm.is_file() {
        return Err(format!(
            "{} is not there; cargo build --release --target wasm32-wasip2 --package guest-service",
            wasm.display()
        ));
    }
    Ok(Host::start(change(options().without("--component-metrics").serving(wasm))).await)
}

/// An address that was free a moment ago, for a host that is to come back to it.
pub(crate) fn free_address() -> Result<SocketAddr, String> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    free.map_err(|error| format!("no free port: {error}"))
}

/// A GitHub that knows everybody whom the clients ask for.
pub(crate) async fn github() -> Result<FakeGitHub, String> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    FakeGitHub::bind(any, people()).await.map_err(|error| format!("no fake GitHub: {error}"))
}

/// Where a host of this site shares its cache.
pub(crate) fn sharing(options: Options, redis: &Redis) -> Options {
    options
        .setting("cache_store", "shared")
        .flag("--keyvalue-store", &format!("shared=redis://{}", redis.address()))
}

/// For where nothing is wrong with Redis: what a busy machine keeps waiting is not to look like it.
pub(crate) fn patient(options: Options) -> Options {
    options.flag("--keyvalue-timeout", "10s").flag("--keyvalue-connect-timeout", "10s")
}

impl Site {
    /// One host with a store of its own.
    pub(crate) async fn alone(change: impl FnOnce(Options) -> Options) -> Result<Self, String> {
        let github = github().await?;
        let host = Host::start(change(options().setting("github_api_url", &github.url()))).await;
        Self { hosts: vec![host], github }.warm().await
    }

    /// Two hosts that share a cache.
    pub(crate) async fn pair(redis: &Redis, change: impl Fn(Options) -> Options) -> Result<Self, String> {
        let github = github().await?;
        let mut hosts = Vec::new();
        for _ in 0..2 {
            let options = sharing(options().setting("github_api_url", &github.url()), redis);
            hosts.push(Host::start(change(options)).await);
        }
        Self { hosts, github }.warm().await
    }

    /// Puts the popular users into the cache.
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
    /// When there is none.
    pub(crate) fn host(&mut self) -> Result<&mut Host, String> {
        self.hosts.first_mut().ok_or_else(|| "no host".to_owned())
    }

    /// Clients of all hosts, and what those have counted before; returns when all is well.
    pub(crate) async fn load(&self, mix: Mix, allows: Allows) -> Result<(Load, Counted), String> {
        let counted = self.settled().await?;
        let load = self.clients(Gists::new(mix), allows);
        load.normal_again().await?;
        let before = load.tally();
        if before.retried > 0 {
            return Err(format!("a host went before any fault: {before:?}"));
        }
        Ok((load, counted))
    }

    /// Clients of all hosts.
    pub(crate) fn clients(&self, traffic: impl Traffic, allows: Allows) -> Load {
        let addresses = self.hosts.iter().map(Host::address).collect();
        Load::start(Plan { addresses, clients: CLIENTS, pause: PAUSE, allows }, traffic)
    }

    /// Ends a load once all is normal again, with what came of it and from when on it was, and holds the counts to it: see
    /// [`Counted::all`].
    ///
    /// # Errors
    /// When it does not become normal, or a count is lost.
    pub(crate) async fn end(
        &self,
        load: Load,
        counted: &Counted,
        besides: u64,
    ) -> Result<(Tally, Duration), String> {
        let normal_after = load.normal_again().await?;
        let tally = load.finish().await;
        counted.all(self, &tally, besides).await?;
        Ok((tally, normal_after))
    }

    /// What hosts and components have counted, once those agree: a component counts in its own memory, and soon tells.
    async fn settled(&self) -> Result<Counted, String> {
        let begun = Instant::now();
        loop {
            let of_hosts = self.counts().await;
            if of_hosts.iter().all(|counts| counts.host == counts.component) {
                return Ok(Counted { of_hosts });
            }
            if begun.elapsed() > DEADLINE {
                return Err(format!("before any fault, counts are lost: {of_hosts:?}"));
            }
            sleep(LOOK).await;
        }
    }

    async fn counts(&self) -> Vec<Counts> {
        let mut all = Vec::new();
        for host in &self.hosts {
            all.push(Counts::of(&host.host_metrics().await));
        }
        all
    }
}

impl Counted {
    /// Waits until the hosts have counted each answer that clients got, once: `besides` are answers of the first host
    /// that others got.
    ///
    /// # Errors
    /// When a count is lost, or one too many.
    pub(crate) async fn all(&self, site: &Site, tally: &Tally, besides: u64) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let now = site.counts().await;
            let expected = tally.answers.iter().enumerate().map(|(at, answers)| {
                // Below 2^53 by far.
                (answers + if at == 0 { besides } else { 0 }) as f64
            });
            let grown = self.of_hosts.iter().zip(&now).map(|(before, now)| Counts {
                host: now.host - before.host,
                component: now.component - before.component,
            });
            let (grown, expected): (Vec<_>, Vec<_>) = (grown.collect(), expected.collect());
            let same = |(grown, expected): (&Counts, &f64)| {
                *grown == Counts { host: *expected, component: *expected }
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
        Self { host: answered.iter().sum(), component: samples.sum("http_requests_total", &[]) - scrapes }
    }
}
