//! The system `greeting`: settings and secrets, and a service that another one asks.

use e2e::{Instances, system};
use testkit::paths::scratch;
use testkit::{Host, HostOptions, until};

use super::upstream::Upstream;

suite!(
    it_greets_at_the_time_of_an_offset_or_a_zone,
    an_absent_timezones_is_a_problem_in_time,
    the_secret_needs_the_key,
    changed_settings_need_no_restart,
    zones_are_listed_and_shown
);

async fn start(instances: Instances, change: impl FnOnce(HostOptions) -> HostOptions) -> Host {
    change(system("greeting", instances).await).start().await
}

async fn it_greets_at_the_time_of_an_offset_or_a_zone(instances: Instances) {
    for (value, offset, zone) in [
        ("", "+00:00", None),
        ("+5:30", "+05:30", None),
        ("Asia/Kolkata", "+05:30", Some("Asia/Kolkata")),
        ("America/Argentina/Buenos_Aires", "-03:00", Some("America/Argentina/Buenos_Aires")),
    ] {
        let host = start(instances, |options| {
            options.setting("timezone_offset", value).setting("greeting", "Namaste")
        })
        .await;
        let greeting = host.get("/").await.is(200).json();
        assert_eq!(greeting["message"], "Namaste");
        assert_eq!(greeting["timezone_offset"], offset, "{value}");
        assert!(greeting["time"].as_str().unwrap().ends_with(offset), "{greeting}");
        assert_eq!(greeting["timezone"].as_str(), zone, "{value}");
    }
}

async fn an_absent_timezones_is_a_problem_in_time(instances: Instances) {
    let silent = Upstream::silent().await;
    let refusing = testkit::ports::Refusing::bind();
    for (url, status) in [(silent.url.clone(), 504), (format!("http://{}", refusing.address()), 502)] {
        let host = start(instances, |options| {
            options
                .setting("timezone_offset", "Asia/Kolkata")
                .setting("timezones_url", &url)
                .setting("timezones_timeout", "300ms")
        })
        .await;
        let problem = host.get("/").await.is(status).json();
        assert_eq!(problem["upstream"], "timezones", "{problem}");
        host.get("/ready").await.is(200);
    }
}

async fn the_secret_needs_the_key(instances: Instances) {
    let closed = start(instances, |options| options).await;
    closed.request("GET", "/secret").header("x-api-key", "").send().await.is(503);
    let host = start(instances, |options| {
        options.setting("dummy_api_key", "key-1").setting("secret_message", "the cake is real")
    })
    .await;
    host.get("/secret").await.is(401);
    host.request("GET", "/secret").header("x-api-key", "key-2").send().await.is(401);
    let secret = host.request("GET", "/secret").header("x-api-key", "key-1").send().await.is(200);
    assert_eq!(secret.text(), r#"{"secret_message":"the cake is real"}"#);
    assert!(!host.log().contains("key-1") && !host.log().contains("the cake"));
}

async fn changed_settings_need_no_restart(instances: Instances) {
    let directory = scratch(&format!("greeting-settings-{instances:?}"));
    // By rename, as in a mounted ConfigMap or Secret: the host never reads a part of a file.
    let change = |name: &str, value: &str| {
        std::fs::write(directory.join(".next"), value).unwrap();
        std::fs::rename(directory.join(".next"), directory.join(name)).unwrap();
    };
    change("greeting", "first");
    change("dummy_api_key", "key-1");
    let host = start(instances, |options| {
        options
            .setting("secret_message", "the first secret")
            .flag("--settings-dir", &directory.to_string_lossy())
            .flag("--settings-poll", "100ms")
    })
    .await;
    assert_eq!(host.get("/").await.is(200).json()["message"], "first");
    change("greeting", "second");
    change("timezone_offset", "Asia/Kathmandu");
    change("dummy_api_key", "key-2");
    change("secret_message", "the second secret");
    until("the settings are taken up", async || {
        let greeting = host.get("/").await.is(200).json();
        let secret = host.request("GET", "/secret").header("x-api-key", "key-2").send().await;
        (greeting["message"] == "second"
            && greeting["timezone_offset"] == "+05:45"
            && secret.text() == r#"{"secret_message":"the second secret"}"#)
            .then_some(())
    })
    .await;
    host.request("GET", "/secret").header("x-api-key", "key-1").send().await.is(401);
    change("timezone_offset", "+99");
    until("the invalid setting makes the service unready", async || {
        let reply = host.get("/ready").await;
        (reply.status == 503 && reply.text().contains("setting timezone_offset")).then_some(())
    })
    .await;
}

async fn zones_are_listed_and_shown(instances: Instances) {
    let host = start(instances, |options| options).await;
    let list = host.get("/timezones?q=argentina&per_page=3&page=2").await.is(200).json();
    assert_eq!(list["pagination"]["count"], 3);
    assert!(list["pagination"]["total"].as_u64().unwrap() > 6, "{list}");
    let zone = host.get("/timezones/europe/berlin").await.is(200).json();
    assert_eq!(zone["name"], "Europe/Berlin");
    assert_eq!(zone["tzdb_version"], list["tzdb_version"]);
    assert_ne!(zone["next_transition"]["dst"], zone["dst"]);
    let problem = host.get("/timezones/Europe/Atlantis").await.is(404).json();
    assert_eq!(problem["timezone"], "Europe/Atlantis");
}
