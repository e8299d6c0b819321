//! Time limits of a store in Redis, against a server of the test.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use testkit::{DEADLINE, ports::listen, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Handle,
    sync::watch,
};
use wasi_http_host_core::ByteSize;
use wasi_http_host_egress::SystemResolver;
use wasi_http_host_keyvalue::{RedisConfig, RedisStore, Store as _};

const LIMIT: Duration = Duration::from_secs(2);

/// Responds to the first command after most of the time limit, and to each `GET` once `may` is true.
async fn slow(mut client: TcpStream, mut may: watch::Receiver<bool>) {
    let (mut buffer, mut greeted) = (vec![0; 4 << 10], false);
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        let commands =
            buffer[..length].windows(3).filter(|word| *word == b"\n$3" || *word == b"\n$6").count();
        if !std::mem::replace(&mut greeted, true) {
            tokio::time::sleep(LIMIT * 3 / 4).await;
            // `CLIENT SETINFO`, twice.
            client.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
        } else if commands > 0 {
            may.wait_for(|may| *may).await.unwrap();
            client.write_all(b"$-1\r\n").await.unwrap();
        }
    }
}

/// The first call uses most of its time before there is a connection, and fails. The connection is good, and must stay.
#[tokio::test]
async fn a_call_that_waited_for_its_connection_does_not_end_it() {
    let (listener, address) = listen().await;
    let address = format!("redis://{address}").parse().unwrap();
    let (release, may) = watch::channel(false);
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(slow(client, may.clone()));
        }
    });
    let config = RedisConfig {
        timeout: LIMIT.into(),
        connect_timeout: DEADLINE.into(),
        cache_bytes: ByteSize::bytes(0),
        ..RedisConfig::default()
    };
    let store = RedisStore::new("shared", address, &config, 1, Arc::new(SystemResolver::default())).unwrap();
    let store = store.on(&Handle::current()).unwrap();
    assert!(store.get("k").await.is_err());
    release.send_replace(true);
    until("the store answers", async || (store.get("k").await == Ok(None)).then_some(())).await;
    assert_eq!(accepted.load(Ordering::SeqCst), 1, "a second connection was opened");
}
