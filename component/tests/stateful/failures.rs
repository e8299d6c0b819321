//! Stores that fail: requests are answered without them.

use std::time::Duration;

use crate::fake::{failure, page, run, seconds};

/// A page of more than 2,000 bytes.
fn large_page() -> gists::ports::FetchResponse {
    page(&"x".repeat(2000))
}

#[test]
fn without_a_store_github_is_asked_and_answers() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        world.store.down.set(true);
        let tasks: Vec<_> = (0..10).map(|_| instance.start("/octocat")).collect();
        for task in tasks {
            let answer = task.await.unwrap();
            assert_eq!((answer.status, answer.is_hit()), (200, false));
        }
        assert_eq!(world.asked(), 2, "an instance's requests still share one call");
        assert!(world.logs.borrow().iter().any(|line| line.contains("the store is down")));
        assert_eq!(instance.get("/ready").await.status, 200);
        assert_eq!(instance.get("/cache/stats").await.status, 503);
        world.store.down.set(false);
        seconds(5).await;
        assert!(instance.get("/octocat").await.is_hit());
        assert!(world.counter("metric:store-errors") >= 10);
    });
}

#[test]
fn a_store_that_is_not_granted_is_as_good_as_none() {
    run(async |world| {
        world.set("cache_store", "shared");
        let instance = world.instance();
        assert_eq!(instance.get("/octocat").await.status, 200);
        assert_eq!(instance.get("/octocat").await.status, 200);
        assert_eq!(world.asked(), 2);
        assert!(world.logs.borrow().iter().any(|line| line.contains("denied")));
    });
}

#[test]
fn a_store_that_fails_on_the_way_costs_no_answer() {
    run(async |world| {
        let instance = world.instance();
        let request = instance.start("/octocat");
        crate::fake::millis(50).await;
        world.store.down.set(true);
        assert_eq!(request.await.unwrap().status, 200);
    });
}

#[test]
fn counts_wait_for_a_metrics_store_that_comes_back() {
    run(async |world| {
        world.metrics.down.set(true);
        let instance = world.instance();
        for _ in 0..3 {
            assert_eq!(instance.get("/health").await.status, 200);
            seconds(1).await;
        }
        assert_eq!(instance.get("/metrics").await.status, 503);
        world.metrics.down.set(false);
        instance.get("/health").await;
        seconds(1).await;
        assert_eq!(world.counter("metric:requests:/health:GET:200"), 4);
    });
}

#[test]
fn a_failure_of_many_requests_is_logged_once_a_second() {
    run(async |world| {
        world.github(|_| failure(429, &[("retry-after", "600")]));
        let instance = world.instance();
        for _ in 0..100 {
            assert_eq!(instance.get("/octocat").await.status, 429);
        }
        assert!(world.logs.borrow().len() <= 2, "{:?}", world.logs.borrow());
        seconds(2).await;
        instance.get("/octocat").await;
        assert!(world.logs.borrow().len() >= 2);
    });
}

#[test]
fn a_page_that_the_store_refuses_reaches_everybody_who_waits() {
    run(async |world| {
        world.store.max_value.set(1000);
        let delay = Duration::from_secs(2);
        world.github_after(delay, |_| Ok(large_page()));
        let instances: Vec<_> = (0..5).map(|_| world.instance()).collect();
        let began = tokio::time::Instant::now();
        let tasks: Vec<_> = instances.iter().map(|instance| instance.start("/octocat")).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().status, 200);
        }
        // Whoever waited asks as soon as the first one's outcome is there.
        assert!(began.elapsed() < 2 * delay + Duration::from_millis(200), "{:?}", began.elapsed());
        assert_eq!(world.asked(), 5);
        let began = tokio::time::Instant::now();
        assert_eq!(world.instance().get("/octocat").await.status, 200);
        assert!(began.elapsed() < delay + Duration::from_millis(10), "{:?}", began.elapsed());
        assert_eq!(world.store.keys_with("lease:"), Vec::<String>::new());
    });
}

#[test]
fn a_page_that_has_grown_too_large_leaves_its_stale_entry() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        world.store.max_value.set(1000);
        world.github(|_| large_page());
        seconds(400).await;
        let answer = instance.get("/octocat").await;
        assert!(!answer.is_hit() && answer.body.len() > 2000);
        world.github(|_| failure(503, &[]));
        let answer = instance.get("/octocat").await;
        assert!(answer.is_hit() && answer.body.len() < 1000);
    });
}
