//! SIGTERM under load: no accepted request fails, and the exit code is 0.

use std::cell::Cell;
use std::time::Duration;

use e2e::{Instances, Service, TIMEOUT};
use futures::future::join_all;
use testkit::until;

use super::expect::Expect as _;

suite!(
    what_is_running_is_finished,
    traffic_during_the_grace_is_served,
    an_idle_host_ends_at_once,
    starting_takes_little
);

const CLIENTS: usize = 20;

async fn what_is_running_is_finished(instances: Instances) {
    let mut service = Service::start(instances).await;
    let names: Vec<_> = (0..CLIENTS).map(|index| format!("running-{index}")).collect();
    let mut holds = Vec::new();
    for name in &names {
        service.github.add_user(name, 2, 0);
        holds.push(service.github.hold(name));
    }
    let (host, github) = (&service.host, &service.github);
    let asking = join_all(names.iter().map(|name| async move {
        assert_eq!(host.get(&format!("/{name}")).await.is(200).ids().len(), 2);
    }));
    let ending = async {
        until("all requests are running", async || (github.journal().open() == CLIENTS).then_some(())).await;
        host.terminate();
        until("connections are refused", async || {
            let refused = host.request("GET", "/health").try_send().await.is_err();
            refused.then_some(())
        })
        .await;
        holds.into_iter().for_each(e2e::fake::Hold::release);
    };
    tokio::join!(asking, ending);
    let status = service.host.ended().await;
    assert!(status.success(), "{status}: {}", service.host.log().tail());
}

async fn traffic_during_the_grace_is_served(instances: Instances) {
    let mut service = Service::with(instances, |options| options.flag("--shutdown-grace", "4s")).await;
    service.host.get("/octocat").await.is(200);
    let (host, stop, served) = (&service.host, &Cell::new(false), &Cell::new(0_u32));
    // New and kept connections are served during the grace period, as a load balancer needs that sees `/ready` fail.
    let clients = join_all((0..8).map(|lane| async move {
        let mut kept = host.connect().await;
        while !stop.get() {
            let path = ["/octocat", "/health", "/quiet", "/nobody"][lane % 4];
            let status = if lane % 2 == 0 {
                host.get(path).await.status
            } else {
                kept.write(&host.request("GET", path).bytes()).await.unwrap();
                let reply = kept.response().await.unwrap();
                if reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                    kept = host.connect().await;
                }
                reply.status
            };
            assert!(matches!(status, 200 | 404), "{path}: {status}");
            served.set(served.get() + 1);
        }
    }));
    let ending = async {
        until("there is load", async || (served.get() > 200).then_some(())).await;
        host.terminate();
        until("/ready is 503", async || (host.admin("/ready").await.status == 503).then_some(())).await;
        assert_eq!(host.admin("/live").await.status, 200);
        let before = served.get();
        until("requests are served during the grace", async || (served.get() > before + 200).then_some(()))
            .await;
        stop.set(true);
    };
    tokio::join!(clients, ending);
    let status = service.host.ended().await;
    assert!(status.success(), "{status}: {}", service.host.log().tail());
}

async fn an_idle_host_ends_at_once(instances: Instances) {
    let mut service = Service::start(instances).await;
    service.host.get("/octocat").await.is(200);
    let _idle = service.host.connect().await;
    service.host.terminate();
    let begun = std::time::Instant::now();
    assert!(service.host.ended().await.success());
    assert!(begun.elapsed() < TIMEOUT, "an idle connection delays the shutdown");
}

/// Prints how long a start takes with cached code. The bound is far above the usual time: other tests use the machine, too.
async fn starting_takes_little(instances: Instances) {
    drop(Service::start(instances).await);
    let mut starts = Vec::new();
    for _ in 0..5 {
        let service = Service::start(instances).await;
        service.host.get("/health").await.is(200);
        starts.push(service.host.started_in());
    }
    starts.sort_unstable();
    println!(
        "ready {:?} after exec (median of {}; best {:?})",
        starts[starts.len() / 2],
        starts.len(),
        starts[0]
    );
    assert!(starts[0] < Duration::from_secs(5), "{starts:?}");
}
