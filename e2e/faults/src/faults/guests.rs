//! Guests that misbehave, many at once.

use std::time::{Duration, Instant};

use e2e::harness::{Host, until};
use tokio::time::sleep;

use crate::fault::{Outcome, Shown, ensure};
use crate::load::{Allows, Load, Plan};
use crate::site::guest;
use crate::traffic::Guest;

/// Guests that take memory until there is none, at once, and in all.
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
    .await?;
    let load = clients(&host, Guest { evil: "/trap", permille: 0 });
    load.normal_again().await?;
    let idle = least_memory(&host).await;
    let address = host.address();
    let mut greedy = tokio::task::JoinSet::new();
    for _ in 0..GREEDY_AT_ONCE {
        greedy.spawn(async move {
            let mut wrong = Vec::new();
            for _ in 0..GREEDY / GREEDY_AT_ONCE {
                match e2e::harness::Ask::new(address, "GET", "/grow").try_send().await {
                    Ok(reply) if reply.status == 500 => {}
                    other => wrong.push(format!("{other:?}")),
                }
            }
            wrong
        });
    }
    let wrong = greedy.join_all().await.concat();
    ensure!(wrong.is_empty(), "a guest over its ceiling was not answered 500: {wrong:?}");
    let normal_after = load.normal_again().await?;
    let tally = load.finish().await;
    ensure!(tally.degraded() == 0, "others paid for it: {tally:?}");
    let refused = host.host_metrics().await.sum("wasi_http_host_guest_memory_refused_total", &[]);
    ensure!(refused >= GREEDY as f64, "{refused} of {GREEDY} guests met the ceiling");
    let now = async || host.host_metrics().await.sum("wasi_http_host_guest_memory_bytes", &[]);
    until("guests' memory is what it was", async || (now().await <= idle).then_some(())).await;
    Ok(Shown {
        done: format!("{GREEDY} guests, {GREEDY_AT_ONCE} at once, take all that they may (32 MiB)"),
        tally,
        normal_after,
    })
}

/// What all instances hold while no more of them are needed than ever.
async fn least_memory(host: &Host) -> f64 {
    let begun = Instant::now();
    let mut least = f64::INFINITY;
    // Two idle timeouts and some.
    while begun.elapsed() < Duration::from_secs(3) {
        least = least.min(host.host_metrics().await.sum("wasi_http_host_guest_memory_bytes", &[]));
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
    let host = guest(|options| options.flag("--instance-max-concurrency", concurrency)).await?;
    let load = clients(&host, Guest { evil: "/trap", permille: 10 });
    load.more(4000).await?;
    let tally = load.finish().await;
    let metrics = host.host_metrics().await;
    let siblings = metrics.sum("wasi_http_host_sibling_requests_ended_total", &[]);
    let refused = tally.refused.values().sum::<u64>();
    let traps = metrics.sum("wasi_http_host_traps_total", &[]);
    ensure!(traps > 0.0, "nothing trapped");
    ensure!(
        refused as f64 <= siblings,
        "{refused} failed besides those that trapped; {siblings} shared an instance with one"
    );
    ensure!(concurrency != "1" || refused == 0, "{refused} failed that shared no instance");
    let calm = clients(&host, Guest { evil: "/trap", permille: 0 });
    let normal_after = calm.normal_again().await?;
    let mut tally = tally;
    tally.absorb(calm.finish().await);
    Ok(Shown { done: format!("{done}; {traps} traps"), tally, normal_after })
}
