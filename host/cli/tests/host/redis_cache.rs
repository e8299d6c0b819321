//! Client-side caching of a store in Redis: the host answers reads from memory and never returns a stale value.

use testkit::{
    Host, LogLine, RedisServer,
    paths::{guest, scratch},
    ports,
    tls::Authority,
    until,
};

use crate::{
    harness::start_app,
    redis::{call, eventually, serve},
    redis_proxies::closing_at_hello,
};

const PREFIX: &str = "wasi_http_host_keyvalue_remote_";

async fn metric(host: &Host, name: &str) -> u64 {
    let value = host.metric(&format!("{PREFIX}{name}{{store=\"shared\"}}")).await;
    format!("{value}").parse().unwrap()
}

/// Waits until this number of connections track invalidations.
async fn tracked(host: &Host, connections: u64) {
    until("the server sends invalidation messages", async || {
        (metric(host, "tracked").await == connections).then_some(())
    })
    .await;
}

/// A host of one thread, and so of one cache.
async fn single(server: &RedisServer, flags: &[&str]) -> Host {
    let host = serve(server.address(), &[&["--threads", "1"], flags].concat(), &[]).await;
    tracked(&host, 1).await;
    host
}

#[tokio::test]
async fn what_was_read_is_answered_from_memory_until_another_host_writes() {
    let server = RedisServer::start();
    // No value expires by its age in this test.
    let reader = single(&server, &["--redis-cache-max-age", "1h"]).await;
    let writer = serve(server.address(), &[], &[]).await;
    call(&writer, "set/shared/k?first").await;
    for _ in 0..300 {
        assert_eq!(call(&reader, "get/shared/k").await, r#"Ok(Some("first"))"#);
        assert_eq!(call(&reader, "get-many/shared/k,none,k").await.matches("first").count(), 2);
        assert_eq!(call(&reader, "get/shared/none").await, "Ok(None)");
        assert_eq!(call(&reader, "exists/shared/k").await, "Ok(true)");
    }
    assert_eq!((server.calls("get"), server.calls("mget")), (1, 1), "of 1200 reads");
    assert_eq!(server.calls("exists"), 0);
    assert!(metric(&reader, "cache_hits_total").await >= 1198);
    assert_eq!(
        (metric(&reader, "cache_entries").await, metric(&reader, "cache_invalidations_total").await),
        (2, 0)
    );

    for (write, question, answer) in [
        ("set/shared/k?second", "get/shared/k", r#"Ok(Some("second"))"#),
        ("append/shared/k?!", "get/shared/k", r#"Ok(Some("second!"))"#),
        ("set/shared/none?some", "get/shared/none", r#"Ok(Some("some"))"#),
        ("delete-many/shared/k,none", "get-many/shared/k,none", r#"Ok([("k", None), ("none", None)])"#),
        ("increment/shared/n?5", "get/shared/n", r#"Ok(Some("5"))"#),
        ("increment/shared/n?5", "get/shared/n", r#"Ok(Some("10"))"#),
        ("set-many/shared/a,b?x", "get-many/shared/a,b", r#"Ok([("a", Some("x")), ("b", Some("x"))])"#),
    ] {
        call(&reader, question).await;
        call(&writer, write).await;
        eventually(&reader, question, answer).await;
        assert_eq!(call(&writer, question).await, answer, "the writer sees its own write at once");
    }
    assert!(metric(&reader, "cache_invalidations_total").await >= 5);
    call(&reader, "get/shared/n").await;
    server.command(&["FLUSHALL"]);
    eventually(&reader, "get/shared/n", "Ok(None)").await;
}

/// Each request has its own connection, and so may reach any thread. After a write by one thread, no thread may return the old value.
#[tokio::test]
async fn what_one_thread_writes_all_threads_know_at_once() {
    let server = RedisServer::start();
    let host = serve(server.address(), &["--threads", "4"], &[]).await;
    tracked(&host, 4).await;
    for n in 0..50 {
        call(&host, &format!("set/shared/k?{n}")).await;
        for _ in 0..8 {
            assert_eq!(call(&host, "get/shared/k").await, format!("Ok(Some(\"{n}\"))"));
        }
    }
    assert!(metric(&host, "cache_hits_total").await > 0);
}

/// The winner of a lease reads the state that the last holder left. Its read must not return an older value.
#[tokio::test]
async fn what_is_read_after_an_increment_is_not_older_than_it() {
    let server = RedisServer::start();
    let (one, other) = (single(&server, &[]).await, single(&server, &[]).await);
    for n in 1..=200 {
        call(&one, "get/shared/k").await;
        call(&other, &format!("set/shared/k?{n}")).await;
        call(&one, "increment/shared/lease").await;
        assert_eq!(call(&one, "get/shared/k").await, format!("Ok(Some(\"{n}\"))"));
    }
}

#[tokio::test]
async fn a_key_that_expires_is_soon_unknown() {
    let server = RedisServer::start();
    let host = single(&server, &["--redis-cache-max-age", "500ms"]).await;
    call(&host, "set/shared/k?v").await;
    call(&host, "get/shared/k").await;
    server.command(&["PEXPIRE", "k", "1"]);
    eventually(&host, "get/shared/k", "Ok(None)").await;
    // A value that changes without an invalidation message is returned for that long at most.
    call(&host, "set/shared/k?v").await;
    call(&host, "get/shared/k").await;
    let before = server.calls("get");
    until("the host reads the value again", async || {
        call(&host, "get/shared/k").await;
        (server.calls("get") > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_changes_while_the_connection_is_lost_is_seen() {
    let server = RedisServer::start();
    let host = single(&server, &["--redis-cache-max-age", "1h"]).await;
    for n in 0..10 {
        call(&host, "get/shared/k").await;
        server.command(&["SET", "k", "known"]);
        eventually(&host, "get/shared/k", r#"Ok(Some("known"))"#).await;
        // In one transaction, so that no client is connected when the value changes.
        server.transaction(&[
            &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
            &["SET", "k", &n.to_string()],
        ]);
        eventually(&host, "get/shared/k", &format!("Ok(Some(\"{n}\"))")).await;
    }
}

#[tokio::test]
async fn nothing_is_answered_from_memory_without_redis() {
    let server = RedisServer::start();
    let host = single(&server, &["--redis-cache-max-age", "1h"]).await;
    call(&host, "set/shared/k?v").await;
    for _ in 0..3 {
        assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("v"))"#);
    }
    drop(server);
    host.wait_for_line(|line| line.message_contains("lost the connection")).await;
    let answer = call(&host, "get/shared/k").await;
    assert!(answer.starts_with("Err("), "{answer}");
    assert_eq!((metric(&host, "tracked").await, metric(&host, "cache_entries").await), (0, 0));
}

#[tokio::test]
async fn a_server_that_does_not_say_what_changes_is_asked_each_time() {
    let user = ["--user", "limited", "on", ">hush", "~*", "&*", "+@all"];
    // The error of an unknown command repeats its arguments, and so the password.
    let without_hello = [&user[..], &["--rename-command", "HELLO", ""]].concat();
    let without_tracking = [&user[..], &["-client|tracking"]].concat();
    for arguments in [without_hello, without_tracking] {
        let server = RedisServer::with(&arguments);
        let address = format!("limited@{}", server.address());
        let password = [("WASI_HTTP_HOST_REDIS_PASSWORD", "hush")];
        let host = serve(&address, &["--threads", "2"], &password).await;
        eventually(&host, "set/shared/k?v", "Ok(())").await;
        let before = server.calls("get");
        for _ in 0..20 {
            assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("v"))"#);
        }
        assert_eq!(server.calls("get") - before, 20);
        server.command(&["SET", "k", "changed"]);
        assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("changed"))"#, "a value was cached");
        assert_eq!((metric(&host, "tracked").await, metric(&host, "cache_entries").await), (0, 0));
        let told = |line: &LogLine| line.message_contains("sends no invalidation messages");
        host.wait_for_line(told).await;
        let lines = host.lines();
        assert_eq!(lines.iter().filter(|line| told(line)).count(), 1, "not once in all: {lines:?}");
        assert!(!format!("{lines:?}").contains("hush"), "the log holds the password: {lines:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_up_at_what_it_does_not_know_is_spoken_to_as_ever() {
    let server = RedisServer::start();
    let proxy = closing_at_hello(server.address(), usize::MAX).await;
    let host = serve(&proxy, &["--threads", "1"], &[]).await;
    eventually(&host, "set/shared/k?v", "Ok(())").await;
    server.command(&["SET", "k", "changed"]);
    assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("changed"))"#);
    assert_eq!(metric(&host, "tracked").await, 0);
}

#[tokio::test]
async fn a_server_that_dropped_the_first_handshake_still_sends_invalidations() {
    let server = RedisServer::start();
    let restarting = closing_at_hello(server.address(), 1).await;
    let host = serve(&restarting, &["--threads", "1"], &[]).await;
    tracked(&host, 1).await;
    eventually(&host, "set/shared/k?v", "Ok(())").await;
    for _ in 0..20 {
        assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("v"))"#);
    }
    assert_eq!(server.calls("get"), 1);
}

#[tokio::test]
async fn memory_for_it_is_bounded_and_may_be_none() {
    let server = RedisServer::start();
    let host = single(&server, &["--redis-cache-bytes", "64KiB"]).await;
    let value = "x".repeat(1000);
    for n in 0..200 {
        call(&host, &format!("set/shared/k{n}?{value}")).await;
        call(&host, &format!("get/shared/k{n}")).await;
    }
    assert!(metric(&host, "cache_bytes").await <= 64 << 10);
    assert!(metric(&host, "cache_evictions_total").await >= 100);

    let host = serve(server.address(), &["--redis-cache-bytes", "0"], &[]).await;
    let before = server.calls("get");
    for _ in 0..10 {
        call(&host, "get/shared/k1").await;
    }
    assert_eq!(server.calls("get") - before, 10);
    assert_eq!(metric(&host, "tracked").await, 0);
}

#[tokio::test]
async fn a_value_that_is_too_large_is_an_error_and_nothing_else_suffers() {
    let server = RedisServer::start();
    let host = single(&server, &["--redis-timeout", "60s"]).await;
    server.command(&["SET", "small", "v"]);
    server.command(&["SETRANGE", "large", "17000000", "x"]);
    for question in ["get/shared/large", "get-many/shared/small,large", "append/shared/large?x"] {
        let answer = call(&host, question).await;
        assert!(answer.contains("over the limit of 16777216"), "{question}: {answer}");
        assert_eq!(call(&host, "get/shared/small").await, r#"Ok(Some("v"))"#);
    }
    let connects = format!("{PREFIX}connects_total{{store=\"shared\",outcome=\"ok\"}}");
    assert_eq!(host.metric(&connects).await, 1.0, "a new connection was opened");
}

/// A Redis that also speaks TLS, on `port`, with a user `gists` for the keys under `app:`.
fn tls_server(port: u16, ca: &str, certificate: &str, key: &str) -> RedisServer {
    RedisServer::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        ca,
        "--requirepass",
        "hush",
        "--user",
        "gists",
        "on",
        ">hush-hush",
        "~app:*",
        "&*",
        "+@all",
    ])
}

#[tokio::test]
async fn a_connection_is_encrypted_and_both_sides_show_who_they_are() {
    let (directory, authority) = (scratch("redis-tls"), Authority::new());
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (for_server, for_client) = (authority.issue("localhost"), authority.issue("client"));
    let ca = file("ca.pem", &authority.pem);
    let (certificate, key) = (file("server.pem", &for_server.pem), file("server.key", &for_server.key));
    let (mine, my_key) = (file("client.pem", &for_client.pem), file("client.key", &for_client.key));
    let port = ports::reserve().port();
    let server = tls_server(port, &ca, &certificate, &key);
    let store = |host: &str| format!("shared=rediss://gists@{host}:{port}");
    let (right, other) = (store("localhost"), store("127.0.0.1"));
    let client = ["--redis-client-certificate", &mine, "--redis-client-key", &my_key];
    let host = async |store: &str, flags: &[&str]| {
        let flags =
            [&["--threads", "1", "--redis-prefix", "app:", "--keyvalue-store", store], flags].concat();
        let environment =
            [("WASI_HTTP_HOST_REDIS_PASSWORD", "hush-hush"), ("WASI_HTTP_HOST_REDIS_TIMEOUT", "60s")];
        start_app(&guest("service"), &flags, &environment).await
    };
    let trusting = [&["--redis-ca-file", &*ca], &client[..]].concat();
    let good = host(&right, &trusting).await;
    eventually(&good, "set/shared/k?v", "Ok(())").await;
    tracked(&good, 1).await;
    assert_eq!(call(&good, "get/shared/k").await, r#"Ok(Some("v"))"#);
    assert_eq!(server.command(&["GET", "app:k"]), "v");

    for (what, store, flags) in [
        ("an unknown authority", &right, &client[..]),
        ("another name", &other, &trusting),
        ("no certificate of ours", &right, &["--redis-ca-file", &ca]),
    ] {
        let host = host(store, flags).await;
        let answer = call(&host, "get/shared/k").await;
        assert!(answer.starts_with("Err(") && !answer.contains("hush"), "{what}: {answer}");
        host.wait_for_line(|line| {
            line["level"] == "WARN"
                && line["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("cannot connect to the key-value store"))
        })
        .await;
    }
}
