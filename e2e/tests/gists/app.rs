//! A GitHub App: the service asks for its installation's token itself.

use std::time::Duration;

use e2e::fake::{APP, AppKey, FakeGitHub, ScriptedResponse};
use e2e::{Instances, Service, fake};
use futures::future::join_all;
use testkit::{Host, HostOptions, RedisServer, paths::scratch, until};

use super::expect::Expect as _;

suite!(
    the_first_request_gets_a_token,
    every_form_of_the_key_is_read,
    one_of_several_hosts_renews_the_token,
    a_key_or_an_id_that_github_refuses_is_named,
    a_setting_of_the_app_that_does_not_fit_is_named,
    a_revoked_token_is_replaced,
    a_removed_installation_is_left_alone,
    a_rotation_costs_one_request_for_each_page,
);

const HOUR: Duration = Duration::from_secs(3_600);

fn as_app(options: HostOptions, app: [(&'static str, String); 3]) -> HostOptions {
    app.into_iter().fold(options, |options, (name, value)| options.setting(name, &value))
}

async fn service(instances: Instances, life: Duration) -> Service {
    let github = fake().await;
    let app = github.install_app(&AppKey::make().unwrap(), life);
    Service::of(github, instances, |options| as_app(options, app).setting("cache_ttl", "1")).await
}

/// How many requests for a token GitHub received.
fn exchanges(github: &FakeGitHub) -> usize {
    github.journal().calls_for(APP).len()
}

/// The tokens of the requests for a user's pages.
fn tokens(github: &FakeGitHub, user: &str) -> Vec<String> {
    let calls = github.journal().calls_for(user);
    let token = |value: &str| value.trim_start_matches("Bearer ").to_owned();
    calls.iter().map(|call| token(call.header("authorization").unwrap_or_default())).collect()
}

async fn the_first_request_gets_a_token(instances: Instances) {
    let service = service(instances, HOUR).await;
    service.host.get("/ready").await.is(200);
    service.host.get("/health").await.is(200);
    assert_eq!(service.github.journal().total(), 0, "nothing is asked before the first page");
    let replies = join_all((0..20).map(|_| service.host.get("/octocat"))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    service.host.get("/quiet").await.is(200);
    assert_eq!(exchanges(&service.github), 1);
    let call = &service.github.journal().calls_for(APP)[0];
    assert_eq!(
        (call.method.as_str(), call.path.as_str()),
        ("POST", "/app/installations/51234567/access_tokens")
    );
    assert_eq!((call.header("content-length"), call.header("transfer-encoding")), (Some("0"), None));
    assert_eq!(tokens(&service.github, "quiet"), ["ghs_1"]);
    until("the request for a token is counted", async || {
        let samples = service.component_metrics().await;
        (samples.sum("github_api_requests_total", &[("status", "201")]) == 1.0).then_some(())
    })
    .await;
    let log = service.host.log();
    assert!(!log.contains("ghs_") && !log.contains("eyJ"), "{}", log.text());
}

async fn every_form_of_the_key_is_read(instances: Instances) {
    let key = AppKey::make().unwrap();
    let directory = scratch(&format!("gists-app-{instances:?}"));
    std::fs::write(directory.join("github_app_private_key"), &key.pkcs8).unwrap();
    for (form, text) in
        [("escaped", key.pkcs1.replace('\n', "\\n")), ("pkcs8", key.pkcs8.clone()), ("file", String::new())]
    {
        let github = fake().await;
        let [id, installation, _] = github.install_app(&key, HOUR);
        let service = Service::of(github, instances, |options| {
            let options = as_app(options, [id, installation, ("github_app_private_key", text)]);
            match form {
                "file" => options.flag("--settings-dir", &directory.to_string_lossy()),
                _ => options,
            }
        })
        .await;
        assert_eq!(service.host.get("/octocat").await.status, 200, "{form}");
    }
}

async fn one_of_several_hosts_renews_the_token(instances: Instances) {
    let (github, redis) = (fake().await, RedisServer::start());
    // Renewed after 20 s.
    let life = Duration::from_secs(24);
    let app = github.install_app(&AppKey::make().unwrap(), life);
    let options = as_app(e2e::options(instances).await, app)
        .setting("github_api_url", &github.url())
        .setting("cache_store", "shared")
        .flag("--redis-timeout", "30s")
        .flag("--redis-connect-timeout", "30s")
        .flag("--keyvalue-store", &format!("shared=redis://{}", redis.address()));
    let hosts: Vec<Host> = join_all((0..3).map(|_| options.clone().start())).await;
    let crowd = |path: &'static str| join_all((0..30).map(|n| hosts[n % 3].get(path)));
    assert!(crowd("/octocat").await.iter().all(|reply| reply.status == 200));
    assert_eq!(exchanges(&github), 1, "several hosts asked");
    until("one host has renewed the token", async || {
        let replies = crowd("/quiet?use_cache=false").await;
        assert!(replies.iter().all(|reply| reply.status == 200));
        (tokens(&github, "quiet").last()? == "ghs_2").then_some(())
    })
    .await;
    assert_eq!(exchanges(&github), 2, "several hosts asked");
    let keys: Vec<String> = redis.query(&["KEYS", "*"]).unwrap();
    assert!(keys.iter().any(|key| key.contains("app:v1:")), "{keys:?}");
    for key in keys {
        // What is not text has another type, such as a hash, and was not written by the component.
        let stored: Vec<u8> = redis.query(&["GET", &key]).unwrap_or_default();
        assert!(!stored.windows(4).any(|part| part == b"ghs_"), "{key} is in clear");
    }
}

async fn a_key_or_an_id_that_github_refuses_is_named(instances: Instances) {
    let (key, other) = (AppKey::make().unwrap(), AppKey::make().unwrap());
    for (changed, value, named) in [
        ("github_app_private_key", other.pkcs1.as_str(), "github_app_private_key"),
        ("github_app_id", "4712", "github_app_installation_id"),
        ("github_app_installation_id", "51234568", "github_app_installation_id"),
    ] {
        let github = fake().await;
        let app = github.install_app(&key, HOUR);
        let service =
            Service::of(github, instances, |options| as_app(options, app).setting(changed, value)).await;
        service.host.get("/ready").await.is(200);
        for path in ["/octocat", "/quiet", "/octocat?use_cache=false"] {
            let reply = service.host.get(path).await.is(502);
            assert!(reply.detail().starts_with("GitHub error: 40"), "{}", reply.text());
        }
        assert_eq!((exchanges(&service.github), service.github.journal().total()), (1, 1), "{changed}");
        service.host.wait_for_line(|line| line.text.contains(named)).await;
        assert!(!service.host.log().contains(key.pkcs1.lines().nth(2).unwrap()));
    }
}

async fn a_setting_of_the_app_that_does_not_fit_is_named(instances: Instances) {
    let key = AppKey::make().unwrap();
    let cut = key.pkcs1.replace("-----END", "");
    for (changed, value, named) in [
        ("github_app_private_key", "secret", "github_app_private_key"),
        ("github_app_private_key", &cut, "github_app_private_key"),
        ("github_app_private_key", "", "github_app_private_key"),
        ("github_app_installation_id", "", "github_app_installation_id"),
        ("github_app_installation_id", "mine", "github_app_installation_id"),
        ("github_app_id", "", "github_app_id"),
        ("github_token", "ghp_too", "github_token"),
    ] {
        let github = fake().await;
        let app = github.install_app(&key, HOUR);
        let service =
            Service::of(github, instances, |options| as_app(options, app).setting(changed, value)).await;
        let reply = service.host.get("/ready").await.is(503);
        let reason = reply.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(named), "{changed}: {reason}");
        let list = service.host.get("/octocat").await;
        let log = service.host.log();
        for secret in [key.pkcs1.lines().nth(2).unwrap(), "ghp_too"] {
            assert!(!reply.text().contains(secret) && !list.text().contains(secret), "{}", list.text());
            assert!(!log.contains(secret), "{}", log.text());
        }
        assert_eq!((list.status, service.github.journal().total()), (503, 0), "{changed}");
    }
}

async fn a_revoked_token_is_replaced(instances: Instances) {
    let service = service(instances, HOUR).await;
    service.host.get("/octocat").await.is(200);
    service.github.revoke_tokens();
    service.host.get("/quiet").await.is(200);
    assert_eq!(tokens(&service.github, "quiet"), ["ghs_1", "ghs_2"]);
    assert_eq!(exchanges(&service.github), 2);
}

async fn a_removed_installation_is_left_alone(instances: Instances) {
    let service = service(instances, HOUR).await;
    let stored = service.host.get("/octocat").await.is(200);
    service.github.revoke_tokens();
    service.github.always(APP, ScriptedResponse::status(404));
    for path in ["/quiet", "/hubot", "/quiet?use_cache=false"] {
        service.host.get(path).await.is_error(502, "GitHub error: 404");
    }
    let stale = until("the entry is stale", async || {
        let reply = service.host.get("/octocat").await.is(200);
        reply.cache_status().contains("ttl=-").then_some(reply)
    })
    .await;
    assert_eq!(stale.ids(), stored.ids());
    assert_eq!(exchanges(&service.github), 2);
    service.host.wait_for_line(|line| line.text.contains("github_app_installation_id")).await;
}

/// GitHub's validators are hashes of the token as well, so that a page must be sent once more for each new token. What is
/// stored stays, is answered if GitHub fails, and is revalidated with the new token from then on.
async fn a_rotation_costs_one_request_for_each_page(instances: Instances) {
    let service = service(instances, HOUR).await;
    let status = async || {
        let reply = service.host.get("/octocat?use_cache=false").await.is(200);
        reply.cache_status().to_owned()
    };
    let confirmed = "fwd=bypass; fwd-status=304; stored";
    service.host.get("/octocat").await.is(200);
    assert_eq!(status().await, confirmed);
    service.github.revoke_tokens();
    assert_eq!(status().await, "fwd=bypass; stored");
    assert_eq!(status().await, confirmed);
    let calls = service.github.journal().calls_for("octocat");
    assert!(calls[1..].iter().all(|call| call.header("if-none-match").is_some()));
}
