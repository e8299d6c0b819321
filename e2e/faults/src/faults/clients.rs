//! What clients do.

use std::time::{Duration, Instant};

use e2e::fake::Answer;
use e2e::harness::{Ask, Connection, Host, until};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::fault::{Outcome, Shown, ensure};
use crate::load::{Allows, DEADLINE};
use crate::site::{Site, free_address, github, options};
use crate::tally::Tally;
use crate::traffic::Mix;

const SLOW: usize = 1000;
const HERD: usize = 300;

pub(super) async fn slow() -> Outcome {
    let site = Site::alone(|options| options.flag("--header-timeout", "3s")).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::NOTHING).await?;
    let address = site.hosts.first().map(Host::address).ok_or("no host".to_owned())?;
    let mut crowd = JoinSet::new();
    for _ in 0..SLOW {
        crowd.spawn(async move {
            let mut connection = Connection::try_open(address).await?;
            // A head without an end, a byte at a time, until the host has had enough.
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
    let Ok(ended) = ended else { return Err("slow clients are kept for ever".to_owned().into()) };
    let unconnected = ended.iter().filter(|end| end.is_err()).count();
    ensure!(
        unconnected == 0,
        "{unconnected} of the slow clients could not connect: {:?}",
        ended.iter().find(|end| end.is_err())
    );
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    ensure!(tally.degraded() == 0, "others paid for it: {tally:?}");
    let host = site.hosts.first().ok_or("no host".to_owned())?;
    until("their connections are gone", async || {
        (host.host_metrics().await.sum("wasi_http_host_connections_open", &[]) < 20.0).then_some(())
    })
    .await;
    let slowest = tally.slowest.as_millis();
    Ok(Shown {
        done: format!("{SLOW} send a byte a second; cut off; others' slowest answer {slowest} ms"),
        tally,
        normal_after,
    })
}

pub(super) async fn herd() -> Outcome {
    let github = github().await?;
    github.always("newcomer-0", Answer::truth().after(Duration::from_millis(500)));
    let address = free_address()?;
    let begun = Instant::now();
    let mut crowd = JoinSet::new();
    for _ in 0..HERD {
        crowd.spawn(async move {
            loop {
                match Ask::new(address, "GET", "/newcomer-0").try_send().await {
                    // Not there yet.
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
    let options = options().setting("github_api_url", &github.url()).flag("--listen", &address.to_string());
    let host = Host::start(options).await;
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
    let site = Site { hosts: vec![host], github }.warm().await?;
    let (load, _) = site.load(Mix::ALL, Allows::NOTHING).await?;
    load.more(100).await?;
    let calm = load.finish().await;
    ensure!(calm.degraded() == 0, "answers are degraded: {calm:?}");
    tally.absorb(calm);
    let done = format!(
        "{HERD} wait for the start, want the same: one question; ready in {:.0} ms",
        ready.as_secs_f64() * 1e3
    );
    Ok(Shown { done, tally, normal_after: Duration::ZERO })
}
