//! The component with a store that behaves as Spin's default store. The host runs in this process, so that the test's store can count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::fake::FakeGitHub;
use e2e::{Instances, fake, manifest};
use futures::future::join_all;
use testkit::{
    http::{Request, Response},
    paths::code_cache,
    ports, until,
};
use wasi_http_host::{Config, Host, Shutdown, Trigger};

use super::expect::Expect as _;
use super::spin_store::{SpinStore, Write};

suite!(
    a_hit_writes_nothing_while_anybody_waits,
    a_key_is_flushed_at_most_three_times_a_second,
    totals_are_exact_behind_many_hits,
    one_flight_where_a_swap_would_not_do,
);

/// A host in this process, with a store of the test's own.
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
        let mut config =
            Config { listen: Some(ports::ANY), admin_listen: ports::ANY, ..Config::serving(manifest()) };
        config.log.log_level = "error".parse().unwrap();
        config.application.vars = vec![format!("github_api_url={}", github.url()).parse().unwrap()];
        config.application.code.cache_dir = Some(code_cache());
        let bounds = &mut config.application.instances;
        match instances {
            Instances::Fresh => bounds.instance_max_requests = Some(NonZeroUsize::MIN),
            // One instance that is never replaced: the test measures writes per instance.
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
        // A host has its own runtimes, and blocks its thread while it runs.
        let running = std::thread::spawn(move || {
            let host = Host::builder(config).store("default", shared).build().unwrap();
            sender.send(host.address()).unwrap();
            host.run(shutdown).unwrap();
        });
        let address = until("the host is bound", async || receiver.try_recv().ok()).await;
        Self { github, store, address, trigger, running: Some(running) }
    }

    async fn get(&self, path: &str) -> Response {
        Request::get(path).to(self.address).send().await
    }

    /// Waits until there is no write for longer than the period of a flush.
    async fn quiet(&self) {
        until("there are no more writes", async || {
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
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the host did not end with Ok");
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
        // A timer never fires early, however busy the machine is. A fresh instance writes its counts right behind the response; the
        // component's own tests cover that.
        if instances == Instances::Reused {
            assert!(first >= Duration::from_millis(400), "{first:?} after the request: {writes:?}");
        }
    }
}

async fn a_key_is_flushed_at_most_three_times_a_second(instances: Instances) {
    if instances == Instances::Fresh {
        // A fresh instance flushes once, for its one request.
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
    assert_eq!(service.get("/cache/stats").await.text(), wanted, "the totals changed");
}

async fn one_flight_where_a_swap_would_not_do(instances: Instances) {
    let service = Embedded::start(instances).await;
    let hold = service.github.hold("octocat");
    let asking = join_all((0..30).map(|_| async {
        assert_eq!(service.get("/octocat").await.is(200).ids().len(), 8);
    }));
    let releasing = async {
        until("GitHub has an open request", async || (service.github.journal().open() > 0).then_some(()))
            .await;
        hold.release();
    };
    tokio::join!(asking, releasing);
    assert_eq!(service.github.journal().total(), 1);
}
