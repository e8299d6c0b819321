//! Purges and reloads under load. Once one has ended, nothing older is answered.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;
use serde_json::json;
use testkit::http::{Request, Response};
use testkit::{Host, paths, until};

use super::{CAPACITY, Floor, Origin, Received, Source, agrees, forwarding, version};
use crate::fault::{Observed, Outcome, ensure};
use crate::load::Load;
use crate::plan::{Allows, Plan};
use crate::system::holdings;
use crate::testbed::options;
use crate::traffic::{Grade, Traffic, TrafficRequest, shown};

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(2);
/// The bytes of a response: the cache has room for a hundred.
const PADDING: usize = 16 << 10;
const FIELDS: &str =
    "cache-control: max-age=600\r\ncache-groups: \"pages\"\r\ncache-group-invalidation: \"pages\"\r\n";
const PURGES: usize = 60;
const RELOADS: u32 = 4;
/// The requests for addresses that nobody else requests, at the least.
const FLOOD: u64 = 1000;
/// By how much the process may have grown at the end: several times the capacity, and far below what has passed the cache.
const GROWTH: u64 = 64 << 20;

/// Requests for few pages again and again, and for many pages once.
struct Pages {
    received: Arc<Received>,
    /// No response to a later request may be older.
    floor: Floor,
    once: Arc<AtomicU64>,
}

impl Traffic for Pages {
    fn draw(&self, random: &mut Rng) -> TrafficRequest {
        let target = match random.u64(..10) {
            0..6 => format!("/page/{}", random.u64(..8)),
            _ => format!("/once/{}", self.once.fetch_add(1, SeqCst)),
        };
        let (received, floor) = (Arc::clone(&self.received), self.floor.load(SeqCst));
        let check = move |reply: &Response| {
            received.count(Source::of(reply));
            match version(reply) {
                Some(version) if reply.status == 200 && version >= floor => Grade::Right,
                Some(version) if reply.status == 200 => Grade::Wrong(format!(
                    "version {version} after the end of {}: {:?}",
                    floor - 1,
                    reply.headers
                )),
                _ => Grade::Wrong(shown(reply)),
            }
        };
        TrafficRequest { target, check: Box::new(check) }
    }
}

/// A host under load.
struct Storm {
    host: Host,
    origin: Origin,
    received: Arc<Received>,
    floor: Floor,
    once: Arc<AtomicU64>,
    load: Load,
    /// The resident bytes at the beginning.
    resident: u64,
}

impl Storm {
    fn begin(host: Host, origin: Origin) -> Self {
        let (received, floor, once) = (Arc::default(), Floor::default(), Arc::default());
        let pages =
            Pages { received: Arc::clone(&received), floor: Arc::clone(&floor), once: Arc::clone(&once) };
        let addresses = vec![host.address()];
        let resident = holdings(host.pid(), 0).resident;
        let load =
            Load::start(Plan { addresses, clients: CLIENTS, pause: PAUSE, allows: Allows::NOTHING }, pages);
        Self { host, origin, received, floor, once, load, resident }
    }

    /// Waits until the cache has answered again, so that there is something to invalidate.
    async fn is_used(&self) -> Result<(), String> {
        let hits = || self.received.all()[0];
        let before = hits();
        self.load.until("the cache answers", |_| hits() > before).await
    }

    /// Sends an unsafe request, whose response invalidates the group of all pages.
    async fn delete(&self) -> Result<(), String> {
        let reply = self.host.request("DELETE", "/page/0").send().await;
        self.received.count(Source::of(&reply));
        if reply.status == 200 { Ok(()) } else { Err(format!("DELETE: {}", shown(&reply))) }
    }

    async fn purge(&self, query: &str) -> Result<(), String> {
        let target = format!("/response-cache/purge{query}");
        let reply = Request::new("POST", &target).to(self.host.admin_address()).send().await;
        if reply.status == 200 { Ok(()) } else { Err(format!("{target}: {}", shown(&reply))) }
    }

    /// What is true at each time: the bytes are bounded.
    async fn check_bytes(&self) -> Result<(), String> {
        let state = self.host.admin("/response-cache").await.json();
        let bytes = |name: &str| state.get(name).and_then(serde_json::Value::as_u64);
        if bytes("used_bytes") > bytes("capacity_bytes") || bytes("bytes") > bytes("used_bytes") {
            return Err(format!("more than {CAPACITY}: {state}"));
        }
        Ok(())
    }

    /// Ends the load. The counts must agree, and the memory must come back.
    async fn end(self, done: String) -> Outcome {
        let recovered_after = self.load.recovered().await?;
        let once = || self.once.load(SeqCst);
        self.load.until("a flood of addresses has passed", |_| once() >= FLOOD).await?;
        self.check_bytes().await?;
        let evicted = self.host.metric("wasi_http_host_response_cache_evicted_total").await;
        ensure!(evicted > 0.0, "nothing was evicted");
        let tally = self.load.finish().await;
        agrees(&self.host, &self.received).await?;
        let [_, _, _, component] = self.received.all();
        let answered = self.origin.answered();
        ensure!(
            answered == component,
            "the component answered {component} requests, and the origin {answered}"
        );
        let purged = "/response-cache/purge";
        Request::new("POST", purged).to(self.host.admin_address()).send().await;
        let empty = json!({ "entries": 0, "bytes": 0, "used_bytes": 0, "capacity_bytes": 2 << 20 });
        until("all bytes of the cache are free", async || {
            (self.host.admin("/response-cache").await.json() == empty).then_some(())
        })
        .await;
        let grown = holdings(self.host.pid(), 0).resident.saturating_sub(self.resident);
        ensure!(grown <= GROWTH, "the process has grown by {} MiB", grown >> 20);
        let hits = self.received.all()[0];
        let done = format!("{done}; {hits} hits, {evicted} evicted; all bytes came back");
        Ok(Observed { done, tally, recovered_after })
    }
}

/// The operator purges in each way, and the component invalidates, again and again.
pub(in crate::faults) async fn purges() -> Outcome {
    let origin = Origin::start(FIELDS, PADDING).await?;
    let host = forwarding(&origin).await.start().await;
    let storm = Storm::begin(host, origin);
    for round in 0..PURGES {
        storm.is_used().await?;
        let version = storm.origin.next_version();
        match round % 4 {
            0 => storm.purge("").await?,
            1 => storm.purge("?component=guest_forwarder").await?,
            2 => storm.purge("?group=pages").await?,
            _ => storm.delete().await?,
        }
        storm.floor.fetch_max(version, SeqCst);
        storm.check_bytes().await?;
    }
    storm.end(format!("{PURGES} purges in a flood")).await
}

/// The component is replaced again and again. Each one begins with an empty cache.
pub(in crate::faults) async fn reloads() -> Outcome {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let manifest = directory.path().join("spin.toml");
    let origin = Origin::start(FIELDS, PADDING).await?;
    write(&manifest, &origin, 0)?;
    let options = options().await.without("--component-metrics").app(&manifest);
    let storm = Storm::begin(options.flag("--response-cache", CAPACITY).start().await, origin);
    for reload in 1..=RELOADS {
        storm.is_used().await?;
        let version = storm.origin.next_version();
        write(&manifest, &storm.origin, reload)?;
        storm.host.signal(Signal::SIGHUP);
        let done = |reloads: f64| reloads >= f64::from(reload);
        storm.host.wait_for_metric("wasi_http_host_reloads_total{outcome=\"done\"}", done).await;
        storm.floor.fetch_max(version, SeqCst);
    }
    storm.end(format!("{RELOADS} reloads under load")).await
}

/// Writes the manifest. Another number is another component.
fn write(manifest: &Path, origin: &Origin, number: u32) -> Result<(), String> {
    let (source, origin) = (paths::guest("forwarder"), origin.address());
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"reloads\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"forwarder\"\n\
         [component.forwarder]\nsource = {source:?}\nallowed_outbound_hosts = [\"http://{origin}\"]\n\
         environment = {{ NUMBER = \"{number}\" }}\n\
         [component.forwarder.variables]\norigin = \"{origin}\"\n"
    );
    std::fs::write(manifest, text).map_err(|error| format!("{}: {error}", manifest.display()))
}
