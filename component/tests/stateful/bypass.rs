//! Requests with `use_cache=false`, which bypass the cache.

use crate::fake::{failure, page, run, seconds};

#[test]
fn a_bypass_asks_and_stores() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        world.github(|_| page("new"));
        let answer = instance.get("/octocat?use_cache=false").await;
        assert!(!answer.is_hit());
        assert_eq!(
            (answer.cache_status(), answer.header("cache-control")),
            ("gists; fwd=bypass; stored", "no-store")
        );
        assert_eq!(answer.header("age"), "");
        let hit = instance.get("/octocat").await;
        assert!(hit.is_hit());
        assert_eq!(hit.json()["data"][0]["description"], "new");
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn a_bypass_sends_the_validator_and_takes_a_304_for_an_answer() {
    run(async |world| {
        let instance = world.instance();
        let first = instance.get("/octocat").await;
        world.github(|asked| match asked.headers.contains_key("if-none-match") {
            true => failure(304, &[]),
            false => page("new"),
        });
        seconds(30).await;
        let answer = instance.get("/octocat?use_cache=false").await;
        assert_eq!(world.last_asked().headers["if-none-match"], "W/\"octocat\"");
        assert!(!answer.is_hit());
        assert_eq!(answer.cache_status(), "gists; fwd=bypass; fwd-status=304; stored");
        assert_eq!(answer.json()["data"], first.json()["data"]);
        // The stored page is as young as the answer.
        assert_eq!(instance.get("/octocat").await.header("age"), "0");
        // A validator belongs to its credential.
        world.set("github_token", "other");
        world.instance().get("/octocat?use_cache=false").await;
        assert!(!world.last_asked().headers.contains_key("if-none-match"));
    });
}

#[test]
fn concurrent_bypasses_send_one_request() {
    run(async |world| {
        let (one, two) = (world.instance(), world.instance());
        one.get("/octocat").await;
        let tasks: Vec<_> =
            [&one, &two, &one, &two].map(|instance| instance.start("/octocat?use_cache=false")).into();
        for task in tasks {
            assert!(!task.await.unwrap().is_hit());
        }
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn a_bypass_never_answers_stale() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        world.github(|_| failure(500, &[]));
        assert_eq!(instance.get("/octocat?use_cache=false").await.status, 502);
        // The entry is still stored and fresh.
        assert!(instance.get("/octocat").await.is_hit());
        assert!(world.instance().get("/octocat").await.is_hit());
    });
}

#[test]
fn a_bypass_may_know_better_than_a_remembered_404() {
    run(async |world| {
        let instance = world.instance();
        world.github(|_| failure(404, &[]));
        instance.get("/octocat").await;
        let refused = instance.get("/octocat?use_cache=false").await;
        assert_eq!((refused.status, refused.header("cache-control")), (404, "no-store"));
        world.github(|_| page("x"));
        assert_eq!(instance.get("/octocat?use_cache=false").await.status, 200);
        assert_eq!(instance.get("/octocat?page=2").await.status, 200);
        seconds(1).await;
    });
}
