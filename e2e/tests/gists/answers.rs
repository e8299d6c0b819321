//! The table of GitHub's responses, with and without a cached entry.

use e2e::fake::{Delivery, ScriptedResponse};
use e2e::{Instances, Service};
use testkit::{ports::Refusing, until};

use super::expect::Expect as _;

suite!(
    without_a_stored_entry,
    with_a_stored_entry,
    not_modified_without_an_entry_is_asked_again_once,
    no_such_user_is_remembered_for_all_pages,
    an_unreachable_server_is_said_to_be,
    a_failure_is_shared_for_a_second_and_no_longer,
);

/// For each case: GitHub's response, the service's response without a cached entry, and whether a cached entry is kept.
/// `rate.rs` tests rate limits.
fn table() -> Vec<(&'static str, ScriptedResponse, u16, String, bool)> {
    let mut table = vec![
        ("unauthorised", ScriptedResponse::status(401), 502, "GitHub error: 401".to_owned(), true),
        (
            "forbidden",
            ScriptedResponse::status(403).body(r#"{"message":"Resource not accessible"}"#),
            502,
            "GitHub error: 403".to_owned(),
            true,
        ),
        ("retired-version", ScriptedResponse::status(410), 502, "GitHub error: 410".to_owned(), true),
        ("legal", ScriptedResponse::status(451), 502, "GitHub error: 451".to_owned(), false),
        ("unprocessable", ScriptedResponse::status(422), 422, "GitHub error: 422".to_owned(), true),
        (
            "silent",
            ScriptedResponse::genuine().deliver(Delivery::Silence),
            504,
            "GitHub API timeout".to_owned(),
            true,
        ),
        (
            "late",
            ScriptedResponse::json("[          ]").deliver(Delivery::Drip { bytes: 1, every_ms: 500 }),
            504,
            "GitHub API timeout".to_owned(),
            true,
        ),
        ("bad-json", ScriptedResponse::json("[{]"), 502, "GitHub sent an invalid response".to_owned(), true),
        (
            "bad-type",
            ScriptedResponse::json("[]").header("content-type", "text/html"),
            502,
            "GitHub sent an invalid response".to_owned(),
            true,
        ),
    ];
    for (name, status) in [
        ("internal", 500),
        ("bad-gateway", 502),
        ("unavailable", 503),
        ("gateway-timeout", 504),
        ("odd-5xx", 599),
        ("bad-request", 400),
        ("conflict", 409),
        ("teapot", 418),
        ("created", 201),
        ("no-content", 204),
        ("choices", 300),
    ] {
        table.push((name, ScriptedResponse::status(status), 502, format!("GitHub error: {status}"), true));
    }
    table
}

async fn without_a_stored_entry(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("upstream_timeout", "1")).await;
    for (name, answer, status, detail, _) in table() {
        service.github.always(name, answer);
        let reply = service.host.get(&format!("/{name}")).await;
        reply.is_error(status, &detail);
        assert!(reply.header("etag").is_none());
    }
}

async fn with_a_stored_entry(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("upstream_timeout", "1")).await;
    for (name, answer, status, detail, survives) in table() {
        service.github.add_user(name, 2, 0);
        let stored = service.host.get(&format!("/{name}")).await.is(200);
        service.github.always(name, answer);
        // A bypass of the cache never returns a stale entry, and so shows GitHub's response.
        service.host.get(&format!("/{name}?use_cache=false")).await.is_error(status, &detail);
        let after = service.host.get(&format!("/{name}")).await;
        if survives {
            assert!(after.clone().is(200).hit(), "{name}");
            assert_eq!(after.ids(), stored.ids());
        } else {
            after.is_error(status, &detail);
            service.github.restore(name);
            until("a dropped entry is fetched anew", async || {
                let reply = service.host.get(&format!("/{name}")).await;
                (reply.status == 200).then(|| assert!(!reply.hit(), "{name}: the entry was not dropped"))
            })
            .await;
        }
    }
}

async fn not_modified_without_an_entry_is_asked_again_once(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.next("octocat", [ScriptedResponse::status(304)]);
    let reply = service.host.get("/octocat").await.is(200);
    assert_eq!(reply.ids().len(), 8);
    assert_eq!(service.github.journal().calls_for("octocat").len(), 2);
    assert!(service.github.journal().calls().iter().all(|call| call.header("if-none-match").is_none()));

    service.github.always("stubborn", ScriptedResponse::status(304));
    service.host.get("/stubborn").await.is(502);
    assert_eq!(service.github.journal().calls_for("stubborn").len(), 2, "GitHub is asked twice");
}

async fn no_such_user_is_remembered_for_all_pages(instances: Instances) {
    let service = Service::start(instances).await;
    let first = service.host.get("/nobody").await;
    first.is_error(404, "User 'nobody' not found");
    let caching = first.header("cache-control").unwrap();
    let age: u64 = caching.split("max-age=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!((1..=60).contains(&age), "{caching}");
    for path in ["/nobody", "/nobody?page=2", "/Nobody?per_page=5", "/users/nobody/gists"] {
        let reply = service.host.get(path).await.is(404);
        assert_eq!(reply.cache_status().split(';').next(), Some("hit"), "{path}: {}", reply.cache_status());
    }
    assert_eq!(service.github.journal().total(), 1);
    // A new user is found by the first request that bypasses the cache.
    service.github.add_user("nobody", 3, 0);
    service.host.get("/nobody?use_cache=false").await.is(200);
    assert_eq!(service.host.get("/nobody").await.is(200).ids().len(), 3);
    // A deleted user is 404 on each page, also on a cached one.
    service.host.get("/octocat?per_page=2").await.is(200);
    service.github.always("octocat", ScriptedResponse::status(404));
    service.host.get("/octocat?use_cache=false").await.is_error(404, "User 'octocat' not found");
    service.host.get("/octocat").await.is_error(404, "User 'octocat' not found");
    service.host.get("/octocat?per_page=2").await.is_error(404, "User 'octocat' not found");
    assert_eq!(service.github.journal().calls_for("octocat").len(), 2, "GitHub was asked for the other page");
}

async fn an_unreachable_server_is_said_to_be(instances: Instances) {
    let refusing = Refusing::bind();
    let url = format!("http://{}", refusing.address());
    let service = Service::with(instances, |options| options.setting("github_api_url", &url)).await;
    service.host.get("/octocat").await.is_error(502, "GitHub is unreachable");
    service.host.get("/health").await.is(200);
    service.host.get("/ready").await.is(200);
}

async fn a_failure_is_shared_for_a_second_and_no_longer(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.next("octocat", [ScriptedResponse::status(500)]);
    service.host.get("/octocat").await.is_error(502, "GitHub error: 500");
    let reply = until("a cached failure expires", async || {
        let reply = service.host.get("/octocat").await;
        if reply.status == 502 {
            reply.is_error(502, "GitHub error: 500");
            return None;
        }
        Some(reply)
    })
    .await;
    assert!(!reply.is(200).hit());
    assert_eq!(service.github.journal().total(), 2, "GitHub was asked more than twice");
}
