//! Stale entries: returned at once, and refreshed in the background (RFC 5861).

use e2e::fake::{Delivery, ScriptedResponse};
use e2e::{Instances, Service};
use testkit::{http::Response, until};

use super::expect::Expect as _;

suite!(
    a_stale_entry_is_answered_and_refreshed_behind,
    an_unchanged_list_is_revalidated_without_a_body,
    one_request_refreshes_for_all,
    a_failing_github_leaves_the_stale_entry,
    a_user_who_is_gone_goes,
    a_validator_goes_only_with_its_credential,
);

async fn short_lived(instances: Instances) -> Service {
    Service::with(instances, |options| options.setting("cache_ttl", "1").setting("upstream_timeout", "1"))
        .await
}

/// Waits for the first stale hit; each response before it must be a fresh hit.
async fn stale(service: &Service, path: &str) -> Response {
    until("the entry is stale", async || {
        let reply = service.host.get(path).await.is(200);
        assert!(reply.hit(), "{}", reply.cache_status());
        reply.cache_status().contains("ttl=-").then_some(reply)
    })
    .await
}

async fn a_stale_entry_is_answered_and_refreshed_behind(instances: Instances) {
    let service = short_lived(instances).await;
    service.host.get("/octocat").await.is(200);
    service.github.add_user("octocat", 5, 0);
    let reply = stale(&service, "/octocat").await;
    assert!(reply.cache_status().ends_with("detail=revalidating"), "{}", reply.cache_status());
    assert_eq!(reply.ids().len(), 8, "the stale list, at once");
    until("the refresh in the background", async || {
        (service.host.get("/octocat").await.is(200).ids().len() == 5).then_some(())
    })
    .await;
}

async fn an_unchanged_list_is_revalidated_without_a_body(instances: Instances) {
    let service = short_lived(instances).await;
    let first = service.host.get("/octocat").await.is(200);
    let reply = stale(&service, "/octocat").await;
    assert_eq!(reply.header("etag"), first.header("etag"));
    until("fresh again", async || {
        let reply = service.host.get("/octocat").await.is(200);
        assert_eq!(reply.json()["data"], first.json()["data"]);
        (!reply.cache_status().contains("ttl=-")).then_some(())
    })
    .await;
    let calls = service.github.journal().calls_for("octocat");
    assert!(calls.len() >= 2 && calls[0].header("if-none-match").is_none());
    for call in &calls[1..] {
        assert!(call.header("if-none-match").is_some_and(|tag| tag.starts_with("W/\"")), "{call:?}");
    }
}

async fn one_request_refreshes_for_all(instances: Instances) {
    let service = short_lived(instances).await;
    service.host.get("/octocat").await.is(200);
    let hold = service.github.hold("octocat");
    stale(&service, "/octocat").await;
    until("the refresh has begun", async || (service.github.journal().open() == 1).then_some(())).await;
    for _ in 0..30 {
        assert!(service.host.get("/octocat").await.is(200).hit());
    }
    assert_eq!(service.github.journal().peak_for("octocat"), 1);
    assert_eq!(service.github.journal().open(), 1);
    hold.release();
    until("fresh again", async || {
        (!service.host.get("/octocat").await.is(200).cache_status().contains("ttl=-")).then_some(())
    })
    .await;
}

async fn a_failing_github_leaves_the_stale_entry(instances: Instances) {
    let service = short_lived(instances).await;
    let failures = [
        ("down", ScriptedResponse::status(503)),
        ("forbidden", ScriptedResponse::status(403).body("{}")),
        ("refused", ScriptedResponse::status(401)),
        ("teapot", ScriptedResponse::status(418)),
        ("closed", ScriptedResponse::genuine().deliver(Delivery::Close)),
        ("silent", ScriptedResponse::genuine().deliver(Delivery::Silence)),
        ("nonsense", ScriptedResponse::json("{")),
        ("cut", ScriptedResponse::json(" ".repeat(100)).deliver(Delivery::Cut(50))),
    ];
    for (name, _) in &failures {
        service.github.add_user(name, 3, 0);
        service.host.get(&format!("/{name}")).await.is(200);
    }
    for (name, answer) in &failures {
        service.github.always(name, answer.clone());
    }
    for (name, _) in &failures {
        let path = format!("/{name}");
        until("a failed refresh, then another", async || {
            let reply = service.host.get(&path).await.is(200);
            assert!(reply.hit() && reply.ids().len() == 3, "{name}");
            (service.github.journal().calls_for(name).len() >= 3).then_some(())
        })
        .await;
        let reply = service.host.get(&path).await.is(200);
        assert!(reply.hit() && reply.cache_status().contains("ttl=-"), "{name}: {}", reply.cache_status());
        service.github.restore(name);
        until("the entry is fresh again", async || {
            (!service.host.get(&path).await.is(200).cache_status().contains("ttl=-")).then_some(())
        })
        .await;
    }
}

async fn a_user_who_is_gone_goes(instances: Instances) {
    let service = short_lived(instances).await;
    for (name, upstream, status, detail) in
        [("left", 404, 404, "User 'left' not found"), ("banned", 451, 502, "GitHub error: 451")]
    {
        let path = format!("/{name}");
        service.github.add_user(name, 3, 0);
        service.host.get(&path).await.is(200);
        service.github.always(name, ScriptedResponse::status(upstream));
        let reply = until("the entry goes", async || {
            let reply = service.host.get(&path).await;
            (reply.status != 200).then_some(reply)
        })
        .await;
        reply.is_error(status, detail);
    }
}

async fn a_validator_goes_only_with_its_credential(instances: Instances) {
    // A process has one token, so this test covers the case of an unchanged token only.
    let service = Service::with(instances, |options| {
        options.setting("github_token", "ghp_one").setting("cache_ttl", "1")
    })
    .await;
    service.host.get("/octocat").await.is(200);
    stale(&service, "/octocat").await;
    let call =
        until("the refresh", async || service.github.journal().calls_for("octocat").get(1).cloned()).await;
    assert!(call.header("if-none-match").is_some());
    assert_eq!(call.header("authorization"), Some("Bearer ghp_one"));
}
