//! Any request and any answer of GitHub's: the service sends one response and does not panic.

use std::time::Duration;

use gists::github::answer::MAX_BODY;
use gists::ports::{FetchError, FetchResponse};
use proptest::prelude::*;

use crate::fake::{TestRequest, failure, millis, page, run, seconds};

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let names = prop::sample::select(vec![
        "content-type",
        "etag",
        "link",
        "location",
        "retry-after",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-whatever",
    ]);
    let values = prop_oneof![
        Just(b"application/json".to_vec()),
        Just(b"0".to_vec()),
        Just(b"99999999999999999999999".to_vec()),
        Just(b"/users/x/gists".to_vec()),
        Just(b"<https://api.github.com/user/1/gists?page=2>; rel=\"next\"".to_vec()),
        Just(b"W/\"abc\"".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..60),
    ];
    (names, values).prop_map(|(name, value)| (name.to_owned(), value))
}

fn fetched() -> impl Strategy<Value = Result<FetchResponse, FetchError>> {
    let body = prop_oneof![
        Just(b"[]".to_vec()),
        Just(page("a \"description\"\n").body),
        Just(br#"{"message":"You have exceeded a secondary rate limit"}"#.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..200),
        Just(vec![b'['; 10_000]),
    ];
    let status = prop_oneof![Just(200u16), Just(304), Just(404), Just(403), Just(429), any::<u16>()];
    let answer = (status, proptest::collection::vec(header(), 0..6), body)
        .prop_map(|(status, headers, body)| Ok(FetchResponse { status, headers, body }));
    prop_oneof![
        8 => answer,
        1 => Just(Err(FetchError::Timeout)),
        1 => Just(Err(FetchError::Connect("x".to_owned()))),
        1 => Just(Err(FetchError::BodyTooLarge)),
    ]
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "/octocat", "/octocat?page=2", "/octocat?use_cache=false", "/users/health/gists", "/cache/stats",
            "/metrics", "/ready?verbose", "/docs", "/openapi.json", "/health/", "/octocat?per_page=101",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,40}".prop_map(|path| format!("/{path}")),
    ]
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "GET", "GET", "HEAD", "DELETE", "POST", "BREW"])
}

const STATUSES: [u16; 12] = [200, 304, 307, 401, 404, 405, 422, 429, 500, 502, 503, 504];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn always_exactly_one_answer(
        answers in proptest::collection::vec(fetched(), 1..6),
        requests in proptest::collection::vec((method(), target(), 0u64..400), 1..12),
        header in (prop::sample::select(vec!["accept", "if-none-match", "authorization"]), "\\PC{0,30}"),
        ttl in 1u64..400,
        token: bool,
    ) {
        run(async |world| {
            world.set("cache_ttl", &ttl.to_string());
            world.set("upstream_timeout", "2");
            world.set("github_token", if token { "t0ken" } else { "" });
            let turn = std::cell::Cell::new(0);
            world.github_after(Duration::from_millis(50), move |_| {
                turn.set(turn.get() + 1);
                answers[turn.get() % answers.len()].clone()
            });
            let instance = world.instance();
            for (method, target, pause) in requests {
                let request = TestRequest::get(&target).method(method).header(header.0, &header.1);
                let answer = instance.send(&request).await;
                assert!(STATUSES.contains(&answer.status), "{method} {target}: {}", answer.status);
                assert!(!answer.body.contains("t0ken"));
                if answer.status == 304 {
                    assert_eq!(answer.body, "");
                }
                seconds(pause).await;
            }
            assert!(!world.logs.borrow().iter().any(|line| line.contains("t0ken")));
        });
    }

    #[test]
    fn whatever_is_in_the_store_is_survived(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        run(async |world| {
            let instance = world.instance();
            instance.get("/octocat").await;
            seconds(2).await;
            for key in world.store.keys() {
                // Counters have the store's own encoding: only a host could damage them.
                if world.store.bytes(&key).is_some() {
                    world.store.plant(&key, &value);
                }
            }
            assert_eq!(world.instance().get("/octocat").await.status, 200);
            assert!(world.instance().get("/octocat").await.is_hit());
        });
    }
}

#[test]
fn an_endless_body_is_an_error() {
    run(async |world| {
        world.github(|_| FetchResponse { body: vec![b' '; MAX_BODY + 1], ..page("x") });
        let answer = world.instance().get("/octocat").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (502, r#"{"detail":"GitHub sent an invalid response"}"#)
        );
    });
}

#[test]
fn a_page_has_its_headers() {
    run(async |world| {
        world.github(|_| {
            let mut page = page("x");
            page.headers.push(("link".to_owned(), b"<https://x/user/1/gists?page=3>; rel=\"next\"".to_vec()));
            page
        });
        let instance = world.instance();
        let miss = instance.get("/OctoCat?page=2").await;
        assert_eq!(miss.header("content-type"), "application/json");
        assert_eq!(miss.header("age"), "0");
        assert_eq!(miss.header("vary"), "Accept");
        assert_eq!(miss.header("x-content-type-options"), "nosniff");
        assert_eq!(miss.header("referrer-policy"), "no-referrer");
        assert_eq!(miss.header("content-security-policy"), "default-src 'none'");
        assert_eq!(miss.header("access-control-allow-origin"), "*");
        assert_eq!(miss.cache_status(), "gists; fwd=uri-miss; stored");
        assert_eq!(miss.header("link"), "</OctoCat?page=3>; rel=\"next\", </OctoCat?page=1>; rel=\"first\"");
        seconds(7).await;
        let hit = instance.get("/OctoCat?page=2").await;
        assert!(hit.is_hit());
        assert_eq!((hit.header("age"), hit.header("etag")), ("7", miss.header("etag")));
        let rest = hit.header("cache-control").strip_prefix("public, max-age=").unwrap();
        let (max_age, rest) = rest.split_once(", ").unwrap();
        assert_eq!(rest, "stale-while-revalidate=60, stale-if-error=86400");
        let ttl: u64 = max_age.parse().unwrap();
        assert!((270..=330).contains(&ttl), "{ttl}");
        let left = hit.cache_status().strip_prefix("gists; hit; ttl=").unwrap().parse::<u64>().unwrap();
        assert!((ttl - 8..=ttl - 7).contains(&left), "{left} of {ttl}");
    });
}

#[test]
fn a_client_that_has_the_page_gets_a_304() {
    run(async |world| {
        let instance = world.instance();
        let etag = instance.get("/octocat").await.header("etag").to_owned();
        let again = TestRequest::get("/octocat").header("if-none-match", &format!("\"other\", {etag}"));
        let answer = instance.send(&again).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.header("etag")), (304, "", etag.as_str()));
        assert_eq!(answer.header("content-length"), "");
        let other = TestRequest::get("/octocat").header("if-none-match", "\"other\"");
        assert_eq!(instance.send(&other).await.status, 200);
    });
}

#[test]
fn head_is_answered_as_get() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        for target in ["/health", "/octocat", "/nobody%20", "/docs", "/octocat?page=0"] {
            let get = instance.get(target).await;
            let head = instance.send(&TestRequest::get(target).method("HEAD")).await;
            // The host leaves out the body of a HEAD.
            assert_eq!(head, get, "{target}");
        }
        assert_eq!(world.asked(), 1);
    });
}

#[test]
fn a_bad_setting_is_named_and_nothing_is_done() {
    run(async |world| {
        world.set("cache_ttl", "soon");
        let instance = world.instance();
        let ready = instance.get("/ready").await;
        assert_eq!(ready.status, 503);
        assert_eq!(ready.json()["status"], "not ready");
        assert!(ready.json()["reason"].as_str().unwrap().contains("cache_ttl"));
        let answer = instance.get("/octocat").await;
        assert_eq!(answer.status, 503);
        assert!(answer.json()["detail"].as_str().unwrap().contains("cache_ttl"));
        assert_eq!(instance.get("/health").await.status, 200);
        assert_eq!(world.asked(), 0);
        assert!(world.logs.borrow().iter().any(|line| line.contains("cache_ttl")));
    });
}

#[test]
fn problem_documents_are_for_those_who_ask() {
    run(async |world| {
        world.github(|_| failure(404, &[]));
        let instance = world.instance();
        let request = TestRequest::get("/octocat").header("accept", "application/problem+json");
        let answer = instance.send(&request).await;
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["status"], 404);
        assert_eq!(instance.get("/octocat").await.body, r#"{"detail":"User 'octocat' not found"}"#);
        millis(1).await;
    });
}

#[test]
fn a_name_that_cannot_exist_is_never_asked_for() {
    run(async |world| {
        let instance = world.instance();
        for target in ["/a%20b", "/a.b", "/%C3%A9", "/x%2Fy", "/[bot]", "/octo'cat"] {
            assert_eq!(instance.get(target).await.status, 404, "{target}");
        }
        assert_eq!(world.asked(), 0);
    });
}

fn preflight(target: &str) -> TestRequest {
    TestRequest::get(target)
        .method("OPTIONS")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "if-none-match")
}

#[test]
fn a_browsers_preflight_is_answered_with_what_the_setting_allows() {
    run(async |world| {
        for origin in ["*", "https://app.example"] {
            world.set("cors_allow_origin", origin);
            let instance = world.instance();
            for target in ["/octocat", "/users/octocat/gists?page=2", "/health", "/cache"] {
                let answer = instance.send(&preflight(target)).await;
                assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{target}");
                assert!(!answer.headers.contains_key("content-length"), "RFC 9110, 8.6");
                for (name, value) in [
                    ("access-control-allow-origin", origin),
                    ("access-control-allow-methods", "GET, HEAD"),
                    ("access-control-allow-headers", "*, Authorization"),
                    ("access-control-max-age", "7200"),
                    ("vary", "Origin, Access-Control-Request-Method"),
                ] {
                    assert_eq!(answer.header(name), value, "{target}");
                }
            }
            assert_eq!(instance.send(&preflight("/a/b")).await.status, 404);
        }
        assert_eq!(world.asked(), 0);
        seconds(1).await;
        assert_eq!(world.counter("metric:requests:/{username}:OPTIONS:204"), 2);
    });
}

#[test]
fn other_options_requests_are_refused_as_every_other_method() {
    run(async |world| {
        let instance = world.instance();
        for headers in [&[][..], &["origin"], &["access-control-request-method"]] {
            let request = TestRequest::get("/octocat").method("OPTIONS");
            let request = headers.iter().fold(request, |request, name| request.header(name, "x"));
            let answer = instance.send(&request).await;
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{headers:?}");
        }
        world.set("cors_allow_origin", "");
        let answer = world.instance().send(&preflight("/octocat")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, ""));
        // A method that is not OPTIONS is no preflight.
        let answer = instance.send(&preflight("/octocat").method("POST")).await;
        assert_eq!(answer.status, 405);
    });
}

#[test]
fn a_target_that_was_asked_for_before_is_answered_by_its_method_and_its_case() {
    run(async |world| {
        let instance = world.instance();
        let get = instance.get("/OctoCat?per_page=5").await;
        let head = instance.send(&TestRequest::get("/OctoCat?per_page=5").method("HEAD")).await;
        assert_eq!((get.status, head.status, head.is_hit()), (200, 200, true));
        let post = instance.send(&TestRequest::get("/OctoCat?per_page=5").method("POST")).await;
        assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
        for target in ["/OctoCat?per_page=101", "/OctoCat?per_page=101", "/OctoCat?per_page=5&page=0"] {
            assert_eq!(instance.get(target).await.status, 422, "{target}");
        }
        assert!(
            instance.get("/octocat?per_page=5").await.is_hit(),
            "one page, whatever the case of the name"
        );
        assert!(!instance.get("/OctoCat?per_page=6").await.is_hit());
        // `GET /cache` asks for the user of that name, and all other methods are about the cache.
        for _ in 0..2 {
            assert_eq!(instance.get("/cache").await.status, 200);
            assert_eq!(instance.send(&TestRequest::get("/cache").method("DELETE")).await.status, 200);
        }
    });
}
