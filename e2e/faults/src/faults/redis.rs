//! Faults of the Redis server that holds the shared cache.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use testkit::{RedisServer, http::Response, until};

use crate::fault::{Observed, Outcome, ensure};
use crate::plan::Allows;
use crate::system::signal;
use crate::testbed::Testbed;
use crate::traffic::Mix;

/// The number of responses during the fault: enough for each thread of both hosts to see it.
const DURING: u64 = 400;
/// The number of times that all connections are closed.
const BREAKS: u32 = 12;

pub(super) async fn killed() -> Outcome {
    let redis = RedisServer::start();
    let testbed = Testbed::pair(&redis, |options| options).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    let address = redis.address();
    drop(redis);
    load.until("without Redis, GitHub is asked", |tally| tally.uncached > 0).await?;
    load.more(DURING).await?;
    let _redis = RedisServer::start_at(address, &[]);
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    Ok(Observed { done: "killed under load of two hosts; back, empty".to_owned(), tally, recovered_after })
}

pub(super) async fn silent() -> Outcome {
    let redis = RedisServer::start();
    let testbed = Testbed::pair(&redis, |options| options).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    signal(redis.pid(), Signal::SIGSTOP)?;
    load.until("a silent Redis is noticed", |tally| tally.uncached > 0).await?;
    load.more(2 * DURING).await?;
    let during = load.tally();
    signal(redis.pid(), Signal::SIGCONT)?;
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    let slowest = during.slowest.as_secs_f64();
    Ok(Observed {
        done: format!("SIGSTOP, SIGCONT; the slowest answer meanwhile took {slowest:.2} s"),
        tally,
        recovered_after,
    })
}

/// Connections break again and again. A value that a host caches in memory must not outlive its connection.
pub(super) async fn flapping() -> Outcome {
    let redis = RedisServer::start();
    let mut testbed = Testbed::pair(&redis, |options| options).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    for _ in 0..BREAKS {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        load.more(40).await?;
    }
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    let (cleared, newer) = renewed(&mut testbed).await?;
    let done = format!("connections closed {BREAKS} times; cleared cache seen elsewhere in {newer:.0?}");
    ensure!(cleared == 200, "the cache cannot be cleared afterwards: {cleared}");
    Ok(Observed { done, tally, recovered_after })
}

/// GitHub's response changes, and one host clears the cache. Returns the time until the other host shows the new response.
async fn renewed(testbed: &mut Testbed) -> Result<(u16, Duration), String> {
    const SOMEBODY: &str = "somebody";
    let count =
        |reply: &Response| reply.json().pointer("/pagination/count").and_then(serde_json::Value::as_u64);
    testbed.github.add_user(SOMEBODY, 1, 0);
    let target = format!("/{SOMEBODY}");
    for host in &testbed.hosts {
        let before = count(&host.get(&target).await);
        if before != Some(1) {
            return Err(format!("{SOMEBODY} has one gist, and is shown with {before:?}"));
        }
    }
    testbed.github.add_user(SOMEBODY, 2, 0);
    let (Some(first), Some(second)) = (testbed.hosts.first(), testbed.hosts.get(1)) else {
        return Err("two hosts are needed".to_owned());
    };
    let cleared = first.request("DELETE", "/cache").send().await.status;
    let begun = Instant::now();
    until("the other host shows the new answer", async || {
        (count(&second.get(&target).await) == Some(2)).then_some(())
    })
    .await;
    Ok((cleared, begun.elapsed()))
}

pub(super) async fn full() -> Outcome {
    let done = "no memory left for writes (maxmemory 1, noeviction)";
    refusing(done, &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]).await
}

pub(super) async fn readonly() -> Outcome {
    // No server listens on port 1: the replica has no primary, as within a failover.
    refusing("a replica that takes no writes", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"])
        .await
}

/// A server that refuses writes and serves reads.
async fn refusing(done: &str, fault: &[&str], lift: &[&str]) -> Outcome {
    let redis = RedisServer::start();
    let testbed = Testbed::pair(&redis, |options| options).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    redis.command(fault);
    load.more(DURING).await?;
    let mut refused = 0.0;
    for host in &testbed.hosts {
        let metrics = host.samples().await;
        refused += metrics.sum("wasi_http_host_keyvalue_remote_failures_total", &[("reason", "refused")]);
    }
    ensure!(refused > 0.0, "Redis refused no command");
    redis.command(lift);
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    Ok(Observed { done: done.to_owned(), tally, recovered_after })
}
