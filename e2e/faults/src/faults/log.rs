//! Who should read the log does not.

use e2e::Dice;
use e2e::harness::{Reading, until};

use crate::fault::{Outcome, Shown, ensure};
use crate::load::{Allows, Load, Plan};
use crate::site::Site;
use crate::traffic::{Grade, Mix, Task, Traffic, shown};

/// The most that the host keeps of unread lines, and what the kernel's pipe may hold besides.
const UNREAD: u64 = 6 << 20;
/// Of a path, in an access line.
const PATH: usize = 500;

pub(super) async fn closed() -> Outcome {
    let mut site = Site::alone(|options| options).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::NOTHING).await?;
    site.host()?.read_log(Reading::Closed);
    load.more(1000).await?;
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    ensure!(tally.degraded() == 0, "answers are degraded: {tally:?}");
    let host = site.host()?;
    host.terminate().await;
    let status = host.ended().await;
    ensure!(status.success(), "it ended with {status}");
    Ok(Shown { done: "standard output closed; served, and ended on SIGTERM".to_owned(), tally, normal_after })
}

pub(super) async fn unread() -> Outcome {
    let mut site = Site::alone(|options| options).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::NOTHING).await?;
    site.host()?.read_log(Reading::Held);
    let plan = Plan {
        addresses: vec![site.host()?.address()],
        clients: 8,
        pause: std::time::Duration::ZERO,
        allows: Allows::NOTHING,
    };
    let chatter = Load::start(plan, Chatter);
    chatter.more(UNREAD / PATH as u64 + 1).await?;
    let chatter = chatter.finish().await;
    ensure!(chatter.lost == 0, "{:?}", chatter.reasons);
    let host = site.host()?;
    let dropped = async || host.host_metrics().await.sum("wasi_http_host_log_lines_dropped_total", &[]);
    let lines = dropped().await;
    ensure!(lines > 0.0, "{UNREAD} bytes of lines were kept that nobody reads");
    ensure!(load.tally().degraded() == 0, "answers are degraded: {:?}", load.tally());
    // Read again, it goes on.
    let known = host.log().lines().len();
    host.read_log(Reading::On);
    until("lines come again", async || (host.log().lines().len() > known + 100).then_some(())).await;
    let normal_after = load.normal_again().await?;
    let tally = load.finish().await;
    counted.all(&site, &tally, chatter.total()).await?;
    // And ends although nobody reads.
    let host = site.host()?;
    host.read_log(Reading::Held);
    host.terminate().await;
    let status = host.ended().await;
    ensure!(status.success(), "it ended with {status}");
    Ok(Shown {
        done: format!("pipe full; {lines} lines dropped and counted, no request delayed"),
        tally,
        normal_after,
    })
}

/// Requests with long paths, whose access lines are long.
struct Chatter;

impl Traffic for Chatter {
    fn draw(&self, _: &mut Dice) -> Task {
        let judge = |reply: &e2e::harness::Reply| match reply.status {
            404 | 422 => Grade::Right,
            _ => Grade::Wrong(shown(reply)),
        };
        Task { target: format!("/{}", "chatter".repeat(PATH / 7)), judge: Box::new(judge) }
    }
}
