//! `DELETE /cache`, which ends a generation.

use crate::fake::{TestRequest, millis, page, run, seconds};

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
