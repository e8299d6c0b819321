//! Faults of clients.

use std::time::{Duration, Instant};

use e2e::fake::ScriptedResponse;
use testkit::{
    Host,
    http::{Connection, Request},
    ports, until,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::fault::{Observed, Outcome, ensure};
use crate::plan::Allows;
use crate::tally::Tally;
use crate::testbed::{Testbed, github, options};
use crate::traffic::Mix;
use testkit::DEADLINE;

const SLOW: usize = 1000;
const HERD: usize = 300;

pub(super) async fn slow() -> Outcome {
    let testbed = Testbed::alone(|options| options.flag("--header-timeout", "3s")).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    let address = testbed.hosts.first().map(Host::address).ok_or("no host".to_owned())?;
    let mut crowd = JoinSet::new();
    for _ in 0..SLOW {
        crowd.spawn(async move {
            let mut connection = Connection::try_open(address).await?;
            // A head that never ends, a byte at a time, until the host closes the connection.
            for byte in "GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ".bytes().chain(std::iter::repeat(b'a')) {
                if connection.write(&[byte]).await.is_err()
                    || connection.closed_within(Duration::from_secs(1)).await
                {
                    break;
                }
            }
            Ok::<_, std::io::Error>(())
        });
    }
    let ended = timeout(DEADLINE, crowd.join_all()).await;
    let Ok(ended) = ended else { return Err("slow clients are not disconnected".to_owned().into()) };
    let unconnected = ended.iter().filter(|end| end.is_err()).count();
    ensure!(
        unconnected == 0,
        "{unconnected} of the slow clients could not connect: {:?}",
        ended.iter().find(|end| end.is_err())
    );
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    ensure!(tally.degraded() == 0, "other clients are affected: {tally:?}");
    let host = testbed.hosts.first().ok_or("no host".to_owned())?;
    until("the connections of the slow clients are closed", async || {
        (host.samples().await.sum("wasi_http_host_connections_open", &[]) < 20.0).then_some(())
    })
    .await;
    let slowest = tally.slowest.as_millis();
    Ok(Observed {
        done: format!("{SLOW} send a byte a second; cut off; other clients' slowest answer {slowest} ms"),
        tally,
        recovered_after,
    })
}

pub(super) async fn herd() -> Outcome {
    let github = github().await?;
    github.always("newcomer-0", ScriptedResponse::genuine().after(Duration::from_millis(500)));
    let address = ports::reserve();
    let begun = Instant::now();
    let mut crowd = JoinSet::new();
    for _ in 0..HERD {
        crowd.spawn(async move {
            loop {
                match Request::get("/newcomer-0").to(address).try_send().await {
                    // The host does not listen yet.
                    Err(error)
                        if error.kind() == std::io::ErrorKind::ConnectionRefused
                            && begun.elapsed() < DEADLINE =>
                    {
                        sleep(Duration::from_millis(10)).await;
                    }
                    answer => return answer,
                }
            }
        });
    }
    let options =
        options().await.setting("github_api_url", &github.url()).flag("--listen", &address.to_string());
    let host = options.start().await;
    let replies = crowd.join_all().await;
    let ready = host.started_in();
    let mut tally = Tally::default();
    for reply in replies {
        let problem = match reply {
            Ok(reply) if reply.status == 200 => None,
            Ok(reply) => Some(crate::traffic::shown(&reply)),
            Err(error) => Some(error.to_string()),
        };
        tally.add(problem);
    }
    let calls = github.journal().calls_for("newcomer-0").len();
    ensure!(calls == 1, "GitHub was asked {calls} times");
    let testbed = Testbed { hosts: vec![host], github }.warm().await?;
    let (load, _) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    load.more(100).await?;
    let calm = load.finish().await;
    ensure!(calm.degraded() == 0, "answers are degraded: {calm:?}");
    tally.absorb(calm);
    let done = format!(
        "{HERD} wait for the start, one user: GitHub asked once; ready in {:.0} ms",
        ready.as_secs_f64() * 1e3
    );
    Ok(Observed { done, tally, recovered_after: Duration::ZERO })
}
