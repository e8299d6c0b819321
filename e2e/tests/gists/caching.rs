//! Caching: hits, misses, validators, and the headers for other caches.

use e2e::{Instances, Service};
use testkit::http::Response;

use super::expect::Expect as _;

suite!(
    a_miss_then_hits,
    the_headers_of_a_list,
    a_matching_tag_saves_the_body,
    each_page_and_size_is_an_entry,
    a_bypass_asks_and_stores,
    the_clients_cache_control_is_ignored,
    another_origin_policy_is_a_setting,
);

async fn a_miss_then_hits(instances: Instances) {
    let service = Service::start(instances).await;
    let miss = service.host.get("/octocat").await.is(200);
    assert!(!miss.hit());
    assert_eq!(miss.cache_status(), "fwd=uri-miss; stored");
    for _ in 0..5 {
        let hit = service.host.get("/octocat").await.is(200);
        assert!(hit.hit());
        let left: i64 = hit.cache_status().strip_prefix("hit; ttl=").unwrap().parse().unwrap();
        assert!((200..=330).contains(&left), "{left}");
        assert_eq!(hit.json()["data"], miss.json()["data"]);
        assert_eq!(hit.json()["pagination"], miss.json()["pagination"]);
    }
    assert_eq!(service.github.journal().total(), 1);
}

/// The seconds of a `Cache-Control` directive.
fn seconds(reply: &Response, directive: &str) -> u64 {
    let caching = reply.header("cache-control").unwrap();
    let value = caching.split(", ").find_map(|part| part.strip_prefix(directive)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{directive} in {caching}")).parse().unwrap()
}

async fn the_headers_of_a_list(instances: Instances) {
    let service = Service::start(instances).await;
    let mut lifetimes = Vec::new();
    for round in 0..3 {
        let reply = service.host.get("/octocat").await.is(200);
        let lifetime = seconds(&reply, "max-age");
        assert!((270..=330).contains(&lifetime), "300 s ± 10 %: {lifetime}");
        lifetimes.push(lifetime);
        let caching = format!("public, max-age={lifetime}, stale-while-revalidate=60, stale-if-error=86400");
        assert_eq!(reply.header("cache-control"), Some(caching.as_str()));
        let shared = if round == 0 { "no-store".to_owned() } else { format!("max-age={lifetime}") };
        assert_eq!(reply.header("cdn-cache-control"), Some(shared.as_str()), "round {round}");
        assert_eq!(reply.header("cache-groups"), Some("\"gists\""));
        let age: u64 = reply.header("age").unwrap().parse().unwrap();
        assert!(age < 60, "round {round}: {age}");
        assert_eq!(reply.header("vary"), Some("Accept"));
        assert!(
            reply
                .header("etag")
                .is_some_and(|tag| tag.starts_with("W/\"") && tag.ends_with('"') && tag.len() > 8)
        );
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
    assert!(
        lifetimes.windows(2).all(|pair| pair[0] == pair[1]),
        "the lifetime of an entry changes: {lifetimes:?}"
    );
    for path in ["/octocat?use_cache=false", "/octocat?page=0", "/a/b"] {
        let reply = service.host.get(path).await;
        assert_eq!(
            reply.header("cache-control").map(|caching| caching.contains("no-store")),
            Some(true),
            "{path}"
        );
    }
    // Entries do not all expire at the same time.
    let mut spread = Vec::new();
    for page in 1..=30 {
        spread
            .push(seconds(&service.host.get(&format!("/octocat?per_page={page}")).await.is(200), "max-age"));
    }
    spread.sort_unstable();
    spread.dedup();
    assert!(spread.len() > 3 && spread.iter().all(|lifetime| (270..=330).contains(lifetime)), "{spread:?}");
}

async fn a_matching_tag_saves_the_body(instances: Instances) {
    let service = Service::start(instances).await;
    let first = service.host.get("/octocat").await.is(200);
    let tag = first.header("etag").unwrap().to_owned();
    let strong = tag.trim_start_matches("W/").to_owned();
    for validator in
        [tag.clone(), strong, format!("\"x\", {tag} , \"y\""), "*".to_owned(), format!("W/\"a,b\",{tag}")]
    {
        for method in ["GET", "HEAD"] {
            let reply = service
                .host
                .request(method, "/octocat")
                .header("if-none-match", &validator)
                .send()
                .await
                .is(304);
            assert!(reply.body.is_empty());
            assert_eq!(reply.header("etag"), Some(tag.as_str()), "{validator}");
            assert!(
                reply.header("cache-control").is_some()
                    && reply.header("vary").is_some()
                    && reply.header("cache-status").is_some()
            );
        }
    }
    for validator in ["\"x\"", "W/\"\"", "", "nonsense", &tag[..tag.len() - 2]] {
        service.host.request("GET", "/octocat").header("if-none-match", validator).send().await.is(200);
    }
    // The same holds for a miss: the tag depends on the content, which is the same.
    service.host.request("DELETE", "/cache").send().await.is(200);
    service.host.request("GET", "/octocat").header("if-none-match", &tag).send().await.is(304);
    assert_eq!(service.github.journal().total(), 2);
    assert_ne!(service.host.get("/octocat?per_page=1").await.header("etag"), Some(tag.as_str()));
    // Errors have no tag, so no validator matches.
    service.host.request("GET", "/nobody").header("if-none-match", "*").send().await.is(404);
    service.host.request("GET", "/octocat?page=0").header("if-none-match", "*").send().await.is(422);
}

async fn each_page_and_size_is_an_entry(instances: Instances) {
    let service = Service::start(instances).await;
    for path in ["/octocat", "/octocat?page=2", "/octocat?per_page=3", "/octocat?page=2&per_page=3"] {
        assert!(!service.host.get(path).await.is(200).hit(), "{path}");
        assert!(service.host.get(path).await.is(200).hit(), "{path}");
    }
    for same in [
        "/octocat?page=1&per_page=30",
        "/octocat?per_page=030&page=+1&use_cache=yes&x",
        "/octocat?page=9&page=1",
    ] {
        assert!(service.host.get(same).await.is(200).hit(), "{same}");
    }
    assert_eq!(service.github.journal().total(), 4);
}

async fn a_bypass_asks_and_stores(instances: Instances) {
    let service = Service::start(instances).await;
    service.host.get("/octocat").await.is(200);
    service.github.add_user("octocat", 5, 0);
    assert_eq!(service.host.get("/octocat").await.ids().len(), 8, "the cached list");
    let bypass = service.host.get("/octocat?use_cache=false").await.is(200);
    assert!(!bypass.hit());
    assert_eq!(bypass.cache_status(), "fwd=bypass; stored");
    assert_eq!(bypass.ids().len(), 5);
    assert_eq!(bypass.header("cache-control").map(|caching| caching.contains("no-store")), Some(true));
    let after = service.host.get("/octocat").await.is(200);
    assert!(after.hit());
    assert_eq!(after.ids().len(), 5, "the bypass did not store the new list");
    // Nothing has changed since: GitHub confirms the list, which costs no quota with a token.
    let confirmed = service.host.get("/octocat?use_cache=false").await.is(200);
    assert_eq!((confirmed.hit(), confirmed.cache_status()), (false, "fwd=bypass; fwd-status=304; stored"));
    assert_eq!(confirmed.ids(), after.ids());
    assert_eq!(service.github.journal().total(), 3);
    // The same without a cached entry.
    assert!(!service.host.get("/quiet?use_cache=0").await.is(200).hit());
    assert!(service.host.get("/quiet").await.is(200).hit());
}

async fn the_clients_cache_control_is_ignored(instances: Instances) {
    let service = Service::start(instances).await;
    service.host.get("/octocat").await.is(200);
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
        ("cache-control", "max-age=0"),
    ] {
        assert!(
            service.host.request("GET", "/octocat").header(name, value).send().await.is(200).hit(),
            "{name}: {value}"
        );
    }
    assert_eq!(service.github.journal().total(), 1);
}

async fn another_origin_policy_is_a_setting(instances: Instances) {
    let one =
        Service::with(instances, |options| options.setting("cors_allow_origin", "https://app.example")).await;
    for path in ["/octocat", "/nobody", "/health"] {
        assert_eq!(
            one.host.get(path).await.header("access-control-allow-origin"),
            Some("https://app.example"),
            "{path}"
        );
    }
    let none = Service::with(instances, |options| options.setting("cors_allow_origin", "")).await;
    for path in ["/octocat", "/nobody", "/health"] {
        // An empty value turns the header off.
        assert_eq!(none.host.get(path).await.header("access-control-allow-origin"), None, "{path}");
    }
}
