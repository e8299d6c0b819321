//! The cases that the fake GitHub plays by name: what each one's text says is what the service does.

use std::time::Duration;

use e2e::fake::{APP, AppKey, Case};
use e2e::{Instances, Service};
use testkit::until;

use super::expect::Expect as _;

suite!(each_case_is_played_by_name, a_304_may_name_a_next_page, a_retired_version_keeps_what_is_stored);

/// For each case: the status for the user of the case, the status for another user afterwards, and the bounds of the
/// second one's `Retry-After`.
const EXPECTED: &[(&str, u16, u16, std::ops::RangeInclusive<u64>)] = &[
    ("secondary-limit", 429, 429, 50..=60),
    ("secondary-limit-retry-after", 429, 429, 5..=10),
    ("primary-limit", 429, 429, 20..=31),
    ("other-clock", 429, 429, 20..=31),
    ("last-request", 200, 429, 20..=31),
    ("low-quota", 200, 429, 20..=31),
    ("next-page-behind-a-304", 200, 200, 0..=0),
    ("slow", 200, 200, 0..=0),
    ("version-ends", 200, 200, 0..=0),
    ("version-ended", 502, 200, 0..=0),
    ("token-refused", 502, 200, 0..=0),
    ("app-key-refused", 502, 502, 0..=0),
    ("app-suspended", 502, 502, 0..=0),
    ("app-uninstalled", 502, 502, 0..=0),
    ("app-token-unreadable", 502, 502, 0..=0),
];

async fn each_case_is_played_by_name(instances: Instances) {
    let names: Vec<_> = Case::ALL.iter().map(|case| case.name).collect();
    assert_eq!(names, EXPECTED.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    let key = AppKey::make().unwrap();
    for (name, status, other, wait) in EXPECTED {
        let is_of_app = name.starts_with("app-");
        let github = e2e::fake().await;
        let app = is_of_app.then(|| github.install_app(&key, Duration::from_secs(3_600)));
        let service = Service::of(github, instances, |options| {
            app.into_iter().flatten().fold(options, |options, (name, value)| options.setting(name, &value))
        })
        .await;
        service.github.play(Case::named(name).unwrap(), if is_of_app { APP } else { "octocat" });
        assert_eq!(service.host.get("/octocat").await.status, *status, "{name}");
        let reply = service.host.get("/quiet").await;
        assert_eq!(reply.status, *other, "{name}");
        let told = reply.header("retry-after").map_or(0, |seconds| seconds.parse().unwrap());
        assert!(wait.contains(&told), "{name}: {told}");
    }
}

async fn a_304_may_name_a_next_page(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("cache_ttl", "1")).await;
    service.github.play(Case::named("next-page-behind-a-304").unwrap(), "octocat");
    let first = service.host.get("/octocat").await.is(200);
    assert_eq!(first.json()["pagination"]["has_next"], false);
    let confirmed = service.host.get("/octocat?use_cache=false").await.is(200);
    assert_eq!(confirmed.cache_status(), "fwd=bypass; fwd-status=304; stored");
    assert_eq!(confirmed.json()["pagination"]["has_next"], true);
    assert_eq!(confirmed.ids(), first.ids());
    assert_eq!(service.host.get("/octocat").await.is(200).json()["pagination"]["has_next"], true);
}

async fn a_retired_version_keeps_what_is_stored(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("cache_ttl", "1")).await;
    let stored = service.host.get("/octocat").await.is(200);
    service.github.play(Case::named("version-ended").unwrap(), "octocat");
    until("the retired version is logged and exported", async || {
        let reply = service.host.get("/octocat").await.is(200);
        assert_eq!(reply.ids(), stored.ids());
        let samples = service.component_metrics().await;
        let exported = samples.sum("github_api_version_sunset_timestamp_seconds", &[]) > 1.7e9;
        (exported && service.host.log().contains("no longer supports the API version")).then_some(())
    })
    .await;
}
