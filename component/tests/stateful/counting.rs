//! Counters: exact after a second, and never written while a request waits.

use crate::fake::{StoreCalls, TestRequest, failure, millis, page, run, seconds};

#[test]
fn a_hit_costs_one_read_and_nothing_else() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        seconds(2).await;
        world.store.take_calls();
        world.metrics.take_calls();
        for _ in 0..10 {
            assert!(instance.get("/octocat").await.is_hit());
        }
        let calls = world.store.take_calls();
        assert_eq!((calls.gets.len(), calls.get_manys, calls.writes()), (0, 10, 0));
        assert_eq!(world.metrics.take_calls(), StoreCalls::default());
    });
}

#[test]
fn the_first_counts_of_an_instance_are_written_right_after_its_response() {
    run(async |world| {
        world.instance().get("/octocat").await;
        seconds(2).await;
        let began = tokio::time::Instant::now();
        for hits in 1..=5 {
            let instance = world.instance();
            world.metrics.take_calls();
            assert!(instance.get("/octocat").await.is_hit());
            assert_eq!(
                world.metrics.take_calls(),
                StoreCalls::default(),
                "written before the response was there"
            );
            // The paused clock does not advance: only tasks that are ready run.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(world.counter("metric:hits"), hits);
            assert_eq!(world.counter("metric:requests:/{username}:GET:200"), hits + 1);
        }
        assert!(began.elapsed().is_zero());
    });
}

#[test]
fn after_the_first_time_counts_gather_before_they_are_written() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        seconds(2).await;
        let before = world.counter("metric:hits");
        for _ in 0..5 {
            instance.get("/octocat").await;
        }
        millis(400).await;
        assert_eq!(world.counter("metric:hits"), before);
        millis(100).await;
        assert_eq!(world.counter("metric:hits"), before + 5);
    });
}

#[test]
fn a_flush_writes_each_key_at_most_thrice_a_second() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        seconds(2).await;
        world.store.take_calls();
        world.metrics.take_calls();
        // A load of ten seconds.
        for _ in 0..1000 {
            instance.get("/octocat").await;
            millis(10).await;
        }
        seconds(1).await;
        for calls in [world.store.take_calls(), world.metrics.take_calls()] {
            let mut keys = calls.increments.clone();
            keys.extend(calls.sets);
            keys.sort();
            for same in keys.chunk_by(|a, b| a == b) {
                assert!(same.len() <= 30, "{} writes to {} in ten seconds", same.len(), same[0]);
            }
        }
        assert_eq!(world.counter("metric:hits"), 1000);
        assert_eq!(world.counter("metric:requests:/{username}:GET:200"), 1001);
    });
}

#[test]
fn totals_are_exact_across_instances_a_second_later() {
    run(async |world| {
        let instances: Vec<_> = (0..5).map(|_| world.instance()).collect();
        for instance in &instances {
            for _ in 0..20 {
                instance.get("/octocat").await;
            }
            instance.get("/nope?page=x").await;
            instance.send(&TestRequest::get("/octocat").method("BREW")).await;
        }
        seconds(1).await;
        let text = world.instance().get("/metrics").await.body;
        for line in [
            r#"http_requests_total{endpoint="/{username}",method="GET",status="200"} 100"#,
            r#"http_requests_total{endpoint="/{username}",method="GET",status="422"} 5"#,
            r#"http_requests_total{endpoint="/{username}",method="OTHER",status="405"} 5"#,
            r#"http_request_duration_seconds_count{endpoint="/{username}",method="GET"} 105"#,
            r#"github_api_requests_total{status="200"} 1"#,
            "cache_hits_total 99",
            "cache_misses_total 1",
            "github_rate_limit_remaining 57",
            // The scrape itself.
            "http_requests_active 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        let stats = instances[0].get("/cache/stats").await;
        assert_eq!(stats.body, r#"{"size":1,"hits":99,"misses":1,"hit_rate":0.99,"ttl_seconds":300}"#);
    });
}

#[test]
fn a_scrape_creates_no_counters() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/metrics").await;
        seconds(2).await;
        let before = world.metrics.keys();
        instance.get("/metrics").await;
        seconds(2).await;
        let after = world.metrics.keys();
        assert!(after.len() <= before.len() + 2, "{after:?}");
        assert!(after.iter().all(|key| key.starts_with("metric:")));
    });
}

#[test]
fn a_bypass_is_a_miss_for_prometheus_only() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat?use_cache=false").await;
        world.github(|_| failure(404, &[]));
        instance.get("/nobody").await;
        instance.get("/nobody").await;
        let stats = instance.get("/cache/stats").await.json();
        assert_eq!((stats["hits"].as_i64(), stats["misses"].as_i64()), (Some(1), Some(1)));
        let text = instance.get("/metrics").await.body;
        assert!(
            text.contains("\ncache_misses_total 2\n") && text.contains("\ncache_hits_total 1\n"),
            "{text}"
        );
    });
}

#[test]
fn requests_that_wait_are_seen_by_others_and_forgotten_when_their_instance_dies() {
    run(async |world| {
        world.github_after(std::time::Duration::from_secs(8), |_| Ok(page("x")));
        let (working, watching) = (world.instance(), world.instance());
        let active = async |instance: &crate::fake::Instance| {
            let text = instance.get("/metrics").await.body;
            let line = text.lines().find_map(|line| line.strip_prefix("http_requests_active ")).unwrap();
            line.parse::<u64>().unwrap()
        };
        assert_eq!(active(&watching).await, 1);
        drop([working.start("/a"), working.start("/b"), working.start("/c")]);
        seconds(2).await;
        assert_eq!(active(&watching).await, 4);
        working.crash();
        seconds(10).await;
        assert_eq!(active(&watching).await, 1);
    });
}

#[test]
fn a_finished_instance_reports_nothing_active() {
    run(async |world| {
        let (working, watching) = (world.instance(), world.instance());
        working.get("/a").await;
        seconds(1).await;
        let text = watching.get("/metrics").await.body;
        assert!(text.contains("\nhttp_requests_active 1\n"), "{text}");
    });
}
