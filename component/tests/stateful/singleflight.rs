//! Singleflight: of many concurrent requests for the same page, one asks GitHub.

use std::time::Duration;

use gists::ports::FetchError;

use crate::fake::{self, failure, millis, page, run, seconds};

#[test]
fn a_hundred_concurrent_misses_send_one_request() {
    run(async |world| {
        let instance = world.instance();
        let tasks: Vec<_> = (0..100).map(|_| instance.start("/octocat")).collect();
        let mut collapsed = 0;
        for task in tasks {
            let answer = task.await.unwrap();
            assert_eq!((answer.status, answer.is_hit()), (200, false));
            collapsed += usize::from(answer.cache_status().contains("collapsed"));
        }
        assert_eq!((world.asked(), collapsed), (1, 99));
    });
}

#[test]
fn a_hundred_instances_send_one_request() {
    run(async |world| {
        let instances: Vec<_> = (0..100).map(|_| world.instance()).collect();
        let tasks: Vec<_> = instances.iter().map(|instance| instance.start("/octocat")).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().status, 200);
        }
        assert_eq!(world.asked(), 1);
        assert_eq!(world.store.keys_with("lease:"), Vec::<String>::new(), "leases are released");
    });
}

#[test]
fn a_hundred_instances_with_an_empty_slow_store_send_one_request() {
    run(async |world| {
        world.store.latency.set(50);
        let instances: Vec<_> = (0..100).map(|_| world.instance()).collect();
        let tasks: Vec<_> = instances.iter().map(|instance| instance.start("/octocat")).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().status, 200);
        }
        assert_eq!(world.asked(), 1);
    });
}

#[test]
fn errors_are_shared_too() {
    run(async |world| {
        world.github(|_| failure(503, &[]));
        let instances: Vec<_> = (0..20).map(|_| world.instance()).collect();
        let tasks: Vec<_> = instances
            .iter()
            .flat_map(|instance| [instance.start("/octocat"), instance.start("/octocat")])
            .collect();
        for task in tasks {
            let answer = task.await.unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (502, r#"{"detail":"GitHub error: 503"}"#));
        }
        assert_eq!(world.asked(), 1);
        // The failure is shared for a second. After that, GitHub is asked again.
        assert_eq!(instances[0].get("/octocat").await.status, 502);
        assert_eq!(world.asked(), 1);
        seconds(1).await;
        world.github(|_| page("x"));
        assert_eq!(instances[1].get("/octocat").await.status, 200);
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn a_holder_that_dies_is_replaced() {
    run(async |world| {
        world.github_after(Duration::from_secs(3), |asked| Ok(page(&fake::name_in(&asked.path))));
        let (first, second, third) = (world.instance(), world.instance(), world.instance());
        drop(first.start("/octocat"));
        millis(500).await;
        let tasks = [second.start("/octocat"), third.start("/octocat")];
        millis(500).await;
        first.crash();
        for task in tasks {
            assert_eq!(task.await.unwrap().status, 200);
        }
        assert_eq!(world.asked(), 2, "the request of the dead instance, and the one of its successor");
        let asked = world.asked.borrow();
        assert!(asked[1].at - asked[0].at >= Duration::from_secs(15), "not before the lease is over");
    });
}

/// Asks for `/octocat` and expects a page at once: as soon as GitHub has answered.
async fn expect_page_at_once(instance: &fake::Instance) {
    let began = tokio::time::Instant::now();
    assert_eq!(instance.get("/octocat").await.status, 200);
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}

#[test]
fn a_lease_that_was_left_behind_costs_nothing_hours_later() {
    for crowd in [1, 30] {
        run(async |world| {
            world.github_after(Duration::from_secs(3), |_| Ok(page("x")));
            let dying = world.instance();
            drop(dying.start("/octocat"));
            millis(500).await;
            dying.crash();
            world.github(|_| page("x"));
            seconds(2 * 3600).await;
            let instances: Vec<_> = (0..crowd).map(|_| world.instance()).collect();
            let asking = instances.iter().map(expect_page_at_once);
            futures::future::join_all(asking).await;
            assert_eq!(world.asked(), 2);
            assert_eq!(world.store.keys_with("lease:"), Vec::<String>::new(), "the old one is gone as well");
        });
    }
}

#[test]
fn a_lease_whose_answer_was_lost_costs_nothing_hours_later() {
    run(async |world| {
        let instance = world.instance();
        world.store.loses_answers.set(true);
        expect_page_at_once(&instance).await;
        world.store.loses_answers.set(false);
        assert_eq!(world.store.keys_with("lease:").len(), 1);
        seconds(3600).await;
        expect_page_at_once(&instance).await;
    });
}

#[test]
fn a_lease_is_released_when_the_store_is_back() {
    run(async |world| {
        world.github_after(Duration::from_secs(1), |_| Ok(page("x")));
        let asking = world.instance().start("/octocat");
        millis(500).await;
        world.store.down.set(true);
        assert_eq!(asking.await.unwrap().status, 200);
        seconds(3).await;
        world.store.down.set(false);
        seconds(4).await;
        world.github(|_| page("x"));
        expect_page_at_once(&world.instance()).await;
    });
}

#[test]
fn a_client_that_leaves_does_not_end_the_fetch() {
    run(async |world| {
        let instance = world.instance();
        let gone = instance.start("/octocat");
        millis(20).await;
        gone.abort();
        seconds(1).await;
        assert!(instance.get("/octocat").await.is_hit());
        assert_eq!(world.asked(), 1);
    });
}

#[test]
fn different_pages_do_not_wait_for_each_other() {
    run(async |world| {
        let instance = world.instance();
        let tasks: Vec<_> = (1..=10).map(|page| instance.start(&format!("/octocat?page={page}"))).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().status, 200);
        }
        assert_eq!(world.asked(), 10);
        assert!(world.at_once.get().1 > 5);
    });
}

#[test]
fn no_more_requests_are_in_flight_than_the_setting_says() {
    run(async |world| {
        world.set("upstream_concurrency", "4");
        let instances: Vec<_> = (0..8).map(|_| world.instance()).collect();
        let tasks: Vec<_> = (0..40).map(|user| instances[user % 8].start(&format!("/user{user}"))).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().status, 200);
        }
        assert_eq!((world.asked(), world.at_once.get()), (40, (0, 4)));
        assert_eq!(world.store.keys_with("permit:"), Vec::<String>::new());
    });
}

#[test]
fn a_dead_process_s_permit_comes_back() {
    run(async |world| {
        world.set("upstream_concurrency", "1");
        world.github_after(Duration::from_secs(60), |_| Err(FetchError::Timeout));
        let dying = world.instance();
        drop(dying.start("/first"));
        millis(100).await;
        dying.crash();
        world.github(|_| page("x"));
        // Two periods of the permits.
        seconds(30).await;
        assert_eq!(world.instance().get("/second").await.status, 200);
    });
}

#[test]
fn one_name_in_two_cases_is_one_key() {
    run(async |world| {
        let instance = world.instance();
        assert!(!instance.get("/OctoCat").await.is_hit());
        assert!(instance.get("/octocat").await.is_hit());
        assert!(instance.get("/users/OCTOCAT/gists").await.is_hit());
        assert_eq!(world.asked(), 1);
    });
}

#[test]
fn a_slow_github_is_a_504_within_its_time() {
    run(async |world| {
        world.github_after(Duration::from_secs(3600), |_| Err(FetchError::Timeout));
        let instance = world.instance();
        let before = tokio::time::Instant::now();
        let answer = instance.get("/octocat").await;
        assert_eq!((answer.status, answer.body.as_str()), (504, r#"{"detail":"GitHub API timeout"}"#));
        assert!(before.elapsed() < Duration::from_millis(10_100));
        seconds(1).await;
        assert_eq!(world.counter("metric:github:timeout"), 1);
    });
}
