//! Settings: one that does not parse is an error that names it, and never replaced by the default.

use e2e::{Instances, Service};
use testkit::{paths::scratch, until};

suite!(
    a_bad_setting_is_named_and_unready,
    an_empty_setting_is_unset,
    readiness_tells_where_it_runs,
    a_settings_directory_overrides,
    a_rotated_token_is_used_without_a_restart_and_no_request_is_lost
);

async fn a_bad_setting_is_named_and_unready(instances: Instances) {
    for (name, value) in [
        ("cache_ttl", "five"),
        ("cache_ttl", "-1"),
        ("cache_entries", "many"),
        ("upstream_timeout", "10 s"),
        ("upstream_concurrency", "0"),
        ("github_api_version", "20\u{7f}22"),
        ("github_api_path", "api v3 ?"),
    ] {
        let service = Service::with(instances, |options| options.setting(name, value)).await;
        let reply = service.host.get("/ready").await.is(503);
        let body = reply.json();
        assert_eq!(body["status"], "not ready");
        assert!(
            body["reason"].as_str().is_some_and(|reason| reason.contains(name)),
            "{name}={value}: {body}"
        );
        assert_eq!(body.as_object().unwrap().len(), 2);
        service.host.get("/health").await.is(200);
        let list = service.host.get("/octocat").await;
        assert!(list.status >= 500, "{name}={value}: {} {}", list.status, list.text());
        assert_eq!(service.github.journal().total(), 0);
        service.host.wait_for_line(|line| line.text.contains(name)).await;
    }
}

async fn an_empty_setting_is_unset(instances: Instances) {
    let service = Service::with(instances, |options| {
        options
            .setting("cache_ttl", "")
            .setting("github_token", "")
            .setting("upstream_timeout", "")
            .setting("cache_store", "")
            .setting("github_api_version", "")
    })
    .await;
    service.host.get("/ready").await.is(200);
    assert_eq!(service.host.get("/octocat").await.is(200).json()["cache"]["ttl_seconds"], 300);
    let call = &service.github.journal().calls()[0];
    assert_eq!(call.header("authorization"), None);
    assert_eq!(call.header("x-github-api-version"), Some("2022-11-28"));
}

async fn readiness_tells_where_it_runs(instances: Instances) {
    let service = Service::with(instances, |options| {
        options
            .setting("cluster_name", "kind-a")
            .setting("pod_name", "gists-7")
            .setting("app_version", "9.9.9")
            .setting("github_token", "ghp_example_token")
    })
    .await;
    assert_eq!(service.host.get("/ready").await.is(200).text(), r#"{"status":"ready"}"#);
    let verbose = service.host.get("/ready?verbose").await.is(200);
    let verbose = verbose.text();
    for shown in ["kind-a", "gists-7", "9.9.9"] {
        assert!(verbose.contains(shown), "{verbose}");
    }
    assert!(!verbose.contains("ghp_example_token"));
}

async fn a_settings_directory_overrides(instances: Instances) {
    let directory = scratch(&format!("gists-settings-{instances:?}"));
    std::fs::write(directory.join("cache_ttl"), "41\n").unwrap();
    std::fs::write(directory.join("GITHUB_TOKEN"), "ghp_from_a_file\n").unwrap();
    let service = Service::with(instances, |options| {
        options.setting("cache_ttl", "42").flag("--settings-dir", &directory.to_string_lossy())
    })
    .await;
    assert_eq!(service.host.get("/octocat").await.is(200).json()["cache"]["ttl_seconds"], 41);
    assert_eq!(service.github.journal().calls()[0].header("authorization"), Some("Bearer ghp_from_a_file"));
}

async fn a_rotated_token_is_used_without_a_restart_and_no_request_is_lost(instances: Instances) {
    let directory = scratch(&format!("gists-settings-rotated-{instances:?}"));
    // By rename, as in a mounted Secret: the host never reads a part of a file.
    let rotate = |token: &str| {
        std::fs::write(directory.join(".next"), token).unwrap();
        std::fs::rename(directory.join(".next"), directory.join("github_token")).unwrap();
    };
    rotate("ghp_first");
    let service = Service::with(instances, |options| {
        options
            .setting("cache_ttl", "1")
            .flag("--settings-dir", &directory.to_string_lossy())
            .flag("--settings-poll", "100ms")
    })
    .await;
    let used = |token: &str| {
        let header = format!("Bearer {token}");
        let calls = service.github.journal().calls();
        calls.last().is_some_and(|call| call.header("authorization") == Some(&*header)).then_some(())
    };
    until("the first token is used", async || {
        service.host.get("/octocat").await.is(200);
        used("ghp_first")
    })
    .await;
    rotate("ghp_second");
    until("the second one is used", async || {
        service.host.get("/octocat").await.is(200);
        used("ghp_second")
    })
    .await;
    let reloaded = "wasi_http_host_reloads_total{outcome=\"done\"} 1";
    assert!(service.host.admin("/metrics").await.text().contains(reloaded));
    assert!(!service.host.log().contains("ghp_"), "a token is in the log");
}
