//! The log is not read.

use fastrand::Rng;
use testkit::{LogReading, until};

use crate::fault::{Observed, Outcome, ensure};
use crate::load::Load;
use crate::plan::{Allows, Plan};
use crate::testbed::Testbed;
use crate::traffic::{Grade, Mix, Traffic, TrafficRequest, shown};

/// The most that the host keeps of unread lines, and what the kernel's pipe may hold side_load.
const UNREAD: u64 = 6 << 20;
/// The length of a path in an access line.
const PATH: usize = 500;

pub(super) async fn closed() -> Outcome {
    let mut testbed = Testbed::alone(|options| options).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    testbed.host()?.read_log(LogReading::Closed);
    load.more(1000).await?;
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    ensure!(tally.degraded() == 0, "answers are degraded: {tally:?}");
    let host = testbed.host()?;
    host.terminate();
    let status = host.ended().await;
    ensure!(status.success(), "it ended with {status}");
    Ok(Observed {
        done: "standard output closed; served, and ended on SIGTERM".to_owned(),
        tally,
        recovered_after,
    })
}

pub(super) async fn unread() -> Outcome {
    let mut testbed = Testbed::alone(|options| options).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    testbed.host()?.read_log(LogReading::Held);
    let plan = Plan {
        addresses: vec![testbed.host()?.address()],
        clients: 8,
        pause: std::time::Duration::ZERO,
        allows: Allows::NOTHING,
    };
    let log_load = Load::start(plan, LongLogLines);
    log_load.more(UNREAD / PATH as u64 + 1).await?;
    let log_load = log_load.finish().await;
    ensure!(log_load.lost == 0, "{:?}", log_load.reasons);
    let host = testbed.host()?;
    let dropped = async || host.samples().await.sum("wasi_http_host_log_lines_dropped_total", &[]);
    let lines = dropped().await;
    ensure!(lines > 0.0, "{UNREAD} bytes of unread lines were buffered");
    ensure!(load.tally().degraded() == 0, "answers are degraded: {:?}", load.tally());
    // When the log is read again, lines come again.
    let known = host.log().lines().len();
    host.read_log(LogReading::On);
    until("lines come again", async || (host.log().lines().len() > known + 100).then_some(())).await;
    let recovered_after = load.recovered().await?;
    let tally = load.finish().await;
    counted.all(&testbed, &tally, log_load.total()).await?;
    // The host ends although the log is not read.
    let host = testbed.host()?;
    host.read_log(LogReading::Held);
    host.terminate();
    let status = host.ended().await;
    ensure!(status.success(), "it ended with {status}");
    Ok(Observed {
        done: format!("pipe full; {lines} lines dropped and counted, no request delayed"),
        tally,
        recovered_after,
    })
}

/// Requests with long paths, and so with long access lines.
struct LongLogLines;

impl Traffic for LongLogLines {
    fn draw(&self, _: &mut Rng) -> TrafficRequest {
        let check = |reply: &testkit::http::Response| match reply.status {
            404 | 422 => Grade::Right,
            _ => Grade::Wrong(shown(reply)),
        };
        TrafficRequest { target: format!("/{}", "log_load".repeat(PATH / 7)), check: Box::new(check) }
    }
}
