//! The component on a store that behaves as Spin's default one: in-process, so that the store can count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::fake::FakeGitHub;
use e2e::harness::{Ask, Instances, Reply, fake, manifest, until, workspace};
use wasi_http_host::{Config, Host, Shutdown, Trigger};

use super::expect::Expect as _;
use super::spin_store::{SpinStore, Write};
use super::upstream::join_all;

suite!(
    a_hit_writes_nothing_while_anybody_waits,
    a_key_is_flushed_at_most_three_times_a_second,
    totals_are_exact_behind_many_hits,
    one_flight_where_a_swap_would_not_do,
);

/// A host in this process.
struct Embedded {
    github: FakeGitHub,
    store: SpinStore,
    address: SocketAddr,
    trigger: Trigger,
    running: Option<JoinHandle<()>>,
}

impl Embedded {
    async fn start(instances: Instances) -> Self {
        let (github, store) = (fake().await, SpinStore::default());
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config =
            Config { listen: Some(loopback), admin_listen: loopback, ..Config::serving(manifest()) };
        config.log.log_level = "error".parse().unwrap();
        config.application.vars = vec![format!("github_api_url={}", github.url()).parse().unwrap()];
        config.application.code.cache_dir = Some(workspace().join("target/e2e-cache"));
        let bounds = &mut config.application.instances;
        match instances {
            Instances::Fresh => bounds.instance_max_requests = Some(NonZeroUsize::MIN),
            // One that is never replaced: what is measured is per instance.
            Instances::Reused => {
                bounds.threads = Some(NonZeroUsize::MIN);
                bounds.max_instances = NonZeroU32::MIN;
                bounds.instance_max_requests = Some(NonZeroUsize::MAX);
                bounds.instance_max_concurrency = NonZeroUsize::new(128).unwrap();
            }
        }
        let (sender, receiver) = mpsc::channel();
        let (trigger, shutdown) = Shutdown::on_trigger();
        let shared = Arc::new(store.clone());
        // A host has its own runtimes, and blocks while it runs.
        let running = std::thread::spawn(move || {
            let host = Host::builder(config).store("default", shared).build().unwrap();
            sender.send(host.address()).unwrap();
            host.run(shutdown).unwrap();
        });
        let address = until("the host is bound", async || receiver.try_recv().ok()).await;
        Self { github, store, address, trigger, running: Some(running) }
    }

    async fn get(&self, path: &str) -> Reply {
        Ask::new(self.address, "GET", path).send().await
    }

    /// Waits until nothing has been written for longer than a flush could take to come.
    async fn quiet(&self) {
        until("the store is quiet", async || {
            self.store.take_ledger();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            self.store.take_ledger().writes.is_empty().then_some(())
        })
        .await;
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.trigger.stop();
        let ended = self.running.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the host ended badly");
    }
}

async fn a_hit_writes_nothing_while_anybody_waits(instances: Instances) {
    let service = Embedded::start(instances).await;
    assert!(!service.get("/octocat").await.is(200).hit());
    for _ in 0..2 {
        service.quiet().await;
        let sent = Instant::now();
        assert!(service.get("/octocat").await.is(200).hit());
        let mut writes = Vec::new();
        until("the flush", async || {
            let ledger = service.store.take_ledger();
            writes.extend(ledger.writes);
            (!writes.is_empty()).then_some(())
        })
        .await;
        let first = writes.iter().map(|write| write.at.duration_since(sent)).min().unwrap();
        // A timer never fires early, however busy the machine is. An instance writes its first counts right behind
        // the response, which is for the component's own tests to see.
        if instances == Instances::Reused {
            assert!(first >= Duration::from_millis(400), "{first:?} after the request: {writes:?}");
        }
    }
}

async fn a_key_is_flushed_at_most_three_times_a_second(instances: Instances) {
    if instances == Instances::Fresh {
        // There an instance flushes once, for its one request; how often is for the next test.
        let service = Embedded::start(instances).await;
        service.get("/octocat").await.is(200);
        service.quiet().await;
        service.get("/octocat").await.is(200);
        let mut writes = Vec::new();
        until("the flush, to its end", async || {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let more = service.store.take_ledger().writes;
            let over = more.is_empty() && !writes.is_empty();
            writes.extend(more);
            over.then_some(())
        })
        .await;
        for (key, times) in by_key(&writes) {
            assert!(times.len() <= 1, "{key} was written {} times for one request", times.len());
        }
        return;
    }
    let service = Embedded::start(instances).await;
    service.get("/octocat").await.is(200);
    service.quiet().await;
    let (begun, hits) = (Instant::now(), std::cell::Cell::new(0_usize));
    join_all((0..8).map(|_| async {
        while begun.elapsed() < Duration::from_secs(3) {
            assert!(service.get("/octocat").await.is(200).hit());
            hits.set(hits.get() + 1);
        }
    }))
    .await;
    let writes = service.store.take_ledger().writes;
    println!(
        "{} hits, {} writes to {} keys in {:?}",
        hits.get(),
        writes.len(),
        by_key(&writes).len(),
        begun.elapsed()
    );
    assert!(!writes.is_empty());
    for (key, times) in by_key(&writes) {
        for four in times.windows(4) {
            let span = four[3].duration_since(four[0]);
            assert!(span >= Duration::from_secs(1), "{key} was written four times within {span:?}");
        }
    }
}

fn by_key(writes: &[Write]) -> BTreeMap<&str, Vec<Instant>> {
    let mut keys: BTreeMap<&str, Vec<Instant>> = BTreeMap::new();
    for write in writes {
        keys.entry(&write.key).or_default().push(write.at);
    }
    keys
}

async fn totals_are_exact_behind_many_hits(instances: Instances) {
    let service = Embedded::start(instances).await;
    service.get("/octocat").await.is(200);
    join_all((0..8).map(|_| async {
        for _ in 0..25 {
            assert!(service.get("/octocat").await.is(200).hit());
        }
    }))
    .await;
    let ended = Instant::now();
    let wanted = r#"{"size":1,"hits":200,"misses":1,"hit_rate":0.9950248756218906,"ttl_seconds":300}"#;
    until("exact totals", async || {
        (service.get("/cache/stats").await.is(200).text() == wanted).then_some(())
    })
    .await;
    println!("{instances:?}: exact {:?} after the last hit", ended.elapsed());
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(service.get("/cache/stats").await.text(), wanted, "and they stay so");
}

async fn one_flight_where_a_swap_would_not_do(instances: Instances) {
    let service = Embedded::start(instances).await;
    let hold = service.github.hold("octocat");
    let asking = join_all((0..30).map(|_| async {
        assert_eq!(service.get("/octocat").await.is(200).ids().len(), 8);
    }));
    let releasing = async {
        until("a call is open", async || (service.github.journal().open() > 0).then_some(())).await;
        hold.release();
    };
    tokio::join!(asking, releasing);
    assert_eq!(service.github.journal().total(), 1);
}
