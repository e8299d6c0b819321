//! Two versions of the service on one store, as in a rollout. Their formats differ.

use std::time::Duration;

use crate::fake::{TestRequest, Version, failure, page, run};

#[test]
fn two_formats_do_not_overwrite_each_other() {
    run(async |world| {
        let versions = [world.instance(), world.instance_of(Version::Other)];
        for instance in &versions {
            assert!(!instance.get("/octocat").await.is_hit());
        }
        for instance in versions.iter().cycle().take(10) {
            assert!(instance.get("/octocat").await.is_hit());
        }
        assert_eq!(world.asked(), 2, "each version asks once");
    });
}

#[test]
fn a_clearing_clears_one_format() {
    run(async |world| {
        let (this, other) = (world.instance(), world.instance_of(Version::Other));
        this.get("/octocat").await;
        other.get("/octocat").await;
        assert_eq!(this.send(&TestRequest::get("/cache").method("DELETE")).await.status, 200);
        assert!(other.get("/octocat").await.is_hit());
        assert!(!this.get("/octocat").await.is_hit());
    });
}

#[test]
fn nobody_waits_for_the_lease_of_another_format() {
    run(async |world| {
        let delay = Duration::from_secs(2);
        world.github_after(delay, |_| Ok(page("x")));
        let (this, other) = (world.instance(), world.instance_of(Version::Other));
        let began = tokio::time::Instant::now();
        let asking = [this.start("/octocat"), other.start("/octocat")];
        for asked in asking {
            assert_eq!(asked.await.unwrap().status, 200);
        }
        let took = began.elapsed();
        assert!(took < delay + Duration::from_millis(100), "{took:?}");
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn two_formats_of_the_gate_do_not_open_each_other() {
    run(async |world| {
        world.github(|_| failure(429, &[("retry-after", "600")]));
        let versions = [world.instance(), world.instance_of(Version::Other)];
        for user in 0..10 {
            for instance in &versions {
                assert_eq!(instance.get(&format!("/user{user}")).await.status, 429);
            }
        }
        assert_eq!(world.asked(), 2, "each version learns of the limit once");
    });
}

#[test]
fn the_bound_holds_over_both_formats() {
    run(async |world| {
        world.set("cache_entries", "10");
        let versions = [world.instance(), world.instance_of(Version::Other)];
        for user in 0..40 {
            versions[user % 2].get(&format!("/user{user}")).await;
        }
        assert_eq!(world.store.keys_with(":gists:").len(), 10);
        for user in 30..40 {
            assert!(versions[user % 2].get(&format!("/user{user}")).await.is_hit());
        }
    });
}
