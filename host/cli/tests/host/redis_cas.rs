//! Compare-and-swap in Redis, step by step. Two stores on one server stand for two hosts.

use std::sync::Arc;

use bytes::Bytes;
use testkit::{DEADLINE, RedisServer};
use tokio::runtime::Handle;
use wasi_http_host_egress::SystemResolver;
use wasi_http_host_keyvalue::{RedisConfig, RedisStore, Snapshot, Store, Swap};

fn store(server: &RedisServer) -> Arc<dyn Store> {
    let address = format!("redis://{}", server.address()).parse().unwrap();
    let limit = DEADLINE.into();
    let config = RedisConfig { timeout: limit, connect_timeout: limit, ..RedisConfig::default() };
    let store = RedisStore::new("shared", address, &config, 1, Arc::new(SystemResolver::default())).unwrap();
    store.on(&Handle::current()).unwrap()
}

fn is_stale(swap: &Swap, value: Option<&'static str>) -> bool {
    matches!(swap, Swap::Stale(now) if now.value == value.map(Bytes::from))
}

#[tokio::test]
async fn a_swap_after_another_writers_change_fails_and_says_what_is_there() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let absent = one.snapshot("k").await.unwrap();
    assert_eq!(absent, Snapshot { version: 0, value: None });
    other.set("k", "theirs".into()).await.unwrap();
    assert!(is_stale(&one.swap("k", &absent, "mine".into()).await.unwrap(), Some("theirs")));
    let seen = one.snapshot("k").await.unwrap();
    other.delete("k").await.unwrap();
    assert!(is_stale(&one.swap("k", &seen, "mine".into()).await.unwrap(), None));
    other.increment("k", 1).await.unwrap();
    let seen = one.snapshot("k").await.unwrap();
    other.increment("k", 1).await.unwrap();
    let Swap::Stale(now) = one.swap("k", &seen, "mine".into()).await.unwrap() else {
        panic!("a count was lost")
    };
    assert_eq!(
        one.swap("k", &now, "mine".into()).await,
        Ok(Swap::Done),
        "a lost swap returns the snapshot for the next"
    );
    assert_eq!(other.get("k").await, Ok(Some("mine".into())));
}

/// The value is the same again after two writes (ABA). Each write renews the expiry time, which the snapshot stores.
#[tokio::test]
async fn a_value_that_came_back_is_not_the_one_that_was_seen() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    one.set("k", "a".into()).await.unwrap();
    let seen = one.snapshot("k").await.unwrap();
    assert!(seen.version > 0, "a server before 7.0 cannot tell them apart: these tests need a later one");
    // The expiry time has a resolution of a millisecond.
    while server.command(&["EVAL", "return redis.call('PEXPIRETIME', 'k') .. ''", "0"])
        == seen.version.to_string()
    {
        other.set("k", "b".into()).await.unwrap();
        other.set("k", "a".into()).await.unwrap();
    }
    assert!(is_stale(&one.swap("k", &seen, "mine".into()).await.unwrap(), Some("a")));
    let seen = one.snapshot("k").await.unwrap();
    assert_eq!(one.swap("k", &seen, "mine".into()).await, Ok(Swap::Done));
}

#[tokio::test]
async fn of_many_that_swap_one_key_exactly_one_wins() {
    let server = RedisServer::start();
    let stores = [store(&server), store(&server)];
    for round in 0..20 {
        for key in ["absent", "present"] {
            let key = format!("{key}{round}");
            if key.starts_with("present") {
                stores[0].set(&key, "v".into()).await.unwrap();
            }
            let seen =
                futures::future::join_all((0..16).map(|n| stores[n % 2].snapshot(&key).into_future())).await;
            let swaps = seen
                .iter()
                .enumerate()
                .map(|(n, seen)| stores[n % 2].swap(&key, seen.as_ref().unwrap(), n.to_string().into()))
                .map(IntoFuture::into_future);
            let swaps = futures::future::join_all(swaps).await;
            let won: Vec<_> = (0..16).filter(|n| swaps[*n] == Ok(Swap::Done)).collect();
            assert_eq!(won.len(), 1, "{key}: {swaps:?}");
            assert_eq!(stores[0].get(&key).await, Ok(Some(won[0].to_string().into())));
        }
    }
}
