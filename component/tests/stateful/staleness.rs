//! Stale entries: when they are answered, and when GitHub is asked first.

use std::time::Duration;

use gists::ports::FetchError;

use crate::fake::{failure, millis, page, run, seconds};

/// Seconds after which every entry is stale, whatever its jitter, but within stale-while-revalidate.
const JUST_STALE: u64 = 331;
/// Seconds after which every entry is past stale-while-revalidate, whatever its jitter.
const STALE: u64 = 400;

#[test]
fn a_stale_entry_is_answered_at_once_and_refreshed_in_the_background() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        world.github(|_| page("new"));
        seconds(JUST_STALE).await;
        let before = tokio::time::Instant::now();
        let answers = [instance.get("/octocat").await, instance.get("/octocat").await];
        assert_eq!(before.elapsed(), Duration::ZERO);
        for answer in answers {
            assert!(answer.is_hit());
            assert_eq!(answer.json()["data"][0]["description"], "octocat");
            let status = answer.cache_status();
            assert!(
                status.starts_with("gists; hit; ttl=-") && status.ends_with("; detail=revalidating"),
                "{status}"
            );
        }
        seconds(1).await;
        assert_eq!(world.asked(), 2);
        let answer = instance.get("/octocat").await;
        assert!(answer.is_hit());
        assert_eq!(answer.json()["data"][0]["description"], "new");
        seconds(1).await;
        assert_eq!(world.counter("metric:stale:revalidate"), 2);
    });
}

#[test]
fn an_old_entry_is_asked_about_with_its_validator() {
    run(async |world| {
        let instance = world.instance();
        let first = instance.get("/octocat").await;
        assert!(!world.last_asked().headers.contains_key("if-none-match"));
        world.github(|_| failure(304, &[]));
        seconds(STALE).await;
        let answer = instance.get("/octocat").await;
        assert_eq!(world.last_asked().headers["if-none-match"], "W/\"octocat\"");
        assert!(!answer.is_hit());
        assert_eq!(answer.cache_status(), "gists; fwd=stale; fwd-status=304; stored");
        assert_eq!((answer.header("age"), answer.header("etag")), ("0", first.header("etag")));
        assert!(instance.get("/octocat").await.is_hit());
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn a_304_may_name_other_neighbours() {
    run(async |world| {
        let instance = world.instance();
        let first = instance.get("/octocat?per_page=5&page=2").await;
        assert_eq!(first.json()["pagination"]["has_next"], false);
        for (link, has_next, has_prev) in [
            ("<https://api.github.com/user/1/gists?page=3>; rel=\"next\"", true, false),
            ("", true, false),
            ("nonsense", true, false),
            ("<a>; rel=\"prev\", <b>; rel=\"next\", <c>; rel=\"last\"", true, true),
            ("<a>; rel=\"prev\", <c>; rel=\"first\"", false, true),
        ] {
            world.github(move |_| failure(304, &[("link", link)]));
            seconds(STALE).await;
            let answer = instance.get("/octocat?per_page=5&page=2").await;
            assert_eq!(answer.cache_status(), "gists; fwd=stale; fwd-status=304; stored", "{link}");
            let hit = instance.get("/octocat?per_page=5&page=2").await;
            assert!(hit.is_hit());
            for answer in [answer, hit] {
                let json = answer.json();
                assert_eq!(json["data"], first.json()["data"]);
                let pagination = &json["pagination"];
                let expected = serde_json::json!({
                    "page": 2, "per_page": 5, "count": 1, "has_next": has_next, "has_prev": has_prev,
                });
                assert_eq!(*pagination, expected, "{link}");
                assert_eq!(answer.header("link").contains("rel=\"next\""), has_next, "{link}");
                assert_ne!(answer.header("etag"), first.header("etag"), "clients have another page");
            }
        }
        // As if GitHub had sent the page whole with the same neighbours as at first.
        world.github(|_| failure(304, &[("link", "<c>; rel=\"last\"")]));
        seconds(STALE).await;
        let last = instance.get("/octocat?per_page=5&page=2").await;
        assert_eq!(last.header("etag"), first.header("etag"));
    });
}

#[test]
fn after_some_hours_a_page_is_fetched_whole_however_often_it_was_confirmed() {
    for (hours, setting) in [(6, None), (1, Some("3600"))] {
        run(async move |world| {
            if let Some(setting) = setting {
                world.set("cache_refetch_after", setting);
            }
            let instance = world.instance();
            instance.get("/octocat").await;
            let fetched = tokio::time::Instant::now();
            world.github(|asked| match asked.headers.contains_key("if-none-match") {
                true => failure(304, &[]),
                false => page("new"),
            });
            while fetched.elapsed() + Duration::from_secs(STALE) < Duration::from_secs(hours * 3600) {
                seconds(STALE).await;
                let answer = instance.get("/octocat").await;
                assert_eq!(answer.json()["data"][0]["description"], "octocat", "{:?}", fetched.elapsed());
            }
            seconds(STALE).await;
            let answer = instance.get("/octocat").await;
            assert_eq!(answer.json()["data"][0]["description"], "new", "{:?}", fetched.elapsed());
            assert_eq!(answer.cache_status(), "gists; fwd=stale; fwd-status=200; stored");
            // The page is young again.
            seconds(STALE).await;
            instance.get("/octocat").await;
            assert!(world.last_asked().headers.contains_key("if-none-match"));
        });
    }
}

#[test]
fn a_304_to_nothing_is_asked_again_once() {
    run(async |world| {
        world.github(|_| failure(304, &[]));
        let answer = world.instance().get("/octocat").await;
        assert_eq!((answer.status, world.asked()), (502, 2));
    });
}

#[test]
fn a_validator_belongs_to_its_credential() {
    run(async |world| {
        world.set("github_token", "one");
        world.instance().get("/octocat").await;
        assert_eq!(world.last_asked().headers["authorization"], "Bearer one");
        world.set("github_token", "two");
        seconds(STALE).await;
        world.instance().get("/octocat").await;
        let asked = world.last_asked();
        assert_eq!(asked.headers["authorization"], "Bearer two");
        assert!(!asked.headers.contains_key("if-none-match"));
        seconds(STALE).await;
        world.instance().get("/octocat").await;
        assert_eq!(world.last_asked().headers["if-none-match"], "W/\"octocat\"");
    });
}

#[test]
fn when_github_fails_the_old_entry_is_answered_for_a_day() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        seconds(STALE).await;
        let failures: [(u16, &str); 5] = [
            (500, "upstream-error"),
            (503, "upstream-error"),
            (403, "upstream-error"),
            (401, "unauthorized"),
            (418, "upstream-error"),
        ];
        for (status, detail) in failures {
            world.github(move |_| failure(status, &[]));
            let answer = instance.get("/octocat").await;
            assert!(answer.is_hit(), "{status}");
            assert!(
                answer.cache_status().ends_with(&format!("; detail={detail}")),
                "{}",
                answer.cache_status()
            );
            seconds(2).await;
        }
        for error in [FetchError::Timeout, FetchError::Connect(String::new()), FetchError::BodyTooLarge] {
            world.github_after(Duration::ZERO, move |_| Err(error.clone()));
            assert!(instance.get("/octocat").await.is_hit());
            seconds(2).await;
        }
        assert_eq!(world.counter("metric:stale:error"), 8);
        seconds(86_400).await;
        assert_eq!(instance.get("/octocat").await.status, 502);
    });
}

#[test]
fn what_github_says_of_the_user_is_believed() {
    run(async |world| {
        for (status, expected) in [(404, 404), (451, 502)] {
            let instance = world.instance();
            let user = format!("/user{status}");
            world.github(|_| page("x"));
            instance.get(&user).await;
            seconds(STALE).await;
            world.github(move |_| failure(status, &[]));
            assert_eq!(instance.get(&user).await.status, expected);
            // The entry is removed: no stale entry replaces the failure.
            world.github(|_| failure(500, &[]));
            seconds(61).await;
            assert_eq!(instance.get(&user).await.status, 502);
        }
    });
}

#[test]
fn a_422_leaves_the_entry_alone() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        seconds(STALE).await;
        world.github(|_| failure(422, &[]));
        let answer = instance.get("/octocat").await;
        assert_eq!((answer.status, answer.body.as_str()), (422, r#"{"detail":"GitHub error: 422"}"#));
        seconds(2).await;
        world.github(|_| failure(500, &[]));
        assert!(instance.get("/octocat").await.is_hit());
    });
}

#[test]
fn a_user_that_does_not_exist_is_remembered_for_a_minute_on_all_pages() {
    run(async |world| {
        let instance = world.instance();
        world.github(|_| failure(404, &[]));
        let first = instance.get("/Nobody").await;
        assert_eq!((first.status, first.body.as_str()), (404, r#"{"detail":"User 'Nobody' not found"}"#));
        seconds(20).await;
        for target in ["/nobody", "/nobody?page=2", "/users/NOBODY/gists?per_page=5"] {
            let again = instance.get(target).await;
            assert_eq!((again.status, again.cache_status()), (404, "gists; hit"), "{target}");
            assert_eq!(again.header("cache-control"), "public, max-age=40");
        }
        assert_eq!(world.asked(), 1);
        seconds(41).await;
        world.github(|_| page("x"));
        assert_eq!(instance.get("/nobody").await.status, 200);
        millis(1).await;
    });
}

#[test]
fn a_pod_whose_clock_is_behind_knows_of_a_remembered_404() {
    run(async |world| {
        world.github(|_| failure(404, &[]));
        assert_eq!(world.instance().get("/nobody").await.status, 404);
        world.set_back.set(Duration::from_secs(30));
        assert_eq!(world.instance().get("/nobody").await.status, 404);
        assert_eq!(world.asked(), 1);
    });
}

#[test]
fn a_user_who_leaves_is_gone_on_every_page() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat?page=2").await;
        world.github(|_| failure(404, &[]));
        assert_eq!(instance.get("/octocat").await.status, 404);
        assert_eq!(instance.get("/octocat?page=2").await.status, 404);
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn a_user_who_left_is_not_back_after_a_minute() {
    for (status, expected) in [(404, 404), (451, 502)] {
        run(async |world| {
            let instance = world.instance();
            for target in ["/octocat", "/octocat?page=2", "/octocat?page=3"] {
                instance.get(target).await;
            }
            world.github(move |_| failure(status, &[]));
            assert_eq!(instance.get("/octocat?use_cache=false").await.status, expected);
            seconds(61).await;
            // The second page is still fresh, and is not answered.
            assert_eq!(world.instance().get("/octocat?page=2").await.status, expected);
            seconds(61).await;
            // Nor is the third while GitHub fails, fresh or stale.
            world.github(|_| failure(503, &[]));
            assert_eq!(instance.get("/octocat?page=3").await.status, 502);
            seconds(400).await;
            assert_eq!(instance.get("/octocat?page=3").await.status, 502);
        });
    }
}

#[test]
fn a_451_holds_for_all_pages_at_once() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat?page=2").await;
        world.github(|_| failure(451, &[]));
        assert_eq!(instance.get("/octocat").await.status, 502);
        let answer = instance.get("/octocat?page=2").await;
        assert_eq!((answer.status, answer.body.as_str()), (502, r#"{"detail":"GitHub error: 451"}"#));
    });
}

#[test]
fn a_name_that_is_back_has_no_pages_from_before() {
    run(async |world| {
        let instance = world.instance();
        for target in ["/octocat", "/octocat?page=2", "/octocat?page=3"] {
            instance.get(target).await;
        }
        world.github(|_| failure(404, &[]));
        assert_eq!(instance.get("/octocat?use_cache=false").await.status, 404);
        world.github(|_| page("new"));
        // One request finds it out, within the minute or after it.
        assert_eq!(instance.get("/octocat?use_cache=false").await.status, 200);
        for target in ["/octocat", "/octocat?page=2"] {
            assert_eq!(instance.get(target).await.json()["data"][0]["description"], "new", "{target}");
            assert!(instance.get(target).await.is_hit(), "{target}");
        }
        seconds(61).await;
        assert_eq!(instance.get("/octocat?page=3").await.json()["data"][0]["description"], "new");
    });
}

#[test]
fn a_small_ttl_is_a_ttl() {
    run(async |world| {
        world.set("cache_ttl", "1");
        let instance = world.instance();
        let answer = instance.get("/octocat").await;
        assert_eq!(answer.json()["cache"]["ttl_seconds"], 1);
        assert_eq!(instance.get("/octocat").await.cache_status().split("; detail").count(), 1);
        millis(1200).await;
        assert!(instance.get("/octocat").await.cache_status().contains("revalidating"));
    });
}
