//! `DELETE /cache`, which ends a generation.

use std::time::Duration;

use gists::cache::key::GenerationRecord;

use crate::fake::{Rng, TestRequest, failure, millis, page, run, seconds};

const HOUR: Duration = Duration::from_secs(3600);

fn delete() -> TestRequest {
    TestRequest::get("/cache").method("DELETE")
}

#[test]
fn clearing_forgets_entries_and_statistics() {
    run(async |world| {
        let instance = world.instance();
        for target in ["/octocat", "/octocat", "/other", "/other?page=2"] {
            instance.get(target).await;
        }
        let stats = instance.get("/cache/stats").await;
        assert_eq!(stats.body, r#"{"size":3,"hits":1,"misses":3,"hit_rate":0.25,"ttl_seconds":300}"#);
        let answer = instance.send(&delete()).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, r#"{"message":"Cache cleared successfully"}"#)
        );
        let stats = world.instance().get("/cache/stats").await;
        assert_eq!(stats.body, r#"{"size":0,"hits":0,"misses":0,"hit_rate":0.0,"ttl_seconds":300}"#);
        assert!(!instance.get("/octocat").await.is_hit());
    });
}

#[test]
fn an_instance_sees_at_once_that_another_one_has_cleared_the_cache() {
    run(async |world| {
        let (one, other) = (world.instance(), world.instance());
        for instance in [&one, &one, &other] {
            instance.get("/octocat").await;
        }
        assert!(one.get("/octocat").await.is_hit());
        assert_eq!(other.send(&delete()).await.status, 200);
        assert!(!one.get("/octocat").await.is_hit(), "the instance has seen the generation before");
        assert!(one.get("/octocat").await.is_hit());
        assert!(other.get("/octocat").await.is_hit());
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn a_fetch_in_flight_brings_nothing_back() {
    run(async |world| {
        let (one, two) = (world.instance(), world.instance());
        let filling = one.start("/octocat");
        millis(50).await;
        two.send(&delete()).await;
        world.github(|_| page("new"));
        assert_eq!(filling.await.unwrap().status, 200);
        let answer = two.get("/octocat").await;
        assert!(!answer.is_hit());
        assert_eq!(answer.json()["data"][0]["description"], "new");
        assert!(one.get("/octocat").await.is_hit());
    });
}

#[test]
fn a_late_flush_does_not_undo_the_reset() {
    run(async |world| {
        let (one, two) = (world.instance(), world.instance());
        one.get("/octocat").await;
        one.get("/octocat").await;
        two.send(&delete()).await;
        seconds(2).await;
        let stats = two.get("/cache/stats").await;
        assert_eq!(stats.json()["hits"], 0);
        assert_eq!(world.store.keys_with(":stats:"), Vec::<String>::new(), "nothing of the old generation");
    });
}

#[test]
fn clearing_asks_for_the_token_where_one_is_set() {
    run(async |world| {
        world.set("admin_token", "s3cret");
        let instance = world.instance();
        instance.get("/octocat").await;
        for request in [
            delete(),
            delete().header("authorization", "s3cret"),
            delete().header("authorization", "Bearer wrong"),
            delete().header("authorization", "Bearer s3cret2"),
            delete().header("authorization", "Basic s3cret"),
            delete().header("authorization", "Bearer s3cret").header("authorization", "Bearer s3cret"),
        ] {
            let answer = instance.send(&request).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{request:?}");
        }
        assert!(instance.get("/octocat").await.is_hit());
        let request = delete().header("authorization", "bearer s3cret");
        assert_eq!(instance.send(&request).await.status, 200);
        assert!(!instance.get("/octocat").await.is_hit());
    });
}

#[test]
fn a_store_with_a_time_to_live_keeps_the_cache_that_is_used() {
    run(async |world| {
        world.store.ttl.set(Some(48 * HOUR));
        let instances = [world.instance(), world.instance()];
        let mut asked = 0;
        // Every page is refreshed long before its time to live is over.
        for round in 0..6 * 24 * 5 {
            let instance = &instances[round % 2];
            instance.get("/octocat").await;
            asked += 1;
            assert!(instance.get("/octocat").await.is_hit());
            seconds(600).await;
        }
        assert_eq!(world.asked(), asked);
        let stats = instances[0].get("/cache/stats").await.json();
        let count = i64::try_from(asked).unwrap();
        assert_eq!(
            (&stats["size"], &stats["hits"], &stats["misses"]),
            (&1.into(), &count.into(), &count.into())
        );
    });
}

#[test]
fn stale_entries_outlive_the_first_generation_s_time_to_live() {
    run(async |world| {
        world.store.ttl.set(Some(48 * HOUR));
        let instance = world.instance();
        for _ in 0..47 {
            instance.get("/octocat").await;
            seconds(3600).await;
        }
        instance.get("/octocat").await;
        world.github(|_| failure(503, &[]));
        for hour in 0..23 {
            seconds(3600).await;
            assert!(instance.get("/octocat").await.is_hit(), "{hour} hours after GitHub failed");
        }
    });
}

/// A generation that is written again while `DELETE /cache` ends it stays ended.
#[test]
fn a_renewal_does_not_undo_a_clearing() {
    for seed in 0..100 {
        run(async |world| {
            let rng = Rng::new(seed);
            world.set("cache_ttl", "1");
            let instances: Vec<_> = (0..4).map(|_| world.instance()).collect();
            instances[0].get("/octocat").await;
            seconds(120).await;
            world.store.latency.set(50);
            let fetching: Vec<_> =
                instances.iter().map(|instance| instance.start("/octocat?use_cache=false")).collect();
            millis(rng.below(600)).await;
            let before = world.store.bytes(GenerationRecord::KEY).unwrap();
            assert_eq!(world.instance().send(&delete()).await.status, 200);
            for fetch in fetching {
                assert_eq!(fetch.await.unwrap().status, 200);
            }
            seconds(1).await;
            let after = world.store.bytes(GenerationRecord::KEY).unwrap();
            assert_ne!(before[..8], after[..8], "seed {seed}: the old generation is back");
        });
    }
}
