//! Singleflight: of requests that miss the cache at once, one asks GitHub.

use std::time::Duration;

use e2e::fake::ScriptedResponse;
use e2e::{Instances, Service};
use futures::future::join_all;
use testkit::{http::Response, until};

use super::expect::Expect as _;

suite!(
    a_hundred_misses_are_one_call,
    a_hundred_bypasses_are_one_call,
    a_hundred_share_a_failure,
    a_fetch_outlives_the_client_that_caused_it,
    different_keys_do_not_wait_for_each_other,
);

const CROWD: usize = 100;

/// A service with a time limit for GitHub that is long enough for the crowd to arrive.
async fn start(instances: Instances) -> Service {
    Service::with(instances, |options| options.setting("upstream_timeout", "25")).await
}

/// Sends [`CROWD`] requests while GitHub's response is held, until all of them are active.
async fn crowd(service: &Service, path: &str) -> Vec<Response> {
    let hold = service.github.hold("octocat");
    let replies = std::cell::RefCell::new(Vec::new());
    let asking = join_all((0..CROWD).map(|_| async {
        let reply = service.host.get(path).await;
        replies.borrow_mut().push(reply);
    }));
    let releasing = async {
        until("GitHub has one open request", async || (service.github.journal().open() > 0).then_some(()))
            .await;
        // The component's own count: the host also counts requests that still wait for an instance. The component publishes its count
        // within half a second. Scrapes are requests, too, so the test scrapes seldom.
        until("the whole crowd is active", async || {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let active = service.component_metrics().await.sum("http_requests_active", &[]);
            (active >= 100.0).then_some(())
        })
        .await;
        assert_eq!(service.github.journal().peak_for("octocat"), 1);
        hold.release();
    };
    tokio::join!(asking, releasing);
    replies.into_inner()
}

async fn a_hundred_misses_are_one_call(instances: Instances) {
    let service = start(instances).await;
    let replies = crowd(&service, "/octocat").await;
    assert_eq!(replies.len(), CROWD);
    assert_eq!(service.github.journal().calls_for("octocat").len(), 1);
    let first = replies[0].clone().is(200);
    let mut stored = 0;
    for reply in replies {
        let reply = reply.is(200);
        assert_eq!(reply.json()["data"], first.json()["data"]);
        match reply.cache_status() {
            "fwd=uri-miss; stored" => stored += 1,
            "fwd=uri-miss; collapsed" => {}
            other => panic!("{other}"),
        }
        assert!(!reply.hit());
    }
    assert_eq!(stored, 1);
}

async fn a_hundred_bypasses_are_one_call(instances: Instances) {
    let service = start(instances).await;
    service.host.get("/octocat").await.is(200);
    let replies = crowd(&service, "/octocat?use_cache=false").await;
    assert!(replies.iter().all(|reply| reply.status == 200 && !reply.hit()));
    assert_eq!(service.github.journal().calls_for("octocat").len(), 2);
}

async fn a_hundred_share_a_failure(instances: Instances) {
    let service = start(instances).await;
    service.github.always("octocat", ScriptedResponse::status(500));
    let replies = crowd(&service, "/octocat").await;
    for reply in &replies {
        reply.is_error(502, "GitHub error: 500");
    }
    assert_eq!(service.github.journal().calls_for("octocat").len(), 1);
}

async fn a_fetch_outlives_the_client_that_caused_it(instances: Instances) {
    let service = Service::start(instances).await;
    let hold = service.github.hold("octocat");
    let mut client = service.host.connect().await;
    client.write(&service.host.request("GET", "/octocat").bytes()).await.unwrap();
    until("GitHub has one open request", async || (service.github.journal().open() == 1).then_some(())).await;
    client.reset();
    tokio::time::sleep(Duration::from_millis(100)).await;
    hold.release();
    until("the entry is stored although the client has gone", async || {
        let reply = service.host.get("/octocat").await.is(200);
        reply.hit().then_some(())
    })
    .await;
    assert_eq!(service.github.journal().calls_for("octocat").len(), 1);
}

async fn different_keys_do_not_wait_for_each_other(instances: Instances) {
    let service = Service::start(instances).await;
    let hold = service.github.hold("octocat");
    let held = service.host.get("/octocat");
    let others = async {
        until("GitHub has one open request", async || (service.github.journal().open() == 1).then_some(()))
            .await;
        for path in ["/quiet", "/health", "/nobody", "/cache/stats"] {
            assert!(matches!(service.host.get(path).await.status, 200 | 404), "{path}");
        }
        hold.release();
    };
    let (reply, ()) = tokio::join!(held, others);
    reply.is(200);
}
