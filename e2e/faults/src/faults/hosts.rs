//! One of several hosts ends.

use std::time::{Duration, Instant};

use testkit::{Host, HostOptions, RedisServer, http::Request, ports, until};

use crate::fault::{Failure, Observed, Outcome, ensure};
use crate::load::Load;
use crate::plan::{Allows, HostFault};
use crate::testbed::{Testbed, github, options, sharing, with_long_store_limits, with_response_cache};
use crate::traffic::{Mix, POPULAR};

/// The number of requests that wait for the holder of the lease.
const CROWD: usize = 30;
/// The component's `upstream_timeout`. The lease is five seconds longer.
const UPSTREAM_TIMEOUT: &str = "4";

/// A change of the options of a host.
type Change = fn(HostOptions) -> HostOptions;

fn at_once(options: HostOptions) -> HostOptions {
    options.flag("--shutdown-grace", "0s")
}

pub(super) async fn lease_holder() -> Outcome {
    let redis = RedisServer::start();
    let mut testbed = Testbed::pair(&redis, |options| {
        with_long_store_limits(options).setting("upstream_timeout", UPSTREAM_TIMEOUT)
    })
    .await?;
    let mut holder = testbed.hosts.remove(0);
    let (load, counted) = testbed.load(Mix::CACHED, Allows::NOTHING).await?;
    let other = testbed.host()?.address();
    let hold = testbed.github.hold("newcomer-0");
    let asked_of_holder = holder.request("GET", "/newcomer-0");
    let doomed = tokio::spawn(async move { asked_of_holder.try_send().await });
    let holds = async || (!testbed.github.journal().calls_for("newcomer-0").is_empty()).then_some(());
    until("the holder asks GitHub", holds).await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        crowd.spawn(Request::get("/newcomer-0").to(other).send());
    }
    let host = testbed.host()?;
    until("the crowd waits at the other host", async || {
        let active = host.samples().await.sum("wasi_http_host_requests_active", &[]);
        (active >= CROWD as f64).then_some(())
    })
    .await;
    holder.kill().await;
    let killed = Instant::now();
    hold.release();
    let replies = crowd.join_all().await;
    let after = killed.elapsed();
    ensure!(doomed.await.is_ok_and(|answer| answer.is_err()), "the killed host answered");
    let right = replies.iter().filter(|reply| reply.status == 200).count();
    ensure!(right == CROWD, "{right} of {CROWD} were answered: {:?}", replies.first());
    let calls = testbed.github.journal().calls_for("newcomer-0").len();
    ensure!(calls == 2, "GitHub was asked {calls} times: once by the killed host, and once more is right");
    load.recovered().await?;
    let tally = load.finish().await;
    ensure!(tally.degraded() == 0, "other requests are affected: {tally:?}");
    counted.all(&testbed, &tally, CROWD as u64).await?;
    Ok(Observed {
        done: format!("kill -9 while {CROWD} wait for its answer elsewhere; GitHub asked once more"),
        tally,
        recovered_after: after,
    })
}

pub(super) async fn killed() -> Outcome {
    let redis = RedisServer::start();
    let (mut testbed, address) = pair_with_fixed(&redis, at_once).await?;
    let (load, _) = testbed.load(Mix::ALL, Allows::loss_of_first_host(HostFault::Killed)).await?;
    let mut doomed = testbed.hosts.remove(0);
    let since = Instant::now();
    doomed.kill().await;
    load.until("its clients change to the other host", |tally| tally.retried > 0).await?;
    load.more(400).await?;
    let back = start(&testbed, &redis, address, at_once).await;
    let recovered_after = restarted(&load, since, back).await?;
    let tally = load.finish().await;
    Ok(Observed {
        done: format!("kill -9 under load, restarted; {} asked the other host", tally.retried),
        tally,
        recovered_after,
    })
}

pub(super) async fn terminated() -> Outcome {
    Ok(terminated_with(|options| options.flag("--shutdown-grace", "300ms")).await?.1)
}

/// The same with a response cache in each host.
pub(super) async fn terminated_with_cache() -> Outcome {
    let change = |options| with_response_cache(options).flag("--shutdown-grace", "300ms");
    let (testbed, observed) = terminated_with(change).await?;
    let cached = testbed.answered_by_caches().await?;
    let done = format!("SIGTERM under load, exit 0, restarted; the other's cache gave {cached} answers");
    Ok(Observed { done, ..observed })
}

async fn terminated_with(change: Change) -> Result<(Testbed, Observed), Failure> {
    let redis = RedisServer::start();
    let (mut testbed, address) = pair_with_fixed(&redis, change).await?;
    let (load, _) = testbed.load(Mix::ALL, Allows::loss_of_first_host(HostFault::Terminated)).await?;
    let mut leaving = testbed.hosts.remove(0);
    let since = Instant::now();
    leaving.terminate();
    let status = leaving.ended().await;
    ensure!(status.success(), "it ended with {status}");
    load.next_requests().await?;
    let answered = load.tally().answers.first().copied().unwrap_or_default();
    answered_all(&leaving, answered + POPULAR).await?;
    load.more(200).await?;
    let back = start(&testbed, &redis, address, change).await;
    let recovered_after = restarted(&load, since, back).await?;
    let tally = load.finish().await;
    let done = format!("SIGTERM under load, exit 0, restarted; {} asked the other host", tally.retried);
    Ok((testbed, Observed { done, tally, recovered_after }))
}

/// Checks that the ended host answered each request that it accepted: an accepted request has a line in the log.
async fn answered_all(ended: &Host, answers: u64) -> Result<(), String> {
    let stopped = async || ended.log().find(|line| line.get("message") == Some("stopped")).map(drop);
    until("the log is complete", stopped).await;
    let lines = ended.log().lines();
    let taken: Vec<_> = lines.iter().filter(|line| line.get("message") == Some("request")).collect();
    if taken.len() as u64 == answers {
        return Ok(());
    }
    let broken: Vec<_> =
        taken.iter().filter(|line| line.json.get("aborted").is_some()).map(|line| &line.text).collect();
    Err(format!("{} requests were accepted, {answers} answered; aborted: {broken:?}", taken.len()))
}

/// Two hosts. The first has an address that another host can take over.
async fn pair_with_fixed(
    redis: &RedisServer,
    change: Change,
) -> Result<(Testbed, std::net::SocketAddr), String> {
    let mut testbed = Testbed { hosts: Vec::new(), github: github().await? };
    let address = ports::reserve();
    let first = start(&testbed, redis, address, change).await;
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let second = start(&testbed, redis, any, change).await;
    testbed.hosts.extend([first, second]);
    Ok((testbed.warm().await?, address))
}

async fn start(testbed: &Testbed, redis: &RedisServer, at: std::net::SocketAddr, change: Change) -> Host {
    let options =
        options().await.setting("github_api_url", &testbed.github.url()).flag("--listen", &at.to_string());
    change(with_long_store_limits(sharing(options, redis))).start().await
}

/// Checks that the restarted host serves. Returns the time from the fault until the last client had changed to another host.
async fn restarted(load: &Load, since: Instant, back: Host) -> Result<Duration, String> {
    load.recovered().await?;
    let reply = back.get("/popular-0").await;
    if reply.status != 200 {
        return Err(format!("the restarted host answers {}", reply.status));
    }
    Ok(load.tally().last_retried.map_or(Duration::ZERO, |last| last.saturating_duration_since(since)))
}
