//! Several hosts on one cache in Redis, as the pods of a Deployment are.

use e2e::fake::FakeGitHub;
use e2e::harness::{Host, Instances, Options, Redis, fake, until};

use super::expect::Expect as _;
use super::upstream::join_all;

suite!(
    misses_of_all_hosts_are_one_call,
    what_one_stores_all_serve,
    statistics_are_of_all_hosts,
    without_redis_github_is_asked_until_it_is_back,
);

const HOSTS: usize = 3;
const CROWD: usize = 50;

async fn hosts(instances: Instances, github: &FakeGitHub, redis: &Redis) -> Vec<Host> {
    let options = Options::new(instances)
        .setting("github_api_url", &github.url())
        .setting("cache_store", "shared")
        .setting("metrics_store", "shared")
        .setting("upstream_timeout", "25")
        .flag("--keyvalue-store", &format!("shared=redis://{}", redis.address()));
    join_all((0..HOSTS).map(|_| Host::start(options.clone()))).await
}

async fn misses_of_all_hosts_are_one_call(instances: Instances) {
    let (github, redis) = (fake().await, Redis::start());
    let hosts = hosts(instances, &github, &redis).await;
    let hold = github.hold("octocat");
    let asking = join_all((0..HOSTS * CROWD).map(|n| hosts[n % HOSTS].get("/octocat")));
    let releasing = async {
        until("the crowd is inside", async || {
            let metrics = join_all(hosts.iter().map(Host::host_metrics)).await;
            let active: f64 = metrics.iter().map(|all| all.sum("wasi_http_host_requests_active", &[])).sum();
            (github.journal().open() > 0 && active >= (HOSTS * CROWD) as f64).then_some(())
        })
        .await;
        hold.release();
    };
    let (replies, ()) = tokio::join!(asking, releasing);
    assert_eq!(github.journal().calls_for("octocat").len(), 1);
    let first = replies[0].json()["data"].clone();
    for reply in replies {
        assert_eq!(reply.is(200).json()["data"], first);
    }
}

async fn what_one_stores_all_serve(instances: Instances) {
    let (github, redis) = (fake().await, Redis::start());
    let hosts = hosts(instances, &github, &redis).await;
    assert!(!hosts[0].get("/octocat").await.is(200).hit());
    for host in &hosts {
        assert!(host.get("/octocat").await.is(200).hit());
    }
    // And what one clears is gone for all.
    hosts[1].ask("DELETE", "/cache").send().await.is(200);
    assert!(!hosts[2].get("/octocat").await.is(200).hit());
    assert_eq!(github.journal().calls_for("octocat").len(), 2);
}

async fn statistics_are_of_all_hosts(instances: Instances) {
    let (github, redis) = (fake().await, Redis::start());
    let hosts = hosts(instances, &github, &redis).await;
    hosts[0].get("/octocat").await.is(200);
    join_all((0..30).map(|n| hosts[n % HOSTS].get("/octocat"))).await;
    for host in &hosts {
        until("thirty hits and a miss", async || {
            let statistics = host.get("/cache/stats").await.is(200).json();
            (statistics["hits"] == 30 && statistics["misses"] == 1 && statistics["size"] == 1).then_some(())
        })
        .await;
    }
}

async fn without_redis_github_is_asked_until_it_is_back(instances: Instances) {
    let (github, redis) = (fake().await, Redis::start());
    let hosts = hosts(instances, &github, &redis).await;
    hosts[0].get("/octocat").await.is(200);
    let address = redis.address();
    drop(redis);
    for host in &hosts {
        assert!(!host.get("/octocat").await.is(200).hit(), "answered from GitHub");
        assert_eq!(host.admin("/ready").await.status, 200, "an outage of Redis unreadies no pod");
        until("it shows", async || {
            let metrics = host.host_metrics().await;
            (metrics.sum("wasi_http_host_keyvalue_remote_connections", &[("store", "shared")]) == 0.0)
                .then_some(())
        })
        .await;
    }
    let _redis = Redis::start_at(address);
    for host in &hosts {
        until("the cache serves again", async || host.get("/octocat").await.is(200).hit().then_some(()))
            .await;
    }
}
