//! What becomes of a shared cache's server.

use std::time::{Duration, Instant};

use e2e::harness::{Redis, Reply, until};
use nix::sys::signal::Signal;

use crate::fault::{Outcome, Shown, ensure};
use crate::load::Allows;
use crate::site::Site;
use crate::system::signal;
use crate::traffic::Mix;

/// Answers while the fault lasts: long enough for every thread of both hosts to meet it.
const DURING: u64 = 400;
/// How often connections are cut.
const BREAKS: u32 = 12;

pub(super) async fn killed() -> Outcome {
    let redis = Redis::start();
    let site = Site::pair(&redis, |options| options).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::NOTHING).await?;
    let address = redis.address();
    drop(redis);
    load.until("without Redis GitHub is asked", |tally| tally.uncached > 0).await?;
    load.more(DURING).await?;
    let _redis = Redis::start_at(address);
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    Ok(Shown { done: "killed under load of two hosts; back, empty".to_owned(), tally, normal_after })
}

pub(super) async fn silent() -> Outcome {
    let redis = Redis::start();
    let site = Site::pair(&redis, |options| options).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::NOTHING).await?;
    signal(redis.pid(), Signal::SIGSTOP)?;
    load.until("a silent Redis is noticed", |tally| tally.uncached > 0).await?;
    load.more(2 * DURING).await?;
    let during = load.tally();
    signal(redis.pid(), Signal::SIGCONT)?;
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    let slowest = during.slowest.as_secs_f64();
    Ok(Shown {
        done: format!("SIGSTOP, SIGCONT; the slowest answer meanwhile took {slowest:.2} s"),
        tally,
        normal_after,
    })
}

/// Connections break again and again; what a host keeps of Redis in its memory must not outlive them.
pub(super) async fn flapping() -> Outcome {
    let redis = Redis::start();
    let mut site = Site::pair(&redis, |options| options).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::NOTHING).await?;
    for _ in 0..BREAKS {
        redis.command("CLIENT KILL TYPE normal").map_err(|error| error.to_string())?;
        load.more(40).await?;
    }
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    let (cleared, newer) = renewed(&mut site).await?;
    let done = format!("{BREAKS} times all connections cut; an emptied cache seen elsewhere in {newer:.0?}");
    ensure!(cleared == 200, "the cache cannot be emptied afterwards: {cleared}");
    Ok(Shown { done, tally, normal_after })
}

/// GitHub's answer changes, one host empties the cache, and the other shows the new answer: how soon.
async fn renewed(site: &mut Site) -> Result<(u16, Duration), String> {
    const SOMEBODY: &str = "somebody";
    let count = |reply: &Reply| reply.json().pointer("/pagination/count").and_then(serde_json::Value::as_u64);
    site.github.add_user(SOMEBODY, 1, 0);
    let target = format!("/{SOMEBODY}");
    for host in &site.hosts {
        let before = count(&host.get(&target).await);
        if before != Some(1) {
            return Err(format!("{SOMEBODY} has one gist, and is shown with {before:?}"));
        }
    }
    site.github.add_user(SOMEBODY, 2, 0);
    let (Some(first), Some(second)) = (site.hosts.first(), site.hosts.get(1)) else {
        return Err("two hosts are needed".to_owned());
    };
    let cleared = first.ask("DELETE", "/cache").send().await.status;
    let begun = Instant::now();
    until("the other host shows the new answer", async || {
        (count(&second.get(&target).await) == Some(2)).then_some(())
    })
    .await;
    Ok((cleared, begun.elapsed()))
}

pub(super) async fn full() -> Outcome {
    let done = "no memory left for writing (maxmemory 1, noeviction)";
    refusing(done, &["CONFIG SET maxmemory 1"], &["CONFIG SET maxmemory 0"]).await
}

pub(super) async fn readonly() -> Outcome {
    // Nobody listens on port 1: a replica without its primary, as after half a failover.
    refusing("a replica that takes no writes", &["REPLICAOF 127.0.0.1 1"], &["REPLICAOF NO ONE"]).await
}

/// A server that still reads.
async fn refusing(done: &str, fault: &[&str], lift: &[&str]) -> Outcome {
    let say = |redis: &Redis, commands: &[&str]| -> Result<(), String> {
        commands
            .iter()
            .try_for_each(|command| redis.command(command).map(drop).map_err(|error| error.to_string()))
    };
    let redis = Redis::start();
    let site = Site::pair(&redis, |options| options).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::NOTHING).await?;
    say(&redis, fault)?;
    load.more(DURING).await?;
    let mut refused = 0.0;
    for host in &site.hosts {
        let metrics = host.host_metrics().await;
        refused += metrics.sum("wasi_http_host_keyvalue_remote_failures_total", &[("reason", "refused")]);
    }
    ensure!(refused > 0.0, "Redis refused nothing");
    say(&redis, lift)?;
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    Ok(Shown { done: done.to_owned(), tally, normal_after })
}
