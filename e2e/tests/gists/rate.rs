//! The rate-limit gate: at a rate limit, no request goes to GitHub for a while. A refused token is not used for a while.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::fake::ScriptedResponse;
use e2e::{Instances, Service};
use testkit::{LogLine, http::Response, until};

use super::expect::Expect as _;

suite!(
    every_kind_of_rate_limit_closes_the_gate,
    retry_after_says_when_the_gate_opens,
    a_closed_gate_answers_what_is_stored,
    the_last_allowed_request_closes_the_gate,
    names_that_do_not_exist_leave_a_reserve,
    other_refusals_close_no_gate,
    a_refused_token_is_left_alone,
    without_a_token_a_401_is_only_an_error,
);

const LIMITED: &str = "GitHub API rate limit exceeded. Please try again later.";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn retry_after(reply: &Response) -> u64 {
    reply
        .header("retry-after")
        .unwrap_or_else(|| panic!("no Retry-After: {:?}", reply.headers))
        .parse()
        .unwrap()
}

async fn every_kind_of_rate_limit_closes_the_gate(instances: Instances) {
    let plain = |status| ScriptedResponse::status(status);
    let kinds: Vec<(&str, ScriptedResponse, std::ops::RangeInclusive<u64>)> = vec![
        ("primary", ScriptedResponse::rate_limited(now() + 900), 801..=901),
        (
            "primary-429",
            ScriptedResponse { status: Some(429), ..ScriptedResponse::rate_limited(now() + 900) },
            801..=901,
        ),
        (
            "secondary with retry-after",
            ScriptedResponse::secondary_limit().header("retry-after", "120"),
            100..=120,
        ),
        ("secondary by its message alone", ScriptedResponse::secondary_limit(), 30..=60),
        (
            "secondary, the primary reset is an hour away",
            ScriptedResponse::secondary_limit().header("x-ratelimit-reset", &(now() + 3_500).to_string()),
            30..=60,
        ),
        (
            "secondary, the primary reset is near",
            ScriptedResponse::secondary_limit().header("x-ratelimit-reset", &(now() + 3).to_string()),
            30..=60,
        ),
        ("bare 429", plain(429).body(""), 30..=60),
        ("remaining: 0 alone", plain(403).header("x-ratelimit-remaining", "0"), 30..=60),
        ("a reset far away", ScriptedResponse::rate_limited(now() + 1_000_000), 3_500..=3_600),
        ("a reset in the past", ScriptedResponse::rate_limited(now() - 1_000), 0..=60),
        ("an unreadable retry-after", plain(429).header("retry-after", "soon"), 0..=3_600),
        ("a retry-after beyond reason", plain(429).header("retry-after", "99999999999999999999"), 0..=3_600),
    ];
    for (kind, answer, wait) in kinds {
        let service = Service::start(instances).await;
        service.github.always("octocat", answer);
        let refused = service.host.get("/octocat").await;
        refused.is_error(429, LIMITED);
        assert!(wait.contains(&retry_after(&refused)), "{kind}: {}", retry_after(&refused));
        if kind == "a reset in the past" {
            continue;
        }
        for path in ["/quiet", "/octocat", "/quiet?use_cache=false", "/users/hubot/gists"] {
            let other = service.host.get(path).await;
            other.is_error(429, LIMITED);
            assert!(wait.contains(&retry_after(&other)), "{kind} {path}: {}", retry_after(&other));
        }
        let other = service.host.get("/hubot").await;
        assert_eq!(other.cache_status(), "fwd=uri-miss; detail=rate-limited", "{kind}");
        assert_eq!(service.github.journal().total(), 1, "{kind}: GitHub was asked while the gate was closed");
        // Requests that do not need GitHub are served.
        service.host.get("/health").await.is(200);
        service.host.get("/not%20a%20name").await.is(404);
    }
}

async fn retry_after_says_when_the_gate_opens(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.next("octocat", [ScriptedResponse::status(429).header("retry-after", "2")]);
    let refused = service.host.get("/octocat").await.is(429);
    assert!((1..=2).contains(&retry_after(&refused)), "{}", retry_after(&refused));
    let reply = until("the gate opens", async || {
        let reply = service.host.get("/quiet").await;
        if reply.status == 429 {
            assert!(retry_after(&reply) <= 2);
            return None;
        }
        Some(reply)
    })
    .await;
    reply.is(200);
    service.host.get("/octocat").await.is(200);
    assert_eq!(service.github.journal().total(), 3);
}

async fn a_closed_gate_answers_what_is_stored(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("cache_ttl", "1")).await;
    let stored = service.host.get("/octocat").await.is(200);
    service.github.always("limit", ScriptedResponse::rate_limited(now() + 900));
    service.host.get("/limit").await.is(429);
    let asked = service.github.journal().total();
    let stale = until("the entry is stale", async || {
        let reply = service.host.get("/octocat").await.is(200);
        assert!(reply.hit());
        reply.cache_status().contains("ttl=-").then_some(reply)
    })
    .await;
    assert_eq!(stale.ids(), stored.ids());
    tokio::time::sleep(Duration::from_millis(200)).await;
    service.host.get("/octocat").await.is(200);
    service.host.get("/octocat?use_cache=false").await.is_error(429, LIMITED);
    assert_eq!(
        service.github.journal().total(),
        asked,
        "a stale entry was refreshed while the gate was closed"
    );
}

async fn the_last_allowed_request_closes_the_gate(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.set_rate_limit(1);
    service.host.get("/octocat").await.is(200);
    let refused = service.host.get("/hubot").await;
    refused.is_error(429, LIMITED);
    assert!((3_500..=3_600).contains(&retry_after(&refused)), "{}", retry_after(&refused));
    assert!(service.host.get("/octocat").await.is(200).hit());
    assert_eq!(service.github.journal().total(), 1, "GitHub was asked without a quota");
}

async fn names_that_do_not_exist_leave_a_reserve(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("cache_ttl", "1")).await;
    service.github.set_rate_limit(60);
    service.host.get("/octocat").await.is(200);
    let mut statuses = Vec::new();
    for name in 0..60 {
        statuses.push(service.host.get(&format!("/nobody-{name}")).await.status);
    }
    let found = statuses.iter().filter(|status| **status == 404).count();
    assert_eq!(found, 53, "a tenth of 60 requests is kept: {statuses:?}");
    assert!(statuses[found..].iter().all(|status| *status == 429), "{statuses:?}");
    until("the stored page is revalidated with the reserve", async || {
        let reply = service.host.get("/octocat").await.is(200);
        let calls = service.github.journal().calls_for("octocat");
        assert!(!reply.cache_status().contains("rate-limited"), "{}", reply.cache_status());
        (calls.len() >= 2).then(|| assert!(calls[1].header("if-none-match").is_some()))
    })
    .await;
    until("the refused requests are counted", async || {
        let samples = service.component_metrics().await;
        (samples.sum("github_rate_limit_reserved_total", &[]) == 7.0).then_some(())
    })
    .await;
}

async fn other_refusals_close_no_gate(instances: Instances) {
    let service = Service::start(instances).await;
    for (name, answer) in [
        (
            "blocked",
            ScriptedResponse::status(403)
                .body(r#"{"message":"Repository access blocked"}"#)
                .header("x-ratelimit-remaining", "59"),
        ),
        ("broken", ScriptedResponse::status(503)),
        ("spent", ScriptedResponse::json("[]").header("x-ratelimit-remaining", "0")),
    ] {
        service.github.always(name, answer);
        let status = service.host.get(&format!("/{name}")).await.status;
        assert!(matches!(status, 502 | 200), "{name}: {status}");
    }
    service.host.get("/octocat").await.is(200);
}

async fn a_refused_token_is_left_alone(instances: Instances) {
    let service = Service::with(instances, |options| {
        options.setting("github_token", "ghp_refused").setting("cache_ttl", "1")
    })
    .await;
    let stored = service.host.get("/octocat").await.is(200);
    service.github.always("refused", ScriptedResponse::status(401).body(r#"{"message":"Bad credentials"}"#));
    service.host.get("/refused").await.is_error(502, "GitHub error: 401");
    let asked = service.github.journal().total();
    for path in ["/quiet", "/refused", "/quiet?use_cache=false"] {
        service.host.get(path).await.is(502);
    }
    let stale = until("the entry is stale", async || {
        let reply = service.host.get("/octocat").await.is(200);
        reply.cache_status().contains("ttl=-").then_some(reply)
    })
    .await;
    assert_eq!(stale.ids(), stored.ids());
    assert_eq!(service.github.journal().total(), asked, "GitHub was asked with a refused token");
    let tells = |line: &LogLine| line.text.contains("401") || line.text.to_lowercase().contains("token");
    service.host.wait_for_line(tells).await;
    assert!(!service.host.log().contains("ghp_refused"));
}

async fn without_a_token_a_401_is_only_an_error(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.always("refused", ScriptedResponse::status(401));
    service.host.get("/refused").await.is_error(502, "GitHub error: 401");
    service.host.get("/quiet").await.is(200);
}
