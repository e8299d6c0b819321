//! What the host remembers of a store in Redis: answered from memory, and right.

use std::time::Duration;

use crate::{
    harness::{Host, guest, scratch},
    redis::{call, eventually, serve},
    redis_server::{Server, hanging_up_at_hello},
};

const PREFIX: &str = "wasi_http_host_keyvalue_remote_";

async fn metric(host: &Host, name: &str) -> u64 {
    let value = host.metric(&format!("{PREFIX}{name}{{store=\"shared\"}}")).await;
    format!("{value}").parse().unwrap()
}

/// Until the server says what changes, as it does soon after the start.
async fn tracked(host: &Host, connections: u64) {
    let deadline = std::time::Instant::now() + crate::harness::DEADLINE;
    while metric(host, "tracked").await != connections {
        assert!(std::time::Instant::now() < deadline, "the server does not say what changes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A host of one thread, so that there is one cache.
async fn single(server: &Server, flags: &[&str]) -> Host {
    let host = serve(server.address(), &[&["--threads", "1"], flags].concat(), &[]);
    tracked(&host, 1).await;
    host
}

#[tokio::test]
async fn what_was_read_is_answered_from_memory_until_another_host_writes() {
    let server = Server::start(&[]);
    // No value is forgotten by age here.
    let reader = single(&server, &["--keyvalue-cache-max-age", "1h"]).await;
    let writer = serve(server.address(), &[], &[]);
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
        assert_eq!(call(&writer, question).await, answer, "the writer knows at once");
    }
    assert!(metric(&reader, "cache_invalidations_total").await >= 5);
    call(&reader, "get/shared/n").await;
    server.command(&["FLUSHALL"]);
    eventually(&reader, "get/shared/n", "Ok(None)").await;
}

/// A connection a request goes to whatever thread; what one has written, none answers differently.
#[tokio::test]
async fn what_one_thread_writes_all_threads_know_at_once() {
    let server = Server::start(&[]);
    let host = serve(server.address(), &["--threads", "4"], &[]);
    tracked(&host, 4).await;
    for n in 0..50 {
        call(&host, &format!("set/shared/k?{n}")).await;
        for _ in 0..8 {
            assert_eq!(call(&host, "get/shared/k").await, format!("Ok(Some(\"{n}\"))"));
        }
    }
    assert!(metric(&host, "cache_hits_total").await > 0);
}

/// Whoever wins a lease reads what there is to do: it must not be what was there before the last holder was done.
#[tokio::test]
async fn what_is_read_after_an_increment_is_not_older_than_it() {
    let server = Server::start(&[]);
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
    let server = Server::start(&[]);
    let host = single(&server, &["--keyvalue-cache-max-age", "500ms"]).await;
    call(&host, "set/shared/k?v").await;
    call(&host, "get/shared/k").await;
    server.command(&["PEXPIRE", "k", "1"]);
    eventually(&host, "get/shared/k", "Ok(None)").await;
    // And what changes without a word is not answered for longer than that.
    call(&host, "set/shared/k?v").await;
    call(&host, "get/shared/k").await;
    let before = server.calls("get");
    let deadline = std::time::Instant::now() + crate::harness::DEADLINE;
    while server.calls("get") == before {
        assert!(std::time::Instant::now() < deadline, "nobody asks again");
        call(&host, "get/shared/k").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_changes_while_the_connection_is_lost_is_seen() {
    let server = Server::start(&[]);
    let host = single(&server, &["--keyvalue-cache-max-age", "1h"]).await;
    for n in 0..10 {
        call(&host, "get/shared/k").await;
        server.command(&["SET", "k", "known"]);
        eventually(&host, "get/shared/k", r#"Ok(Some("known"))"#).await;
        // In one go, so that nobody is connected when the value changes.
        server.transaction(&[
            &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
            &["SET", "k", &n.to_string()],
        ]);
        eventually(&host, "get/shared/k", &format!("Ok(Some(\"{n}\"))")).await;
    }
}

#[tokio::test]
async fn nothing_is_answered_from_memory_without_redis() {
    let server = Server::start(&[]);
    let host = single(&server, &["--keyvalue-cache-max-age", "1h"]).await;
    call(&host, "set/shared/k?v").await;
    for _ in 0..3 {
        assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("v"))"#);
    }
    drop(server);
    host.wait_for_line(|line| {
        line["message"].as_str().is_some_and(|text| text.contains("lost the connection"))
    });
    let answer = call(&host, "get/shared/k").await;
    assert!(answer.starts_with("Err("), "{answer}");
    assert_eq!((metric(&host, "tracked").await, metric(&host, "cache_entries").await), (0, 0));
}

#[tokio::test]
async fn a_server_that_does_not_say_what_changes_is_asked_each_time() {
    let user = ["--user", "limited", "on", ">hush", "~*", "&*", "+@all"];
    // It answers what it does not know with all that came with it.
    let without_hello = [&user[..], &["--rename-command", "HELLO", ""]].concat();
    let without_tracking = [&user[..], &["-client|tracking"]].concat();
    for arguments in [without_hello, without_tracking] {
        let server = Server::start(&arguments);
        let address = format!("limited@{}", server.address());
        let password = [("WASI_HTTP_HOST_KEYVALUE_PASSWORD", "hush")];
        let host = serve(&address, &["--threads", "2"], &password);
        eventually(&host, "set/shared/k?v", "Ok(())").await;
        let before = server.calls("get");
        for _ in 0..20 {
            assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("v"))"#);
        }
        assert_eq!(server.calls("get") - before, 20);
        server.command(&["SET", "k", "changed"]);
        assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("changed"))"#, "nothing was remembered");
        assert_eq!((metric(&host, "tracked").await, metric(&host, "cache_entries").await), (0, 0));
        let told = |line: &serde_json::Value| {
            line["message"].as_str().is_some_and(|text| text.contains("does not say what changes"))
        };
        host.wait_for_line(told);
        let lines = host.lines();
        assert_eq!(lines.iter().filter(|line| told(line)).count(), 1, "once, not once a thread: {lines:?}");
        assert!(!format!("{lines:?}").contains("hush"), "the password is told: {lines:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_up_at_what_it_does_not_know_is_spoken_to_as_ever() {
    let server = Server::start(&[]);
    let proxy = hanging_up_at_hello(server.address(), usize::MAX).await;
    let host = serve(&proxy, &["--threads", "1"], &[]);
    eventually(&host, "set/shared/k?v", "Ok(())").await;
    server.command(&["SET", "k", "changed"]);
    assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("changed"))"#);
    assert_eq!(metric(&host, "tracked").await, 0);
}

#[tokio::test]
async fn a_server_that_hung_up_once_when_it_was_greeted_says_what_changes() {
    let server = Server::start(&[]);
    let restarting = hanging_up_at_hello(server.address(), 1).await;
    let host = serve(&restarting, &["--threads", "1"], &[]);
    tracked(&host, 1).await;
    eventually(&host, "set/shared/k?v", "Ok(())").await;
    for _ in 0..20 {
        assert_eq!(call(&host, "get/shared/k").await, r#"Ok(Some("v"))"#);
    }
    assert_eq!(server.calls("get"), 1);
}

#[tokio::test]
async fn memory_for_it_is_bounded_and_may_be_none() {
    let server = Server::start(&[]);
    let host = single(&server, &["--keyvalue-cache-bytes", "64KiB"]).await;
    let value = "x".repeat(1000);
    for n in 0..200 {
        call(&host, &format!("set/shared/k{n}?{value}")).await;
        call(&host, &format!("get/shared/k{n}")).await;
    }
    assert!(metric(&host, "cache_bytes").await <= 64 << 10);
    assert!(metric(&host, "cache_evictions_total").await >= 100);

    let host = serve(server.address(), &["--keyvalue-cache-bytes", "0"], &[]);
    let before = server.calls("get");
    for _ in 0..10 {
        call(&host, "get/shared/k1").await;
    }
    assert_eq!(server.calls("get") - before, 10);
    assert_eq!(metric(&host, "tracked").await, 0);
}

#[tokio::test]
async fn a_value_that_is_too_large_is_an_error_and_nothing_else_suffers() {
    let server = Server::start(&[]);
    let host = single(&server, &["--keyvalue-timeout", "60s"]).await;
    server.command(&["SET", "small", "v"]);
    server.command(&["SETRANGE", "large", "17000000", "x"]);
    for question in ["get/shared/large", "get-many/shared/small,large", "append/shared/large?x"] {
        let answer = call(&host, question).await;
        assert!(answer.contains("over the limit of 16777216"), "{question}: {answer}");
        assert_eq!(call(&host, "get/shared/small").await, r#"Ok(Some("v"))"#);
    }
    let connects = format!("{PREFIX}connects_total{{store=\"shared\",outcome=\"ok\"}}");
    assert_eq!(host.metric(&connects).await, 1.0, "over the same connection");
}

/// Certificates of this test's own, for TLS: the authority's, and the server's and client's with their keys.
struct Certificates {
    directory: std::path::PathBuf,
}

impl Certificates {
    fn new(test: &str) -> Self {
        use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
        let directory = scratch(test);
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(directory.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(authority, key);
        for name in ["localhost", "client"] {
            let key = KeyPair::generate().unwrap();
            let mut certificate = CertificateParams::new([name.to_owned()]).unwrap();
            // Named as its issuer is, it would look self-signed.
            certificate.distinguished_name.push(DnType::CommonName, name);
            let certificate = certificate.signed_by(&key, &issuer).unwrap();
            std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { directory }
    }

    fn file(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }
}

#[tokio::test]
async fn a_connection_is_encrypted_and_both_sides_show_who_they_are() {
    let files = Certificates::new("redis-tls");
    let (ca, certificate, key) =
        (files.file("ca.pem"), files.file("localhost.pem"), files.file("localhost.key"));
    let port = Server::free_port();
    let server = Server::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--requirepass",
        "hush",
        "--user",
        "gists",
        "on",
        ">hush-hush",
        "~app:*",
        "&*",
        "+@all",
    ]);
    let (mine, my_key) = (files.file("client.pem"), files.file("client.key"));
    let store = |host: &str| format!("shared=rediss://gists@{host}:{port}");
    let (right, other) = (store("localhost"), store("127.0.0.1"));
    let client = ["--keyvalue-client-certificate", &mine, "--keyvalue-client-key", &my_key];
    let host = |store: &str, flags: &[&str]| {
        let flags =
            [&["--threads", "1", "--keyvalue-prefix", "app:", "--keyvalue-store", store], flags].concat();
        let environment =
            [("WASI_HTTP_HOST_KEYVALUE_PASSWORD", "hush-hush"), ("WASI_HTTP_HOST_KEYVALUE_TIMEOUT", "60s")];
        Host::serve(&guest("service"), &flags, &environment)
    };
    let trusting = [&["--keyvalue-ca-file", &*ca], &client[..]].concat();
    let good = host(&right, &trusting);
    eventually(&good, "set/shared/k?v", "Ok(())").await;
    tracked(&good, 1).await;
    assert_eq!(call(&good, "get/shared/k").await, r#"Ok(Some("v"))"#);
    assert_eq!(server.command(&["GET", "app:k"]), "v");

    for (what, store, flags) in [
        ("an unknown authority", &right, &client[..]),
        ("another name", &other, &trusting),
        ("no certificate of ours", &right, &["--keyvalue-ca-file", &ca]),
    ] {
        let host = host(store, flags);
        let answer = call(&host, "get/shared/k").await;
        assert!(answer.starts_with("Err(") && !answer.contains("hush"), "{what}: {answer}");
        host.wait_for_line(|line| {
            line["level"] == "WARN"
                && line["message"].as_str().is_some_and(|text| text.contains("cannot be reached"))
        });
    }
}
