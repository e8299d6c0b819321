//! Cache statistics (`/cache/stats`) and clearing the cache (`DELETE /cache`).

use std::time::{Duration, Instant};

use e2e::{Instances, Service};
use testkit::until;

use super::expect::Expect as _;

suite!(
    statistics_are_exact_within_a_second,
    an_instance_of_one_request_does_not_stay_to_count,
    nothing_asked_is_a_rate_of_zero,
    clearing_forgets_entries_and_statistics,
    a_fill_in_flight_does_not_bring_old_entries_back,
    clearing_may_need_a_token,
    the_store_does_not_grow_for_ever,
);

async fn statistics(service: &Service, expected: &str) {
    let mut last = String::new();
    until(expected, async || {
        let reply = service.host.get("/cache/stats").await.is(200);
        if last != reply.text() {
            last = reply.text().to_owned();
            eprintln!("statistics: {last}");
        }
        (last == expected).then_some(())
    })
    .await;
}

async fn statistics_are_exact_within_a_second(instances: Instances) {
    let service = Service::start(instances).await;
    for page in 1..=5 {
        service.host.get(&format!("/octocat?page={page}")).await.is(200);
    }
    for _ in 0..42 {
        service.host.get("/octocat").await.is(200);
    }
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        service.host.get(&format!("/{name}")).await.is(404);
    }
    statistics(
        &service,
        r#"{"size":5,"hits":42,"misses":10,"hit_rate":0.8076923076923077,"ttl_seconds":300}"#,
    )
    .await;
    // A bypass is neither a hit nor a miss.
    service.host.get("/octocat?use_cache=false").await.is(200);
    service.host.get("/octocat").await.is(200);
    statistics(
        &service,
        r#"{"size":5,"hits":43,"misses":10,"hit_rate":0.8113207547169812,"ttl_seconds":300}"#,
    )
    .await;
    // A cached 404 is a hit.
    service.host.get("/n1").await.is(404);
    statistics(
        &service,
        r#"{"size":5,"hits":44,"misses":10,"hit_rate":0.8148148148148148,"ttl_seconds":300}"#,
    )
    .await;
}

async fn an_instance_of_one_request_does_not_stay_to_count(instances: Instances) {
    const HITS: usize = 60;
    let service =
        Service::with(instances, |options| options.flag("--max-instances", "1").flag("--threads", "1")).await;
    service.host.get("/octocat").await.is(200);
    let begun = Instant::now();
    for _ in 0..HITS {
        assert!(service.host.get("/octocat").await.is(200).hit());
    }
    // The host runs one instance at a time. If each stayed for the 450 ms of a flush, the last request would start after 26 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let expected =
        format!(r#"{{"size":1,"hits":{HITS},"misses":1,"hit_rate":{},"ttl_seconds":300}}"#, 60.0 / 61.0);
    statistics(&service, &expected).await;
}

async fn nothing_asked_is_a_rate_of_zero(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("cache_ttl", "77")).await;
    let reply = service.host.get("/cache/stats").await.is(200);
    assert_eq!(reply.text(), r#"{"size":0,"hits":0,"misses":0,"hit_rate":0.0,"ttl_seconds":77}"#);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control").map(|caching| caching.contains("no-store")), Some(true));
}

async fn clearing_forgets_entries_and_statistics(instances: Instances) {
    let service = Service::start(instances).await;
    service.host.get("/octocat").await.is(200);
    service.host.get("/octocat").await.is(200);
    service.host.get("/nobody").await.is(404);
    statistics(&service, r#"{"size":1,"hits":1,"misses":2,"hit_rate":0.3333333333333333,"ttl_seconds":300}"#)
        .await;
    let reply = service.host.request("DELETE", "/cache").send().await.is(200);
    assert_eq!(reply.header("cache-group-invalidation"), Some("\"gists\""));
    assert_eq!(reply.text(), r#"{"message":"Cache cleared successfully"}"#);
    statistics(&service, r#"{"size":0,"hits":0,"misses":0,"hit_rate":0.0,"ttl_seconds":300}"#).await;
    assert!(!service.host.get("/octocat").await.is(200).hit());
    service.github.add_user("nobody", 1, 0);
    service.host.get("/nobody").await.is(200);
    statistics(&service, r#"{"size":2,"hits":0,"misses":2,"hit_rate":0.0,"ttl_seconds":300}"#).await;
    // Clearing an empty cache succeeds.
    for _ in 0..3 {
        service.host.request("DELETE", "/cache").send().await.is(200);
    }
    statistics(&service, r#"{"size":0,"hits":0,"misses":0,"hit_rate":0.0,"ttl_seconds":300}"#).await;
}

async fn a_fill_in_flight_does_not_bring_old_entries_back(instances: Instances) {
    let service = Service::start(instances).await;
    let hold = service.github.hold("octocat");
    let filling = service.host.get("/octocat");
    let clearing = async {
        until("the call is open", async || (service.github.journal().open() == 1).then_some(())).await;
        service.host.request("DELETE", "/cache").send().await.is(200);
        service.github.add_user("octocat", 5, 0);
        hold.release();
    };
    let (filled, ()) = tokio::join!(filling, clearing);
    filled.is(200);
    let after = service.host.get("/octocat").await.is(200);
    assert!(!after.hit(), "the old entry came back after the cache was cleared");
    assert_eq!(after.ids().len(), 5);
    assert!(service.host.get("/octocat").await.is(200).hit());
}

async fn clearing_may_need_a_token(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("admin_token", "let-me-in")).await;
    service.host.get("/octocat").await.is(200);
    for wrong in [
        None,
        Some("Bearer let-me-on"),
        Some("Bearer "),
        Some("Basic let-me-in"),
        Some("let-me-in"),
        Some("Bearer let-me-in2"),
    ] {
        let ask = service.host.request("DELETE", "/cache");
        let ask = if let Some(value) = wrong { ask.header("authorization", value) } else { ask };
        let reply = ask.send().await.is(401);
        assert!(!reply.detail().is_empty());
        assert!(
            reply.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")),
            "{:?}",
            reply.headers
        );
    }
    assert!(service.host.get("/octocat").await.is(200).hit());
    service.host.request("DELETE", "/cache").header("authorization", "Bearer let-me-in").send().await.is(200);
    service.host.request("DELETE", "/cache").header("authorization", "bearer let-me-in").send().await.is(200);
    assert!(!service.host.get("/octocat").await.is(200).hit());
    assert!(!service.host.log().contains("let-me-in"));
}

async fn the_store_does_not_grow_for_ever(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("cache_entries", "10")).await;
    for page in 1..=25 {
        service.host.get(&format!("/octocat?page={page}")).await.is(200);
    }
    let size = until("the size settles", async || {
        let size = service.host.get("/cache/stats").await.json()["size"].as_u64().unwrap();
        (1..=10).contains(&size).then_some(size)
    })
    .await;
    assert!(size <= 10);
    assert!(service.host.get("/octocat?page=25").await.is(200).hit(), "the newest entry is missing");
    assert!(!service.host.get("/octocat?page=1").await.is(200).hit(), "the oldest entry was not evicted");
}
