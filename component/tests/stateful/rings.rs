//! The rings: a store that never evicts stays bounded.

use crate::fake::{failure, millis, page, run, seconds};

#[test]
fn the_ring_keeps_as_many_entries_as_it_has_slots() {
    run(async |world| {
        world.set("cache_entries", "10");
        let instance = world.instance();
        for user in 0..50 {
            instance.get(&format!("/user{user}")).await;
        }
        seconds(1).await;
        assert_eq!(world.store.keys_with(":gists:").len(), 10);
        assert_eq!(world.store.keys_with("ring:entries:").len(), 11);
        assert_eq!(instance.get("/cache/stats").await.json()["size"], 10);
        assert!(instance.get("/user49").await.is_hit());
        assert!(!instance.get("/user0").await.is_hit());
    });
}

#[test]
fn refreshing_takes_no_further_slot() {
    run(async |world| {
        world.set("cache_entries", "3");
        let instance = world.instance();
        for user in ["/a", "/b", "/c"] {
            instance.get(user).await;
        }
        for _ in 0..10 {
            instance.get("/a?use_cache=false").await;
        }
        for user in ["/a", "/b", "/c"] {
            assert!(instance.get(user).await.is_hit());
        }
    });
}

#[test]
fn concurrent_fetches_beyond_the_capacity_leave_nothing_behind() {
    run(async |world| {
        world.set("cache_entries", "3");
        world.store.latency.set(40);
        let instances: Vec<_> = (0..6).map(|_| world.instance()).collect();
        let tasks: Vec<_> = (0..60).map(|user| instances[user % 6].start(&format!("/user{user}"))).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().status, 200);
        }
        seconds(5).await;
        let entries = world.store.keys_with(":gists:");
        let slots = world.store.keys_with("ring:entries:");
        assert!(entries.len() <= 3, "{entries:?}");
        assert!(slots.len() <= 4, "{slots:?}");
    });
}

#[test]
fn enumerating_names_evicts_no_entry_and_leaves_little() {
    run(async |world| {
        world.set("cache_entries", "5");
        let instance = world.instance();
        instance.get("/octocat").await;
        world.github(|_| failure(404, &[]));
        for user in 0..2000 {
            instance.get(&format!("/nobody{user}")).await;
        }
        world.github(|_| page("x"));
        let notes = world.store.keys_with(":absent:").len() + world.store.keys_with(":gists:").len();
        assert!(notes <= 1025, "{notes} records");
        seconds(1).await;
        assert_eq!(instance.get("/cache/stats").await.json()["size"], 1);
        millis(1).await;
        let entries = world.store.keys_with("octocat");
        assert_eq!(entries.len(), 1, "{entries:?}");
    });
}

#[test]
fn old_generations_go_as_the_ring_turns() {
    run(async |world| {
        world.set("cache_entries", "4");
        let instance = world.instance();
        for round in 0..5 {
            for user in 0..4 {
                instance.get(&format!("/user{round}-{user}")).await;
            }
            instance.send(&crate::fake::TestRequest::get("/cache").method("DELETE")).await;
        }
        assert!(world.store.keys_with(":gists:").len() <= 4);
    });
}
