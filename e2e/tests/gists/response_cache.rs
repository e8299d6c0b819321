//! The contract behind the host's response cache (`--response-cache`): the host answers again only what says that it is a hit.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use e2e::{Instances, Service, fake};
use futures::future::join_all;
use testkit::{Host, RedisServer, http::Response, until};

use super::expect::Expect as _;

suite!(
    the_contract_is_the_same_with_the_cache,
    the_host_answers_again_what_says_that_it_is_a_hit,
    nothing_older_than_a_clearing_is_answered_after_it,
);

const CLEARINGS: usize = 5;
const ASKING: usize = 8;

/// Whether the host answered in the component's place.
fn is_from_host(reply: &Response) -> bool {
    let lines = reply.headers.iter().filter(|(name, _)| name == "cache-status");
    let mut own = lines.filter_map(|(_, line)| line.strip_prefix("wasi-http-host; "));
    own.any(|line| line.starts_with("hit") || line.ends_with("; collapsed"))
}

fn names(reply: &Response) -> BTreeSet<&str> {
    // Only the cache adds its own `Cache-Status` to responses that have none.
    reply.headers.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "cache-status").collect()
}

async fn the_contract_is_the_same_with_the_cache(instances: Instances) {
    let with = Service::with(instances, |options| options.flag("--response-cache", "16MiB")).await;
    let without = Service::start(instances).await;
    for path in [
        "/octocat",
        "/octocat?per_page=2&page=2",
        "/users/octocat/gists",
        "/OctoCat",
        "/octocat?use_cache=false",
        "/octocat?page=0",
        "/nobody",
        "/octocat/",
        "/",
        "/health",
        "/ready",
        "/openapi.json",
        "/docs",
        "/missing/path",
    ] {
        for round in 0..4 {
            for (method, accept) in [("GET", "*/*"), ("GET", "application/problem+json"), ("HEAD", "*/*")] {
                let ask =
                    |service: &Service| service.host.request(method, path).header("accept", accept).send();
                let (cached, plain) = (ask(&with).await, ask(&without).await);
                let context = format!("{method} {path}, {accept}, round {round}: {:?}", cached.headers);
                assert_eq!((cached.status, cached.text()), (plain.status, plain.text()), "{context}");
                let mut plain = names(&plain);
                if is_from_host(&cached) {
                    // A stored response has the age of its own, which a component need not state.
                    plain.insert("age");
                }
                assert_eq!(names(&cached), plain, "{context}");
            }
        }
    }
    assert_eq!(with.github.journal().total(), without.github.journal().total());
}

async fn the_host_answers_again_what_says_that_it_is_a_hit(instances: Instances) {
    let service = Service::with(instances, |options| options.flag("--response-cache", "16MiB")).await;
    let get = || service.host.get("/octocat");
    let miss = get().await.is(200);
    assert!(!miss.hit() && !is_from_host(&miss));
    let hit = get().await.is(200);
    assert!(hit.hit() && !is_from_host(&hit), "the miss was not stored");
    for _ in 0..10 {
        let again = get().await.is(200);
        assert!(is_from_host(&again), "{:?}", again.headers);
        assert_eq!(again.text(), hit.text());
    }
    let tag = hit.header("etag").unwrap();
    service.host.request("GET", "/octocat").header("if-none-match", tag).send().await.is(304);
    // The component counts what reaches it, and the host counts the rest.
    until("the component has counted one hit", async || {
        let statistics = service.host.get("/cache/stats").await.is(200).json();
        (statistics["hits"] == 1 && statistics["misses"] == 1).then_some(())
    })
    .await;
    let hits = service
        .host
        .samples()
        .await
        .sum("wasi_http_host_response_cache_requests_total", &[("outcome", "hit")]);
    assert!(hits >= 11.0, "{hits}");
    // Errors, and a user who does not exist, reach the component each time.
    for path in ["/nobody", "/octocat?page=0", "/health", "/cache/stats"] {
        for _ in 0..3 {
            assert!(!is_from_host(&service.host.get(path).await), "{path}");
        }
    }
}

/// Two hosts that share a store, each with a response cache of its own. The host that clears answers nothing older from then on. The
/// other one may, while its response is fresh.
async fn nothing_older_than_a_clearing_is_answered_after_it(instances: Instances) {
    let (github, redis) = (fake().await, RedisServer::start());
    let options = e2e::options(instances)
        .await
        .setting("github_api_url", &github.url())
        .setting("cache_store", "shared")
        .setting("cache_ttl", "2")
        .flag("--redis-timeout", "30s")
        .flag("--keyvalue-store", &format!("shared=redis://{}", redis.address()))
        .flag("--response-cache", "16MiB");
    let (clears, other) = (options.clone().start().await, options.start().await);
    let over = AtomicBool::new(false);
    let asking = join_all((0..ASKING).map(async |_| {
        while !over.load(Relaxed) {
            clears.get("/octocat").await.is(200);
            states_its_age(&other).await;
        }
    }));
    let clearing = async {
        for count in 1..=CLEARINGS {
            github.add_user("octocat", count, 0);
            clears.request("DELETE", "/cache").send().await.is(200);
            for _ in 0..20 {
                assert_eq!(clears.get("/octocat").await.is(200).ids().len(), count);
            }
            until("the other host has it", async || {
                (states_its_age(&other).await.ids().len() == count).then_some(())
            })
            .await;
        }
        over.store(true, Relaxed);
    };
    tokio::join!(asking, clearing);
    let hits =
        clears.samples().await.sum("wasi_http_host_response_cache_requests_total", &[("outcome", "hit")]);
    assert!(hits > 0.0, "the cache was never asked");
}

/// Asks a host. What its cache answers is no older than the page's lifetime.
async fn states_its_age(host: &Host) -> Response {
    let reply = host.get("/octocat").await.is(200);
    if is_from_host(&reply) {
        let lifetime = reply.header("cdn-cache-control").unwrap().strip_prefix("max-age=").unwrap();
        let age: u64 = reply.header("age").unwrap().parse().unwrap();
        assert!(age < lifetime.parse().unwrap(), "{:?}", reply.headers);
    }
    reply
}
