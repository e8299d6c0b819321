//! Stores that evict: any key may be gone at any moment. Both shipped configurations have such a store.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use crate::fake::{Instance, Rng, TestRequest, failure, millis, name_in, page, run, seconds};

async fn size(instance: &Instance) -> u64 {
    instance.get("/cache/stats").await.json()["size"].as_u64().unwrap()
}

#[test]
fn a_page_that_is_evicted_and_fetched_again_is_one_page() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        for _ in 0..50 {
            let keys = world.store.keys_with(":gists:");
            world.store.remove(&keys[0]);
            assert!(!instance.get("/octocat").await.is_hit());
            assert_eq!(size(&instance).await, 1);
        }
        let keys = world.store.keys_with(":gists:");
        world.store.remove(&keys[0]);
        assert_eq!(size(&instance).await, 0);
    });
}

#[test]
fn a_page_that_github_takes_back_counts_no_more() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        instance.get("/other").await;
        world.github(|_| failure(404, &[]));
        assert_eq!(instance.get("/octocat?use_cache=false").await.status, 404);
        assert_eq!(size(&instance).await, 1);
    });
}

#[test]
fn the_size_of_a_large_cache_that_evicts_is_an_estimate() {
    run(async |world| {
        let instance = world.instance();
        for user in 0..400 {
            instance.get(&format!("/user{user}")).await;
        }
        assert_eq!(size(&instance).await, 400, "exact where nothing was evicted");
        let rng = Rng::new(1);
        for _ in 0..300 {
            let keys = world.store.keys_with(":gists:");
            let nth = usize::try_from(rng.below(keys.len().try_into().unwrap())).unwrap();
            world.store.remove(&keys[nth]);
        }
        let size = size(&instance).await;
        assert!((60..=140).contains(&size), "{size} of 100");
    });
}

#[test]
fn a_ring_whose_sequence_is_lost_keeps_its_bound() {
    run(async |world| {
        world.set("cache_entries", "5");
        let instance = world.instance();
        for round in 0..10 {
            for user in 0..8 {
                instance.get(&format!("/user{round}-{user}")).await;
            }
            assert_eq!(size(&instance).await, 5, "round {round}");
            world.store.remove("ring:entries:seq");
            assert!(size(&instance).await <= 5);
        }
        for user in 0..8 {
            instance.get(&format!("/user9-{user}?use_cache=false")).await;
        }
        assert_eq!(size(&instance).await, 5);
    });
}

#[test]
fn a_slot_that_is_lost_comes_back_with_its_page() {
    run(async |world| {
        world.set("cache_entries", "2");
        let instance = world.instance();
        instance.get("/octocat").await;
        let slots = world.store.keys_with("ring:entries:");
        world.store.remove(slots.iter().find(|key| !key.ends_with(":seq")).unwrap());
        instance.get("/octocat?use_cache=false").await;
        assert_eq!(size(&instance).await, 1);
        for user in ["/a", "/b"] {
            instance.get(user).await;
        }
        assert_eq!(world.store.keys_with(":octocat:"), Vec::<String>::new(), "displaced");
    });
}

#[test]
fn who_waits_for_a_page_that_is_evicted_at_once_asks_at_once() {
    run(async |world| {
        let waiting: Vec<_> = (0..3).map(|_| world.instance()).collect();
        let asking: Vec<_> = waiting.iter().map(|instance| instance.start("/octocat")).collect();
        // The fetch takes 100 ms. Whoever waits looks every 100 ms at the latest.
        let began = tokio::time::Instant::now();
        while world.store.keys_with(":gists:").is_empty() {
            millis(1).await;
        }
        world.store.remove(&world.store.keys_with(":gists:")[0]);
        for asked in asking {
            assert_eq!(asked.await.unwrap().status, 200);
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    });
}

#[derive(Debug, Clone)]
struct Schedule {
    seed: u64,
    evicting: u64,
    latency: u64,
    entries: u64,
    steps: u64,
}

fn schedules() -> impl Strategy<Value = Schedule> {
    (any::<u64>(), 1..=60_u64, 0..20_u64, 1..12_u64, 10..60_u64).prop_map(
        |(seed, evicting, latency, entries, steps)| Schedule { seed, evicting, latency, entries, steps },
    )
}

/// Asks for `target` in `instance`. The answer must be right, and there as soon as a few fetches take.
async fn ask(instance: &Instance, target: &str, oldest: u64) {
    let began = tokio::time::Instant::now();
    let answer = instance.get(target).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{target}: {:?}", began.elapsed());
    if target.starts_with("/nobody") {
        assert_eq!(answer.status, 404, "{target}: {}", answer.body);
        return;
    }
    assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    let description = answer.json()["data"][0]["description"].as_str().unwrap().to_owned();
    let (user, version) = description.split_once(' ').unwrap();
    assert!(target.starts_with(&format!("/{user}")), "{target} is answered by {description}");
    assert!(version.parse::<u64>().unwrap() >= oldest, "{target}: {description} was cleared");
}

async fn play(world: Rc<crate::fake::World>, schedule: Schedule) {
    let rng = Rng::new(schedule.seed);
    let version = Rc::new(Cell::new(0));
    let answered = Rc::clone(&version);
    world.github(move |asked| match name_in(&asked.path) {
        name if name.starts_with("nobody") => failure(404, &[]),
        name => page(&format!("{name} {}", answered.get())),
    });
    world.set("cache_entries", &schedule.entries.to_string());
    world.store.latency.set(schedule.latency);
    world.store.evicting.set(schedule.evicting);
    world.metrics.evicting.set(schedule.evicting);
    let instances: Vec<_> = (0..4).map(|_| world.instance()).collect();
    let any_instance = || &instances[usize::try_from(rng.below(4)).unwrap()];
    for _ in 0..schedule.steps {
        match rng.below(10) {
            0 => {
                version.set(version.get() + 1);
                let request = TestRequest::get("/cache").method("DELETE");
                assert_eq!(instances[0].send(&request).await.status, 200);
            }
            1 => seconds(rng.below(400)).await,
            2 => {
                let stats = instances[1].get("/cache/stats").await.json();
                assert!(stats["size"].as_u64().unwrap() <= schedule.entries, "{stats}");
                assert!((0.0..=1.0).contains(&stats["hit_rate"].as_f64().unwrap()), "{stats}");
                assert_eq!(instances[2].get("/metrics").await.status, 200);
            }
            _ => {
                let targets: Vec<_> = (0..rng.below(6))
                    .map(|_| match rng.below(8) {
                        0 => format!("/nobody{}", rng.below(3)),
                        1 => format!("/user{}?use_cache=false", rng.below(5)),
                        _ => format!("/user{}", rng.below(5)),
                    })
                    .collect();
                let asking = targets.iter().map(|target| ask(any_instance(), target, version.get()));
                futures::future::join_all(asking).await;
            }
        }
    }
    // The store has room again. Soon everything works as if nothing had happened.
    world.store.evicting.set(0);
    seconds(20).await;
    for leftover in ["lease:", "permit:"] {
        assert_eq!(world.store.keys_with(leftover), Vec::<String>::new());
    }
    for instance in &instances {
        ask(instance, "/user0", version.get()).await;
    }
    assert!(instances[3].get("/user0").await.is_hit());
    // A page whose slot is lost is counted again once the page is written.
    ask(&instances[0], "/user0?use_cache=false", version.get()).await;
    assert!((1..=schedule.entries).contains(&size(&instances[3]).await));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_right_and_in_time_whatever_is_evicted(schedule in schedules()) {
        run(async |world| play(world, schedule).await);
    }
}
