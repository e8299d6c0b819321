//! Requests to GitHub, redirects, and GitHub's misbehaviour.

use std::time::{Duration, Instant};

use e2e::fake::{Delivery, ScriptedResponse};
use e2e::{Instances, Service, TIMEOUT, fake};
use futures::future::join_all;

use super::expect::Expect as _;

suite!(
    the_request_is_what_github_wants,
    enterprise_paths_and_versions_are_settings,
    redirects_stay_with_the_same_server,
    lies_and_floods_are_errors_in_good_time,
    whatever_breaks_belongs_to_its_own_request,
    calls_at_once_are_bounded,
);

async fn the_request_is_what_github_wants(instances: Instances) {
    let service = Service::start(instances).await;
    let ask = service
        .host
        .request("GET", "/octocat?page=3&per_page=7&x=1")
        .header("cookie", "a=b")
        .header("authorization", "Bearer client");
    ask.header("accept", "text/html").header("accept-language", "de").send().await.is(200);
    let calls = service.github.journal().calls();
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!(
        (call.method.as_str(), call.path.as_str(), call.query.as_str()),
        ("GET", "/users/octocat/gists", "page=3&per_page=7")
    );
    assert_eq!(call.header("accept"), Some("application/vnd.github+json"));
    assert_eq!(call.header("x-github-api-version"), Some("2022-11-28"));
    assert!(call.header("user-agent").is_some_and(|agent| !agent.is_empty()));
    assert_eq!(call.header("host"), Some(service.github.address().to_string().as_str()));
    for absent in ["authorization", "cookie", "if-none-match", "accept-language", "x-forwarded-for"] {
        assert_eq!(call.header(absent), None, "a header of the client was passed on");
    }
}

async fn enterprise_paths_and_versions_are_settings(instances: Instances) {
    let service = Service::with(instances, |options| {
        options.setting("github_api_path", "/api/v3").setting("github_api_version", "2026-01-01")
    })
    .await;
    service.host.get("/octocat").await.is(200);
    let call = &service.github.journal().calls()[0];
    assert_eq!(call.path, "/api/v3/users/octocat/gists");
    assert_eq!(call.header("x-github-api-version"), Some("2026-01-01"));
}

async fn redirects_stay_with_the_same_server(instances: Instances) {
    let service =
        Service::with(instances, |options| options.setting("github_token", "ghp_example_token")).await;
    let elsewhere = fake().await;
    let here = service.github.url();
    for (index, status) in [301, 302, 307, 308].into_iter().enumerate() {
        let name = format!("moved-{index}");
        service.github.always(
            &name,
            ScriptedResponse::redirect(status, &format!("{here}/users/octocat/gists?page=1&per_page=30")),
        );
        assert_eq!(service.host.get(&format!("/{name}")).await.is(200).ids().len(), 8, "{status}");
    }
    service.github.always("relative", ScriptedResponse::redirect(301, "/users/octocat/gists"));
    service.host.get("/relative").await.is(200);
    service.github.always("twice", ScriptedResponse::redirect(301, &format!("{here}/users/relative/gists")));
    service.host.get("/twice").await.is(200);

    service.github.always("thrice", ScriptedResponse::redirect(301, &format!("{here}/users/twice/gists")));
    service.github.always("loop", ScriptedResponse::redirect(302, &format!("{here}/users/loop/gists")));
    let port = service.github.address().port();
    for (name, location) in [
        ("elsewhere", format!("{}/users/octocat/gists", elsewhere.url())),
        ("scheme", format!("https://127.0.0.1:{port}/users/octocat/gists")),
        ("hostname", format!("http://localhost:{port}/users/octocat/gists")),
        ("userinfo", format!("http://127.0.0.1:{port}@{}/users/octocat/gists", elsewhere.address())),
        ("protocol-relative", format!("//{}/users/octocat/gists", elsewhere.address())),
        ("backslash", format!("/\\{}/users/octocat/gists", elsewhere.address())),
        ("nowhere", "http://".to_owned()),
        ("no-location", String::new()),
        ("nonsense", "::::".to_owned()),
    ] {
        service.github.always(name, ScriptedResponse::redirect(302, &location));
        let reply = service.host.get(&format!("/{name}")).await;
        // Two locations can also be read as paths of the same server, which has no such path.
        let relative = matches!(name, "backslash" | "nonsense") && reply.status == 404;
        assert!(reply.status == 502 || relative, "{name}: {} {}", reply.status, reply.text());
    }
    for name in ["thrice", "loop"] {
        service.host.get(&format!("/{name}")).await.is(502);
    }
    assert!(service.github.journal().calls_for("loop").len() <= 3, "at most two redirects");
    assert_eq!(elsewhere.journal().total(), 0, "another server was asked");
}

/// A valid list, to be combined with a broken delivery.
fn list() -> ScriptedResponse {
    ScriptedResponse::json(format!("[{}]", " ".repeat(1_000)))
}

/// For each case: a broken response, and the details that the error may have.
fn broken() -> Vec<(&'static str, ScriptedResponse, &'static [&'static str])> {
    const INVALID: &[&str] = &["GitHub sent an invalid response"];
    const EITHER: &[&str] = &["GitHub sent an invalid response", "GitHub is unreachable"];
    const LATE: &[&str] = &["GitHub API timeout"];
    const LATE_OR_BIG: &[&str] = &["GitHub API timeout", "GitHub sent an invalid response"];
    vec![
        ("claims-more", ScriptedResponse::json("[]").deliver(Delivery::Claim(5_000)), EITHER),
        ("claims-less", ScriptedResponse::json("[1,2,3,4,5,6]").deliver(Delivery::Claim(4)), EITHER),
        ("cut", list().deliver(Delivery::Cut(100)), EITHER),
        ("reset-midway", list().deliver(Delivery::Reset(100)), EITHER),
        ("reset-early", list().deliver(Delivery::Reset(0)), EITHER),
        ("close", ScriptedResponse::genuine().deliver(Delivery::Close), EITHER),
        ("garbage", ScriptedResponse::genuine().deliver(Delivery::Raw("\u{1}\u{2}not http at all\r\n\r\n".into())), EITHER),
        ("half-head", ScriptedResponse::genuine().deliver(Delivery::Raw("HTTP/1.1 200 OK\r\ncontent-le".into())), EITHER),
        ("bad-chunk", ScriptedResponse::genuine().deliver(Delivery::Raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".into())), EITHER),
        ("two-lengths", ScriptedResponse::genuine().deliver(Delivery::Raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n[]".into())), EITHER),
        ("many-headers", ScriptedResponse::genuine().deliver(Delivery::Raw(format!("HTTP/1.1 200 OK\r\n{}\r\n[]", "x: y\r\n".repeat(5_000)))), EITHER),
        ("wide-header", ScriptedResponse::genuine().deliver(Delivery::Raw(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n[]", "y".repeat(2_000_000)))), EITHER),
        ("hundred-megabytes", ScriptedResponse::status(200).deliver(Delivery::Filler(100_000_000)), LATE_OR_BIG),
        ("seventeen-mebibytes", ScriptedResponse::status(200).deliver(Delivery::Filler(17 << 20)), LATE_OR_BIG),
        ("endless", ScriptedResponse::status(200).deliver(Delivery::Endless), LATE_OR_BIG),
        ("not-json", ScriptedResponse::json("<html>Unicorn!</html>"), INVALID),
        ("html", ScriptedResponse::json("[]").header("content-type", "text/html"), INVALID),
        ("no-type", ScriptedResponse::json("[]").header("content-type", ""), INVALID),
        ("not-utf8", ScriptedResponse::json("[\"\u{FFFD}").deliver(Delivery::Chunked), INVALID),
        ("silence", ScriptedResponse::genuine().deliver(Delivery::Silence), LATE),
        ("slow-drip", list().deliver(Delivery::Drip { bytes: 1, every_ms: 200 }), LATE),
    ]
}

async fn lies_and_floods_are_errors_in_good_time(instances: Instances) {
    let mut service = Service::with(instances, |options| options.setting("upstream_timeout", "2")).await;
    for (name, answer, _) in broken() {
        service.github.always(name, answer);
    }
    for (name, _, details) in broken() {
        let begun = Instant::now();
        let reply = service.host.get(&format!("/{name}")).await;
        assert!(begun.elapsed() < TIMEOUT);
        let detail = if reply.status == 200 { "a list".to_owned() } else { reply.detail() };
        let status = if detail == "GitHub API timeout" { 504 } else { 502 };
        assert!(
            reply.status == status && details.contains(&detail.as_str()),
            "{name}: {} {detail}",
            reply.status
        );
    }
    assert!(service.host.is_running());
    service.host.get("/octocat").await.is(200);
    assert!(!service.host.log().contains("wasm trap"), "{}", service.host.log().tail());
}

/// Requests for broken and valid users at once. Each response must be of its own user.
async fn whatever_breaks_belongs_to_its_own_request(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("upstream_timeout", "2")).await;
    let broken = broken();
    for (name, answer, _) in &broken {
        service.github.always(name, answer.clone());
    }
    for index in 0..40 {
        service.github.add_user(&format!("sound-{index}"), 3 + index % 9, 2);
    }
    let ask = async |index: usize| {
        if index.is_multiple_of(4) {
            let name = broken[index / 4 % broken.len()].0;
            let reply = service.host.get(&format!("/{name}?page={}", 1 + index % 3)).await;
            assert!(matches!(reply.status, 502 | 504), "{name}: {}", reply.status);
            return;
        }
        let name = format!("sound-{}", index % 40);
        let reply = service.host.get(&format!("/{name}?page={}&per_page=4", 1 + index % 2)).await.is(200);
        let text = reply.text();
        let (own, all) = (text.matches(&format!("/{name}/")).count(), text.matches("/sound-").count());
        assert_eq!(own, all, "another user's bytes in the answer for {name}: {text}");
        assert_eq!(reply.json()["pagination"]["count"], reply.ids().len());
    };
    // Twenty clients of fifteen requests each.
    let lanes: Vec<_> = (0..20)
        .map(|lane| async move {
            for step in 0..15 {
                ask(lane * 15 + step).await;
            }
        })
        .collect();
    join_all(lanes).await;
    assert!(!service.host.log().contains("wasm trap"), "{}", service.host.log().tail());
}

async fn calls_at_once_are_bounded(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("upstream_concurrency", "3")).await;
    let names: Vec<_> = (0..12).map(|index| format!("crowd-{index}")).collect();
    for name in &names {
        service.github.add_user(name, 1, 0);
        service.github.always(name, ScriptedResponse::genuine().after(Duration::from_millis(50)));
    }
    let host = &service.host;
    join_all(names.iter().map(|name| async move {
        host.get(&format!("/{name}")).await.is(200);
    }))
    .await;
    // With a fresh instance for each request, the component keeps the count in the store.
    assert!(service.github.journal().peak() <= 3, "{} at once", service.github.journal().peak());
}
