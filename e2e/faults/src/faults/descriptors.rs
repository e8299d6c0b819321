//! No free file descriptors.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testkit::{
    Samples,
    http::{Connection, Request},
};
use tokio::time::{sleep, timeout};

use crate::fault::{Observed, Outcome, ensure};
use crate::plan::Allows;
use crate::system::{holdings, limit_open_files};
use crate::testbed::Testbed;
use crate::traffic::Mix;
use testkit::DEADLINE;

/// The number of idle connections.
const CROWD: usize = 200;

/// The limit is lowered while the host runs, after the host has derived its own limits from it.
pub(super) async fn exhausted() -> Outcome {
    let mut testbed = Testbed::alone(|options| options.flag("--keep-alive-timeout", "10m")).await?;
    let (load, counted) = testbed.load(Mix::CACHED, Allows::NOTHING).await?;
    // The test keeps a connection to the admin listener, as a scraper may.
    let mut watch = Watch::open(testbed.host()?.admin_address()).await?;
    let (pid, address) = (testbed.host()?.pid(), testbed.host()?.address());
    limit_open_files(pid, holdings(pid, 0).files + 40)?;
    let crowd = connect(CROWD, address).await?;
    let begun = Instant::now();
    while watch.metrics().await?.sum("wasi_http_host_accept_errors_total", &[]) < 3.0 {
        ensure!(begun.elapsed() < DEADLINE, "{CROWD} connections exhaust nothing");
        sleep(Duration::from_millis(50)).await;
    }
    // Clients with a connection are still served.
    load.more(200).await?;
    ensure!(load.tally().degraded() == 0, "answers are degraded: {:?}", load.tally());
    ensure!(watch.get("/live").await? == 200, "without descriptors, the liveness probe fails");
    drop(crowd);
    let lifted = Instant::now();
    ensure!(answered(address).await, "no client is accepted although there are free descriptors again");
    let recovered_after = lifted.elapsed().max(load.recovered().await?);
    limit_open_files(pid, 1024)?;
    let tally = load.finish().await;
    counted.all(&testbed, &tally, 1).await?;
    Ok(Observed { done: format!("{CROWD} connections, room for 40; then they left"), tally, recovered_after })
}

/// The crowd stays. The host closes idle connections at its limit.
pub(super) async fn crowd() -> Outcome {
    let under = ["prlimit", "--nofile=128:128"];
    let mut testbed =
        Testbed::alone(|options| options.flag("--keep-alive-timeout", "2s").under(under)).await?;
    let (load, counted) = testbed.load(Mix::CACHED, Allows::NOTHING).await?;
    let (address, admin) = (testbed.host()?.address(), testbed.host()?.admin_address());
    let crowd = connect(CROWD, address).await?;
    // Probes and scrapes succeed, each on a new connection.
    let live = timeout(DEADLINE, Request::get("/live").to(admin).try_send()).await;
    ensure!(matches!(&live, Ok(Ok(reply)) if reply.status == 200), "a probe fails: {live:?}");
    let since = Instant::now();
    ensure!(answered(address).await, "idle connections keep other clients out");
    let waited = since.elapsed();
    load.more(100).await?;
    ensure!(load.tally().degraded() == 0, "answers are degraded: {:?}", load.tally());
    let errors = testbed.host()?.samples().await.sum("wasi_http_host_accept_errors_total", &[]);
    drop(crowd);
    let (tally, recovered_after) = testbed.end(load, &counted, 1).await?;
    let done =
        format!("{CROWD} silent connections, 128 files; a newcomer waited {:.1} s", waited.as_secs_f64());
    ensure!(
        errors == 0.0,
        "the host took more connections than it has files for: {errors} failures to accept one"
    );
    Ok(Observed { done, tally, recovered_after })
}

async fn connect(count: usize, to: SocketAddr) -> Result<Vec<Connection>, String> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(
            Connection::try_open(to).await.map_err(|error| format!("a connection of the test: {error}"))?,
        );
    }
    Ok(all)
}

/// Whether a new client gets a response within [`DEADLINE`].
async fn answered(address: SocketAddr) -> bool {
    let asking = async {
        let mut connection = Connection::try_open(address).await?;
        connection.write(&Request::get("/health").to(address).bytes()).await?;
        // The connection may wait in the kernel's queue.
        loop {
            match connection.response().await {
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
                answer => return answer,
            }
        }
    };
    matches!(timeout(DEADLINE, asking).await, Ok(Ok(reply)) if reply.status == 200)
}

/// A kept connection to the admin listener.
struct Watch {
    address: SocketAddr,
    connection: Connection,
}

impl Watch {
    async fn open(address: SocketAddr) -> Result<Self, String> {
        let connection = Connection::try_open(address).await.map_err(|error| error.to_string())?;
        let mut watch = Self { address, connection };
        // The first response shows that the connection is accepted.
        watch.get("/live").await?;
        Ok(watch)
    }

    async fn get(&mut self, path: &str) -> Result<u16, String> {
        self.request(path).await.map(|(status, _)| status)
    }

    async fn metrics(&mut self) -> Result<Samples, String> {
        self.request("/metrics").await.map(|(_, text)| Samples::parse(&text))
    }

    async fn request(&mut self, path: &str) -> Result<(u16, String), String> {
        let asked = self.connection.write(&Request::get(path).to(self.address).bytes()).await;
        asked.map_err(|error| format!("admin port: {error}"))?;
        let reply = self.connection.response().await.map_err(|error| format!("admin port: {error}"))?;
        Ok((reply.status, reply.text().to_owned()))
    }
}
