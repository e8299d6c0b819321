//! A GitHub App: one process asks for the installation's token, all of them use it, and the store does not tell it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use gists::github::http_date;
use gists::ports::{FetchMethod, FetchResponse};

use super::fake::{EPOCH, GitHubRequest, World, failure, name_in, page, run, seconds};

/// A key of its own for each run of the tests.
static KEY: LazyLock<String> = LazyLock::new(|| {
    let [pkcs1, _] = super::test_keys::make(2048);
    pkcs1
});

/// The life of GitHub's tokens, in seconds.
const LIFE: u64 = 3600;

const EXCHANGE: &str = "/app/installations/7/access_tokens";

/// Makes the service an app, and GitHub answer each request for a token with `token`, and each one for a page with `page`.
fn app(
    world: &World,
    token: impl Fn(&GitHubRequest) -> FetchResponse + 'static,
    page: impl Fn(&GitHubRequest) -> FetchResponse + 'static,
) {
    world.set("github_app_id", "4711");
    world.set("github_app_installation_id", "7");
    world.set("github_app_private_key", &KEY);
    world.github(move |asked| match asked.method {
        FetchMethod::Post => token(asked),
        FetchMethod::Get => page(asked),
    });
}

/// Answers requests for tokens with `ghs_1`, `ghs_2` and so on.
fn numbered() -> impl Fn(&GitHubRequest) -> FetchResponse {
    let count = Cell::new(0);
    move |asked| {
        count.set(count.get() + 1);
        let expires = (EPOCH + asked.at).as_secs() + LIFE;
        let time = (expires / 3600 % 24, expires / 60 % 60, expires % 60);
        let expires = format!("{}T{:02}:{:02}:{:02}Z", http_date::day(expires), time.0, time.1, time.2);
        let body = format!(r#"{{"token":"ghs_{}","expires_at":"{expires}"}}"#, count.get());
        FetchResponse { status: 201, headers: Vec::new(), body: body.into_bytes() }
    }
}

fn named_page(asked: &GitHubRequest) -> FetchResponse {
    page(&name_in(&asked.path))
}

/// How many requests for tokens GitHub received.
fn exchanges(world: &World) -> usize {
    world.asked.borrow().iter().filter(|asked| asked.method == FetchMethod::Post).count()
}

/// The tokens of the requests for pages, in their order.
fn tokens(world: &World) -> Vec<String> {
    let asked = world.asked.borrow();
    let pages = asked.iter().filter(|asked| asked.method == FetchMethod::Get);
    pages.map(|asked| asked.headers["authorization"].trim_start_matches("Bearer ").to_owned()).collect()
}

/// The `iat` and `exp` of the JSON web token of a request, relative to the start of the test.
fn times(asked: &GitHubRequest) -> (i64, i64) {
    let token = asked.headers["authorization"].strip_prefix("Bearer ").unwrap();
    let claims = Base64UrlUnpadded::decode_vec(token.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["iss"], "4711");
    let [issued, expires] =
        ["iat", "exp"].map(|name| claims[name].as_i64().unwrap() - i64::try_from(EPOCH.as_secs()).unwrap());
    (issued, expires)
}

#[test]
fn one_process_asks_for_the_token_and_all_use_it() {
    run(|world| async move {
        app(&world, numbered(), named_page);
        let instances: Vec<_> = (0..3).map(|_| world.instance()).collect();
        let requests: Vec<_> = (0..12).map(|n| instances[n % 3].start(&format!("/user-{n}"))).collect();
        for request in requests {
            assert_eq!(request.await.unwrap().status, 200);
        }
        assert_eq!((exchanges(&world), tokens(&world)), (1, vec!["ghs_1".to_owned(); 12]));
        let asked = world.asked.borrow()[0].clone();
        assert_eq!((asked.path.as_str(), asked.method), (EXCHANGE, FetchMethod::Post));
        assert_eq!(times(&asked), (-60, 540));
        assert!(!asked.headers.contains_key("if-none-match"));
    });
}

#[test]
fn one_process_renews_the_token_and_the_others_go_on_with_the_old_one() {
    run(|world| async move {
        app(&world, numbered(), named_page);
        let instances: Vec<_> = (0..3).map(|_| world.instance()).collect();
        assert_eq!(instances[0].get("/first").await.status, 200);
        seconds(LIFE * 5 / 6 - 2).await;
        assert_eq!(instances[1].get("/before").await.status, 200);
        assert_eq!(exchanges(&world), 1);
        seconds(3).await;
        let requests: Vec<_> = (0..12).map(|n| instances[n % 3].start(&format!("/user-{n}"))).collect();
        for request in requests {
            assert_eq!(request.await.unwrap().status, 200);
        }
        assert_eq!((exchanges(&world), tokens(&world)), (2, vec!["ghs_1".to_owned(); 14]));
        seconds(1).await;
        for instance in &instances {
            assert_eq!(instance.get("/after?use_cache=false").await.status, 200);
        }
        assert_eq!((exchanges(&world), &tokens(&world)[14..]), (2, &vec!["ghs_2".to_owned(); 3][..]));
    });
}

#[test]
fn a_store_that_others_read_has_no_token_in_clear() {
    run(|world| async move {
        app(&world, numbered(), named_page);
        let instance = world.instance();
        assert_eq!(instance.get("/one").await.status, 200);
        seconds(1).await;
        let key = world.store.keys_with("app:v1:").pop().unwrap();
        let first = world.store.bytes(&key).unwrap();
        for key in world.store.keys() {
            let value = world.store.bytes(&key).unwrap_or_default();
            for secret in ["ghs_", KEY.lines().nth(1).unwrap()] {
                assert!(!value.windows(secret.len()).any(|part| part == secret.as_bytes()), "{key}");
            }
        }
        seconds(LIFE).await;
        assert_eq!(instance.get("/two").await.status, 200);
        let second = world.store.bytes(&key).unwrap();
        assert_ne!(first[first.len() - 12..], second[second.len() - 12..], "a nonce is used once");
        // A value that somebody else wrote is none.
        world.store.plant(&key, b"forged");
        assert_eq!(world.instance().get("/three").await.status, 200);
        assert_eq!(exchanges(&world), 3);
        assert!(!world.logs.borrow().iter().any(|line| line.contains("ghs_")));
    });
}

#[test]
fn a_refusal_is_remembered_and_names_the_setting() {
    for (status, setting) in [
        (401, "github_app_private_key"),
        (404, "github_app_installation_id"),
        (403, "github_app_installation_id"),
        (201, "github_api_url"),
    ] {
        run(|world| async move {
            app(&world, move |_| failure(status, &[]), named_page);
            let instances: Vec<_> = (0..3).map(|_| world.instance()).collect();
            for n in 0..9 {
                let answer = instances[n % 3].get(&format!("/user-{n}")).await;
                assert_eq!(answer.status, 502, "{status}");
                assert!(!answer.body.contains("not found"), "{}", answer.body);
            }
            assert_eq!((exchanges(&world), tokens(&world).len()), (1, 0), "{status}");
            let logs = world.logs.borrow().join("\n");
            assert_eq!(logs.matches(setting).count(), 1, "{logs}");
            assert!(!logs.contains(KEY.lines().nth(1).unwrap()));
            seconds(60).await;
            assert_eq!(instances[0].get("/user-0").await.status, 502);
            assert_eq!(exchanges(&world), 2, "{status}");
        });
    }
}

#[test]
fn while_a_renewal_fails_the_old_token_is_used() {
    run(|world| async move {
        let (first, count) = (numbered(), Rc::new(Cell::new(0)));
        let counted = Rc::clone(&count);
        let token = move |asked: &GitHubRequest| {
            count.set(count.get() + 1);
            if count.get() == 1 { first(asked) } else { failure(503, &[]) }
        };
        app(&world, token, named_page);
        let instance = world.instance();
        assert_eq!(instance.get("/one").await.status, 200);
        seconds(LIFE * 5 / 6).await;
        for n in 0..20 {
            assert_eq!(instance.get(&format!("/user-{n}")).await.status, 200);
            seconds(1).await;
        }
        assert!((2..=4).contains(&counted.get()), "{}", counted.get());
        seconds(LIFE / 6).await;
        assert_eq!(instance.get("/late").await.status, 502);
        assert!(tokens(&world).iter().all(|token| token == "ghs_1"));
    });
}

#[test]
fn a_token_that_github_refuses_is_replaced_within_the_request() {
    run(|world| async move {
        app(&world, numbered(), |asked| match asked.headers["authorization"].as_str() {
            "Bearer ghs_1" if asked.at > Duration::from_secs(5) => failure(401, &[]),
            _ => named_page(asked),
        });
        let (one, other) = (world.instance(), world.instance());
        assert_eq!((one.get("/one").await.status, other.get("/two").await.status), (200, 200));
        seconds(6).await;
        assert_eq!((one.get("/three").await.status, other.get("/four").await.status), (200, 200));
        assert_eq!(
            (exchanges(&world), &tokens(&world)[2..]),
            (2, &["ghs_1", "ghs_2", "ghs_2"].map(str::to_owned)[..])
        );
    });
}

#[test]
fn an_installation_that_is_gone_is_not_asked_for_again_and_again() {
    run(|world| async move {
        let gone = Duration::from_secs(1);
        let token = numbered();
        let token =
            move |asked: &GitHubRequest| if asked.at > gone { failure(404, &[]) } else { token(asked) };
        app(&world, token, move |asked| if asked.at > gone { failure(401, &[]) } else { named_page(asked) });
        world.set("cache_ttl", "1");
        let instance = world.instance();
        assert_eq!(instance.get("/stored").await.status, 200);
        seconds(120).await;
        for n in 0..9 {
            assert_eq!(instance.get(&format!("/user-{n}")).await.status, 502);
        }
        assert!(instance.get("/stored").await.is_hit(), "a stored page is answered");
        assert_eq!((exchanges(&world), tokens(&world).len()), (2, 2));
    });
}

#[test]
fn without_its_store_an_instance_keeps_its_token() {
    run(|world| async move {
        app(&world, numbered(), named_page);
        world.store.down.set(true);
        let instance = world.instance();
        for n in 0..5 {
            assert_eq!(instance.get(&format!("/user-{n}")).await.status, 200);
        }
        assert_eq!(exchanges(&world), 1);
        seconds(LIFE).await;
        assert_eq!(instance.get("/later").await.status, 200);
        assert_eq!(exchanges(&world), 2);
    });
}

#[test]
fn a_token_that_the_store_loses_is_kept_by_those_who_have_it() {
    run(|world| async move {
        app(&world, numbered(), named_page);
        let instance = world.instance();
        assert_eq!(instance.get("/one").await.status, 200);
        seconds(1).await;
        world.store.remove(&world.store.keys_with("app:v1:").pop().unwrap());
        assert_eq!(instance.get("/two").await.status, 200);
        assert_eq!(exchanges(&world), 1);
        assert_eq!(world.instance().get("/three").await.status, 200);
        assert_eq!(exchanges(&world), 2);
    });
}

#[test]
fn a_process_that_dies_while_it_asks_delays_the_others_for_two_periods() {
    run(|world| async move {
        app(&world, numbered(), named_page);
        let dying = world.instance();
        let _lost = dying.start("/one");
        while exchanges(&world) == 0 {
            super::fake::millis(10).await;
        }
        dying.crash();
        // A period is as long as a request to GitHub may take, and five seconds.
        seconds(2 * 15).await;
        assert_eq!(world.instance().get("/two").await.status, 200);
        assert_eq!((exchanges(&world), tokens(&world)), (2, vec!["ghs_2".to_owned()]));
    });
}

#[test]
fn a_pod_with_another_clock_asks_once_more_with_the_time_of_github() {
    run(|world| async move {
        let (token, refused) = (numbered(), Cell::new(false));
        let token = move |asked: &GitHubRequest| {
            // Twenty minutes ahead of ours.
            let date = ("date", "Fri, 15 Jan 2027 08:20:00 GMT");
            if refused.replace(true) { token(asked) } else { failure(401, &[date]) }
        };
        app(&world, token, named_page);
        assert_eq!(world.instance().get("/one").await.status, 200);
        let asked = world.asked.borrow();
        assert_eq!([times(&asked[0]), times(&asked[1])], [(-60, 540), (1140, 1740)]);
    });
}

#[test]
fn what_belongs_to_the_app_outlives_its_tokens() {
    run(|world| async move {
        app(&world, numbered(), |asked| match asked.headers.get("if-none-match") {
            Some(_) => failure(304, &[]),
            None => named_page(asked),
        });
        let instance = world.instance();
        assert_eq!(instance.get("/one").await.status, 200);
        seconds(LIFE).await;
        assert_eq!(
            instance.get("/one?use_cache=false").await.cache_status(),
            "gists; fwd=bypass; fwd-status=304; stored"
        );
        let last = world.last_asked();
        assert_eq!(
            (last.headers["authorization"].as_str(), last.headers["if-none-match"].as_str()),
            ("Bearer ghs_2", "W/\"one\"")
        );
    });
}
