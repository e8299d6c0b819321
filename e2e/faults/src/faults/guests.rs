//! Many misbehaving guests at once.

use std::time::{Duration, Instant};

use testkit::{Host, http::Request, until};
use tokio::time::sleep;

use crate::fault::{Observed, Outcome, ensure};
use crate::load::Load;
use crate::plan::{Allows, Plan};
use crate::testbed::guest;
use crate::traffic::Guest;

/// Requests that allocate until the limit: the number at once, and in all.
const GREEDY_AT_ONCE: usize = 24;
const GREEDY: usize = 120;

fn clients(host: &Host, traffic: Guest) -> Load {
    let plan = Plan {
        addresses: vec![host.address()],
        clients: 12,
        pause: Duration::from_millis(2),
        allows: Allows::errors(&[500]),
    };
    Load::start(plan, traffic)
}

pub(super) async fn memory() -> Outcome {
    let host = guest(|options| {
        options
            .flag("--instance-max-concurrency", "1")
            .flag("--max-memory", "32MiB")
            .flag("--instance-idle-timeout", "1s")
    })
    .await;
    let load = clients(&host, Guest { failing: "/trap", permille: 0 });
    load.recovered().await?;
    let idle = least_memory(&host).await;
    let address = host.address();
    let mut greedy = tokio::task::JoinSet::new();
    for _ in 0..GREEDY_AT_ONCE {
        greedy.spawn(async move {
            let mut wrong = Vec::new();
            for _ in 0..GREEDY / GREEDY_AT_ONCE {
                match Request::get("/grow").to(address).try_send().await {
                    Ok(reply) if reply.status == 500 => {}
                    other => wrong.push(format!("{other:?}")),
                }
            }
            wrong
        });
    }
    let wrong = greedy.join_all().await.concat();
    ensure!(wrong.is_empty(), "a guest over its limit was not answered with 500: {wrong:?}");
    let recovered_after = load.recovered().await?;
    let tally = load.finish().await;
    ensure!(tally.degraded() == 0, "other requests are affected: {tally:?}");
    let refused = host.samples().await.sum("wasi_http_host_guest_memory_refused_total", &[]);
    ensure!(refused >= GREEDY as f64, "{refused} of {GREEDY} guests reached the limit");
    let now = async || host.samples().await.sum("wasi_http_host_guest_memory_bytes", &[]);
    until("the memory of guests is released", async || (now().await <= idle).then_some(())).await;
    Ok(Observed {
        done: format!("{GREEDY} guests, {GREEDY_AT_ONCE} at once, allocate up to the limit (32 MiB)"),
        tally,
        recovered_after,
    })
}

/// The lowest memory of all instances over some seconds.
async fn least_memory(host: &Host) -> f64 {
    let begun = Instant::now();
    let mut least = f64::INFINITY;
    // More than two idle timeouts.
    while begun.elapsed() < Duration::from_secs(3) {
        least = least.min(host.samples().await.sum("wasi_http_host_guest_memory_bytes", &[]));
        sleep(Duration::from_millis(100)).await;
    }
    least
}

pub(super) async fn traps() -> Outcome {
    trapping("1", "a request in 100 traps; an instance each").await
}

pub(super) async fn traps_shared() -> Outcome {
    trapping("32", "a request in 100 traps; 32 share an instance").await
}

async fn trapping(concurrency: &str, done: &str) -> Outcome {
    let host = guest(|options| options.flag("--instance-max-concurrency", concurrency)).await;
    let load = clients(&host, Guest { failing: "/trap", permille: 10 });
    load.more(4000).await?;
    let tally = load.finish().await;
    let metrics = host.samples().await;
    let siblings = metrics.sum("wasi_http_host_sibling_requests_ended_total", &[]);
    let refused = tally.refused.values().sum::<u64>();
    let traps = metrics.sum("wasi_http_host_traps_total", &[]);
    ensure!(traps > 0.0, "nothing trapped");
    ensure!(
        refused as f64 <= siblings,
        "{refused} failed side_load those that trapped; {siblings} shared an instance with one"
    );
    ensure!(concurrency != "1" || refused == 0, "{refused} failed that shared no instance");
    let calm = clients(&host, Guest { failing: "/trap", permille: 0 });
    let recovered_after = calm.recovered().await?;
    let mut tally = tally;
    tally.absorb(calm.finish().await);
    Ok(Observed { done: format!("{done}; {traps} traps"), tally, recovered_after })
}
