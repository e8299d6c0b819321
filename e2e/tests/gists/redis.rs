//! Several hosts that share one cache in Redis, as the pods of a Deployment do.

use std::time::{Duration, Instant};

use e2e::fake::FakeGitHub;
use e2e::{Instances, fake};
use futures::future::join_all;
use testkit::{Host, HostOptions, RedisServer, limits::raise_open_files, until};

use super::expect::Expect as _;

suite!(
    misses_of_all_hosts_are_one_call,
    what_one_stores_all_serve,
    statistics_are_of_all_hosts,
    without_redis_github_is_asked_until_it_is_back,
    a_thousand_misses_over_two_hosts_are_one_call,
    who_waits_for_a_host_that_was_killed_is_answered_within_the_leases_deadline,
    a_cached_answer_asks_redis_nothing,
    a_redis_that_forgot_serves_nothing_stale,
    the_generation_and_its_counters_are_renewed,
    what_another_format_wrote_is_left_alone,
);

const HOSTS: usize = 3;
const CROWD: usize = 50;
/// The lease time minus `upstream_timeout` (`GRACE` in `component/src/singleflight/lease.rs`).
const LEASE_GRACE: Duration = Duration::from_secs(5);

async fn hosts(instances: Instances, github: &FakeGitHub, redis: &RedisServer) -> Vec<Host> {
    let options = options(instances, github, redis).await;
    join_all((0..HOSTS).map(|_| options.clone().start())).await
}

async fn options(instances: Instances, github: &FakeGitHub, redis: &RedisServer) -> HostOptions {
    e2e::options(instances)
        .await
        .setting("github_api_url", &github.url())
        .setting("cache_store", "shared")
        .setting("metrics_store", "shared")
        .setting("upstream_timeout", "25")
        // On a busy machine, a late response is no failure of Redis.
        .flag("--redis-timeout", "30s")
        .flag("--redis-connect-timeout", "30s")
        .flag("--keyvalue-store", &format!("shared=redis://{}", redis.address()))
}

/// The active requests of all hosts.
async fn active(hosts: &[Host]) -> f64 {
    let metrics = join_all(hosts.iter().map(Host::samples)).await;
    metrics.iter().map(|all| all.sum("wasi_http_host_requests_active", &[])).sum()
}

async fn misses_of_all_hosts_are_one_call(instances: Instances) {
    let (github, redis) = (fake().await, RedisServer::start());
    let hosts = hosts(instances, &github, &redis).await;
    let hold = github.hold("octocat");
    let asking = join_all((0..HOSTS * CROWD).map(|n| hosts[n % HOSTS].get("/octocat")));
    let releasing = async {
        until("the crowd is active", async || {
            (github.journal().open() > 0 && active(&hosts).await >= (HOSTS * CROWD) as f64).then_some(())
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
    let (github, redis) = (fake().await, RedisServer::start());
    let hosts = hosts(instances, &github, &redis).await;
    assert!(!hosts[0].get("/octocat").await.is(200).hit());
    for host in &hosts {
        assert!(host.get("/octocat").await.is(200).hit());
    }
    // After one host clears the cache, the others miss as soon as Redis has sent its invalidation messages.
    hosts[1].request("DELETE", "/cache").send().await.is(200);
    until("the entry is gone", async || (!hosts[2].get("/octocat").await.is(200).hit()).then_some(())).await;
    assert_eq!(github.journal().calls_for("octocat").len(), 2);
}

async fn statistics_are_of_all_hosts(instances: Instances) {
    let (github, redis) = (fake().await, RedisServer::start());
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
    let (github, redis) = (fake().await, RedisServer::start());
    let hosts = hosts(instances, &github, &redis).await;
    hosts[0].get("/octocat").await.is(200);
    let address = redis.address();
    drop(redis);
    for host in &hosts {
        assert!(!host.get("/octocat").await.is(200).hit(), "answered from GitHub");
        assert_eq!(host.admin("/ready").await.status, 200, "without Redis, the pod is not ready");
        until("the metric shows no connection", async || {
            let metrics = host.samples().await;
            (metrics.sum("wasi_http_host_keyvalue_remote_connections", &[("store", "shared")]) == 0.0)
                .then_some(())
        })
        .await;
    }
    let _redis = RedisServer::start_at(address, &[]);
    for host in &hosts {
        until("the cache serves again", async || host.get("/octocat").await.is(200).hit().then_some(()))
            .await;
    }
}

async fn a_thousand_misses_over_two_hosts_are_one_call(instances: Instances) {
    const MISSES: usize = 1000;
    raise_open_files();
    let (github, redis) = (fake().await, RedisServer::start());
    // A request may wait for an instance for as long as GitHub's response takes.
    let options = options(instances, &github, &redis)
        .await
        .flag("--queue-timeout", "60s")
        .flag("--request-timeout", "60s");
    let hosts = join_all((0..2).map(|_| options.clone().start())).await;
    let hold = github.hold("octocat");
    let asking = join_all((0..MISSES).map(|n| hosts[n % 2].get("/octocat")));
    let releasing = async {
        until("all requests are active", async || {
            (github.journal().open() > 0 && active(&hosts).await >= MISSES as f64).then_some(())
        })
        .await;
        hold.release();
    };
    let (replies, ()) = tokio::join!(asking, releasing);
    let first = replies[0].json()["data"].clone();
    for reply in &replies {
        assert_eq!(reply.clone().is(200).json()["data"], first);
    }
    assert_eq!(github.journal().calls_for("octocat").len(), 1);
}

async fn who_waits_for_a_host_that_was_killed_is_answered_within_the_leases_deadline(instances: Instances) {
    const WAITING: usize = 20;
    let (github, redis) = (fake().await, RedisServer::start());
    let timeout = Duration::from_secs(5);
    let options = options(instances, &github, &redis).await.setting("upstream_timeout", "5");
    let mut hosts = join_all((0..2).map(|_| options.clone().start())).await;
    let (other, holder) = (hosts.remove(1), hosts.remove(0));
    let hold = github.hold("octocat");
    let mut client = holder.connect().await;
    client.write(&holder.request("GET", "/octocat").bytes()).await.unwrap();
    until("the first host asks GitHub", async || (github.journal().open() == 1).then_some(())).await;
    let since = Instant::now();
    let waiting = join_all((0..WAITING).map(|_| other.get("/octocat")));
    let killing = async {
        until("the others wait", async || {
            (active(std::slice::from_ref(&other)).await >= WAITING as f64).then_some(())
        })
        .await;
        // SIGKILL: the host does not release its lease.
        drop(holder);
        until("its request to GitHub is gone", async || (github.journal().open() == 0).then_some(())).await;
        hold.release();
    };
    let (replies, ()) = tokio::join!(waiting, killing);
    let took = since.elapsed();
    for reply in &replies {
        reply.clone().is(200);
    }
    assert_eq!(
        github.journal().calls_for("octocat").len(),
        2,
        "one request of the killed host, and one for all others"
    );
    // Twice the duration of the lease: on a busy machine, the response itself takes time.
    assert!(took < 2 * (timeout + LEASE_GRACE), "{took:?}");
}

async fn a_cached_answer_asks_redis_nothing(instances: Instances) {
    const HITS: u64 = 1000;
    let (github, redis) = (fake().await, RedisServer::start());
    let host = options(instances, &github, &redis).await.flag("--redis-cache-max-age", "1h").start().await;
    until("each connection tracks invalidations", async || {
        let metrics = host.samples().await;
        let of = |name: &str| metrics.sum(&format!("wasi_http_host_keyvalue_remote_{name}"), &[]);
        (of("tracked") > 0.0 && of("tracked") == of("connections")).then_some(())
    })
    .await;
    host.get("/octocat").await.is(200);
    // Each thread reads the entry once.
    for _ in 0..50 {
        assert!(host.get("/octocat").await.is(200).hit());
    }
    let before = redis.calls("get") + redis.calls("mget");
    for _ in 0..HITS {
        assert!(host.get("/octocat").await.is(200).hit());
    }
    let asked = redis.calls("get") + redis.calls("mget") - before;
    // A thread without a request so far still has to read the entry.
    assert!(asked <= HITS / 20, "{asked} reads for {HITS} hits");
    assert_eq!(github.journal().calls_for("octocat").len(), 1);
}

async fn a_redis_that_forgot_serves_nothing_stale(instances: Instances) {
    let (github, redis) = (fake().await, RedisServer::start());
    let options = options(instances, &github, &redis).await.flag("--redis-cache-max-age", "1h");
    let hosts = join_all((0..2).map(|_| options.clone().start())).await;
    for _ in 0..10 {
        for host in &hosts {
            host.get("/octocat").await.is(200);
        }
    }
    let calls = github.journal().calls_for("octocat").len();
    let address = redis.address();
    drop(redis);
    let _empty = RedisServer::start_at(address, &[]);
    for host in &hosts {
        until("the cache serves again", async || host.get("/octocat").await.is(200).hit().then_some(()))
            .await;
    }
    // No value of the old server was served after the restart.
    assert!(github.journal().calls_for("octocat").len() > calls);
}

/// Ages the record of the generation: it was last written in 1970, and lives for another minute.
const AGE_GENERATION: &str = r"
local record = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], string.sub(record, 1, 8) .. string.rep('\0', 8) .. string.sub(record, 17), 'PX', 60000)
return string.sub(record, 1, 8)";
/// The number of the generation.
const GENERATION_NUMBER: &str = "return string.sub(redis.call('GET', KEYS[1]), 1, 8)";
/// The key of the record, with the version of its form.
const GENERATION: &str = "generation:v3";

/// The only key of which `part` is a part.
fn key_with(redis: &RedisServer, part: &str) -> String {
    let keys: Vec<String> = redis.query(&["KEYS", &format!("*{part}*")]).unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].clone()
}

async fn the_generation_and_its_counters_are_renewed(instances: Instances) {
    let (github, redis) = (fake().await, RedisServer::start());
    let host = options(instances, &github, &redis).await.start().await;
    host.get("/octocat").await.is(200);
    until("the counters are written", async || {
        let statistics = host.get("/cache/stats").await.is(200).json();
        (statistics["misses"] == 1).then_some(())
    })
    .await;
    let counter = key_with(&redis, ":stats:misses");
    redis.command(&["PEXPIRE", &counter, "60000"]);
    let number: Vec<u8> = redis.query(&["EVAL", AGE_GENERATION, "1", GENERATION]).unwrap();
    // This request is a miss. Afterwards both keys live for two days again.
    host.get("/octocat?page=2").await.is(200);
    for key in [GENERATION, &counter] {
        until(&format!("{key} is renewed"), async || {
            let left: i64 = redis.query(&["PTTL", key]).unwrap();
            (left > 3_600_000).then_some(())
        })
        .await;
    }
    let renewed: Vec<u8> = redis.query(&["EVAL", GENERATION_NUMBER, "1", GENERATION]).unwrap();
    assert_eq!(renewed, number, "it is the same generation");
    assert!(host.get("/octocat").await.is(200).hit());
}

async fn what_another_format_wrote_is_left_alone(instances: Instances) {
    const FORMAT: &str = ":v3:";
    let (github, redis) = (fake().await, RedisServer::start());
    let host = options(instances, &github, &redis).await.start().await;
    host.get("/octocat").await.is(200);
    let own = key_with(&redis, ":gists:octocat:page1:");
    assert!(own.contains(FORMAT), "{own} does not name its format");
    // A later version stores the page, and one of its instances holds the lease.
    let other = own.replace(FORMAT, ":v9:");
    redis.command(&["SET", &other, "a record of version 9"]);
    redis.command(&["INCR", &format!("lease:{other}:0:0")]);
    assert!(host.get("/octocat").await.is(200).hit());
    redis.command(&["DEL", &own]);
    let since = Instant::now();
    // It takes a moment until Redis's invalidation message is there.
    until("the entry is gone", async || (!host.get("/octocat").await.is(200).hit()).then_some(())).await;
    assert!(since.elapsed() < 5 * LEASE_GRACE, "{:?}", since.elapsed());
    assert!(host.get("/octocat").await.is(200).hit());
    assert_eq!(redis.command(&["GET", &other]), "a record of version 9");
}
