//! One host of several goes.

use std::time::{Duration, Instant};

use e2e::harness::{Host, Redis, until};

use crate::client::Fate;
use crate::fault::{Outcome, Shown, ensure};
use crate::load::{Allows, Load};
use crate::site::{Site, free_address, github, options, patient, sharing};
use crate::traffic::{Mix, POPULAR};

/// Who waits for what the lease's holder was to bring.
const CROWD: usize = 30;
/// The component's `upstream_timeout`, from which the lease follows: five seconds more.
const UPSTREAM_TIMEOUT: &str = "4";

pub(super) async fn lease_holder() -> Outcome {
    let redis = Redis::start();
    let mut site =
        Site::pair(&redis, |options| patient(options).setting("upstream_timeout", UPSTREAM_TIMEOUT)).await?;
    let mut holder = site.hosts.remove(0);
    let (load, counted) = site.load(Mix::CACHED, Allows::NOTHING).await?;
    let other = site.host()?.address();
    let hold = site.github.hold("newcomer-0");
    let asked_of_holder = holder.ask("GET", "/newcomer-0");
    let doomed = tokio::spawn(async move { asked_of_holder.try_send().await });
    let holds = async || (!site.github.journal().calls_for("newcomer-0").is_empty()).then_some(());
    until("the holder asks GitHub", holds).await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        crowd.spawn(e2e::harness::Ask::new(other, "GET", "/newcomer-0").send());
    }
    let host = site.host()?;
    until("the crowd waits at the other host", async || {
        let active = host.host_metrics().await.sum("wasi_http_host_requests_active", &[]);
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
    let calls = site.github.journal().calls_for("newcomer-0").len();
    ensure!(calls == 2, "GitHub was asked {calls} times: once by the killed host, and once more is right");
    load.normal_again().await?;
    let tally = load.finish().await;
    ensure!(tally.degraded() == 0, "others paid for it: {tally:?}");
    counted.all(&site, &tally, CROWD as u64).await?;
    Ok(Shown {
        done: format!("kill -9 while {CROWD} wait for its answer elsewhere; GitHub asked once more"),
        tally,
        normal_after: after,
    })
}

pub(super) async fn killed() -> Outcome {
    let redis = Redis::start();
    let (mut site, address) = pair_with_fixed(&redis, "0s").await?;
    let (load, _) = site.load(Mix::ALL, Allows::loss_of_first_host(Fate::Dies)).await?;
    let mut doomed = site.hosts.remove(0);
    let since = Instant::now();
    doomed.kill().await;
    load.until("its clients turn elsewhere", |tally| tally.retried > 0).await?;
    load.more(400).await?;
    let back = start(&site, &redis, address, "0s").await;
    let normal_after = welcomed(&load, since, back).await?;
    let tally = load.finish().await;
    Ok(Shown {
        done: format!("kill -9 under load, started anew; {} asked the other host", tally.retried),
        tally,
        normal_after,
    })
}

pub(super) async fn terminated() -> Outcome {
    let redis = Redis::start();
    let (mut site, address) = pair_with_fixed(&redis, "300ms").await?;
    let (load, _) = site.load(Mix::ALL, Allows::loss_of_first_host(Fate::Leaves)).await?;
    let mut leaving = site.hosts.remove(0);
    let since = Instant::now();
    leaving.terminate().await;
    let status = leaving.ended().await;
    ensure!(status.success(), "it ended with {status}");
    load.anew().await?;
    let answered = load.tally().answers.first().copied().unwrap_or_default();
    answered_all(&leaving, answered + POPULAR).await?;
    load.more(200).await?;
    let back = start(&site, &redis, address, "300ms").await;
    let normal_after = welcomed(&load, since, back).await?;
    let tally = load.finish().await;
    Ok(Shown {
        done: format!("SIGTERM under load, exit 0, started anew; {} asked the other host", tally.retried),
        tally,
        normal_after,
    })
}

/// Each request that a host took before it ended was answered, so often: a request that it took has a line in its log.
async fn answered_all(ended: &Host, answers: u64) -> Result<(), String> {
    let stopped = async || ended.log().find(|line| line.get("message") == Some("stopped")).map(drop);
    until("the log is read to its end", stopped).await;
    let lines = ended.log().lines();
    let taken: Vec<_> = lines.iter().filter(|line| line.get("message") == Some("request")).collect();
    if taken.len() as u64 == answers {
        return Ok(());
    }
    let broken: Vec<_> =
        taken.iter().filter(|line| line.json.get("aborted").is_some()).map(|line| &line.text).collect();
    Err(format!("{} requests were taken, {answers} answered; broken off: {broken:?}", taken.len()))
}

/// Two hosts, the first at an address that another can take.
async fn pair_with_fixed(redis: &Redis, grace: &str) -> Result<(Site, std::net::SocketAddr), String> {
    let mut site = Site { hosts: Vec::new(), github: github().await? };
    let address = free_address()?;
    let first = start(&site, redis, address, grace).await;
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let second = start(&site, redis, any, grace).await;
    site.hosts.extend([first, second]);
    Ok((site.warm().await?, address))
}

async fn start(site: &Site, redis: &Redis, at: std::net::SocketAddr, grace: &str) -> Host {
    let options = options()
        .setting("github_api_url", &site.github.url())
        .flag("--listen", &at.to_string())
        .flag("--shutdown-grace", grace);
    Host::start(patient(sharing(options, redis))).await
}

/// The host that came back answers as any other. From the fault until the last client had turned to another host.
async fn welcomed(load: &Load, since: Instant, back: Host) -> Result<Duration, String> {
    load.normal_again().await?;
    let reply = back.get("/popular-0").await;
    if reply.status != 200 {
        return Err(format!("the host that came back answers {}", reply.status));
    }
    Ok(load.tally().last_retried.map_or(Duration::ZERO, |last| last.saturating_duration_since(since)))
}
