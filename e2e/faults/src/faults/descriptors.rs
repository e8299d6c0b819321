//! No file descriptors left.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::harness::{Ask, Connection, Samples};
use tokio::time::{sleep, timeout};

use crate::fault::{Outcome, Shown, ensure};
use crate::load::{Allows, DEADLINE};
use crate::site::Site;
use crate::system::{holdings, limit_open_files};
use crate::traffic::Mix;

/// Connections that nobody says anything on.
const CROWD: usize = 200;

/// The limit falls under a running host, so that its own arithmetic at the start does not help it.
pub(super) async fn exhausted() -> Outcome {
    let mut site = Site::alone(|options| options.flag("--keep-alive-timeout", "10m")).await?;
    let (load, counted) = site.load(Mix::CACHED, Allows::NOTHING).await?;
    // What watches has its connection already, as a scraper that keeps it has.
    let mut watch = Watch::open(site.host()?.admin_address()).await?;
    let (pid, address) = (site.host()?.pid(), site.host()?.address());
    limit_open_files(pid, holdings(pid, 0).files + 40)?;
    let crowd = connect(CROWD, address).await?;
    let begun = Instant::now();
    while watch.metrics().await?.sum("wasi_http_host_accept_errors_total", &[]) < 3.0 {
        ensure!(begun.elapsed() < DEADLINE, "{CROWD} connections exhaust nothing");
        sleep(Duration::from_millis(50)).await;
    }
    // Who was there before is served as ever.
    load.more(200).await?;
    ensure!(load.tally().degraded() == 0, "answers are degraded: {:?}", load.tally());
    ensure!(watch.get("/live").await? == 200, "out of descriptors, the host passes for dead");
    drop(crowd);
    let lifted = Instant::now();
    ensure!(answered(address).await, "nobody is let in although there is room again");
    let normal_after = lifted.elapsed().max(load.normal_again().await?);
    limit_open_files(pid, 1024)?;
    let tally = load.finish().await;
    counted.all(&site, &tally, 1).await?;
    Ok(Shown { done: format!("{CROWD} connections, room for 40; then they left"), tally, normal_after })
}

/// The crowd stays; the host's limits on idle connections make room.
pub(super) async fn crowd() -> Outcome {
    let under = ["prlimit", "--nofile=128:128"];
    let mut site = Site::alone(|options| options.flag("--keep-alive-timeout", "2s").under(under)).await?;
    let (load, counted) = site.load(Mix::CACHED, Allows::NOTHING).await?;
    let (address, admin) = (site.host()?.address(), site.host()?.admin_address());
    let crowd = connect(CROWD, address).await?;
    // Probes and scrapes come in however many there are, each on a connection of its own.
    let live = timeout(DEADLINE, Ask::new(admin, "GET", "/live").try_send()).await;
    ensure!(matches!(&live, Ok(Ok(reply)) if reply.status == 200), "no probe comes through: {live:?}");
    let since = Instant::now();
    ensure!(answered(address).await, "a crowd that says nothing keeps everybody else out");
    let waited = since.elapsed();
    load.more(100).await?;
    ensure!(load.tally().degraded() == 0, "answers are degraded: {:?}", load.tally());
    let errors = site.host()?.host_metrics().await.sum("wasi_http_host_accept_errors_total", &[]);
    drop(crowd);
    let (tally, normal_after) = site.end(load, &counted, 1).await?;
    let done =
        format!("{CROWD} silent connections, 128 files; a newcomer waited {:.1} s", waited.as_secs_f64());
    ensure!(
        errors == 0.0,
        "the host took more connections than it has files for: {errors} failures to accept one"
    );
    Ok(Shown { done, tally, normal_after })
}

async fn connect(count: usize, to: SocketAddr) -> Result<Vec<Connection>, String> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(
            Connection::try_open(to)
                .await
                .map_err(|error| format!("the tester's own connection: {error}"))?,
        );
    }
    Ok(all)
}

/// Whether a new client is answered, within what any client may wait.
async fn answered(address: SocketAddr) -> bool {
    let asking = async {
        let mut connection = Connection::try_open(address).await?;
        connection.write(&Ask::new(address, "GET", "/health").bytes()).await?;
        // Waits longer than a single answer's patience: the connection may be in the kernel's queue.
        loop {
            match connection.reply().await {
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
                answer => return answer,
            }
        }
    };
    matches!(timeout(DEADLINE, asking).await, Ok(Ok(reply)) if reply.status == 200)
}

/// A kept connection to the admin port.
struct Watch {
    address: SocketAddr,
    connection: Connection,
}

impl Watch {
    async fn open(address: SocketAddr) -> Result<Self, String> {
        let connection = Connection::try_open(address).await.map_err(|error| error.to_string())?;
        let mut watch = Self { address, connection };
        // A first answer: it has been accepted.
        watch.get("/live").await?;
        Ok(watch)
    }

    async fn get(&mut self, path: &str) -> Result<u16, String> {
        self.ask(path).await.map(|(status, _)| status)
    }

    async fn metrics(&mut self) -> Result<Samples, String> {
        self.ask("/metrics").await.map(|(_, text)| Samples::parse(&text))
    }

    async fn ask(&mut self, path: &str) -> Result<(u16, String), String> {
        let asked = self.connection.write(&Ask::new(self.address, "GET", path).bytes()).await;
        asked.map_err(|error| format!("admin port: {error}"))?;
        let reply = self.connection.reply().await.map_err(|error| format!("admin port: {error}"))?;
        Ok((reply.status, reply.text()))
    }
}
