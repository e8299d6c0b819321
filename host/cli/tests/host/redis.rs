//! A store in Redis as a component sees it. Each test has a Redis server of its own.

use std::fmt::Display;

use testkit::{
    Host, RedisServer,
    paths::{guest, scratch},
    until,
};

use crate::{
    harness::{run, start_app},
    redis_proxies::HoldingProxy,
};

/// A host whose store `shared` is in the Redis at `address`, which may begin with a user name.
pub(crate) async fn serve(address: impl Display, flags: &[&str], environment: &[(&str, &str)]) -> Host {
    let store = format!("shared=redis://{address}");
    let flags = [&["--keyvalue-store", &store][..], flags].concat();
    // On a busy machine, a late response is no failure of Redis. Flags override these limits.
    let long_limits =
        [("WASI_HTTP_HOST_REDIS_TIMEOUT", "60s"), ("WASI_HTTP_HOST_REDIS_CONNECT_TIMEOUT", "60s")];
    start_app(&guest("service"), &flags, &[&long_limits, environment].concat()).await
}

pub(crate) async fn call(host: &Host, call: &str) -> String {
    host.get(&format!("/keyvalue/{call}")).await.text().to_owned()
}

/// Repeats a call until it has this result.
pub(crate) async fn eventually(host: &Host, question: &str, answer: &str) {
    until(&format!("{question} has the result {answer}"), async || {
        (call(host, question).await == answer).then_some(())
    })
    .await;
}

async fn metric(host: &Host, name: &str) -> i64 {
    format!("{}", host.metric(name).await).parse().unwrap()
}

#[tokio::test]
async fn two_hosts_share_what_they_store() {
    let server = RedisServer::start();
    let (one, other) = (serve(server.address(), &[], &[]).await, serve(server.address(), &[], &[]).await);
    for (host, question, answer) in [
        (&one, "get/shared/k", "Ok(None)"),
        (&one, "set/shared/k?first", "Ok(())"),
        (&other, "get/shared/k", r#"Ok(Some("first"))"#),
        (&other, "exists/shared/k", "Ok(true)"),
        (&one, "append/shared/k?!", "Ok(())"),
        (&other, "get/shared/k", r#"Ok(Some("first!"))"#),
        (&one, "append/shared/new?made", "Ok(())"),
        (
            &other,
            "get-many/shared/k,none,new",
            r#"Ok([("k", Some("first!")), ("none", None), ("new", Some("made"))])"#,
        ),
        (&one, "increment/shared/n?5", "Ok(5)"),
        (&other, "increment/shared/n?-7", "Ok(-2)"),
        (&one, "get/shared/n", r#"Ok(Some("-2"))"#),
        (&one, "set-many/shared/a,b?x", "Ok(())"),
        (&other, "get-many/shared/b,a", r#"Ok([("b", Some("x")), ("a", Some("x"))])"#),
        (&other, "delete-many/shared/a,b,k,new", "Ok(())"),
        (&one, "list/shared/", r#"["n"]"#),
        (&one, "delete/shared/n", "Ok(())"),
        (&other, "exists/shared/n", "Ok(false)"),
        // The store `default` is in each host's own memory.
        (&one, "set/default/k?mine", "Ok(())"),
        (&other, "get/default/k", "Ok(None)"),
    ] {
        if question.starts_with("get") {
            // A host that has read the key before learns of the change a moment later.
            eventually(host, question, answer).await;
        } else {
            assert_eq!(call(host, question).await, answer, "{question}");
        }
    }
    let error = call(&one, "get/unknown/k").await;
    assert!(error.contains("AccessDenied"), "{error}");
}

#[tokio::test]
async fn a_swap_is_lost_to_another_writer_and_counters_lose_nothing() {
    let server = RedisServer::start();
    let hosts = [serve(server.address(), &[], &[]).await, serve(server.address(), &[], &[]).await];
    let calls = (0..200).map(|n| {
        let host = &hosts[n % 2];
        async move { (call(host, "append/shared/text?x").await, call(host, "increment/shared/n").await) }
    });
    let answers = futures::future::join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) =
        answers.iter().map(|(swap, _)| &**swap).partition(|swap| *swap == "Ok(())");
    assert!(lost.iter().all(|swap| *swap == "lost"), "{lost:?}");
    // Each successful swap appended one character.
    eventually(&hosts[0], "get/shared/text", &format!("Ok(Some({:?}))", "x".repeat(won.len()))).await;
    let mut counts: Vec<i64> = answers
        .iter()
        .map(|(_, n)| n.trim_start_matches("Ok(").trim_end_matches(')').parse().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_written_has_a_prefix_and_an_end() {
    let server = RedisServer::start();
    let host = serve(server.address(), &["--redis-prefix", "app*:", "--redis-ttl", "1h"], &[]).await;
    for write in
        ["set/shared/value?x", "increment/shared/count", "append/shared/swapped?x", "set-many/shared/many?x"]
    {
        assert!(call(&host, write).await.starts_with("Ok("), "{write}");
    }
    // The key of another application, which an unescaped pattern would match.
    server.command(&["SET", "app-other:value", "x"]);
    assert_eq!(call(&host, "list/shared/").await.matches('"').count(), 8, "four keys, without the prefix");
    for key in ["value", "count", "swapped", "many"] {
        let left: u64 = server.command(&["PTTL", &format!("app*:{key}")]).parse().unwrap();
        assert!((1..=3_600_000).contains(&left), "{key}: {left}");
    }
    server.command(&["PERSIST", "app*:count"]);
    call(&host, "increment/shared/count").await;
    assert_ne!(server.command(&["PTTL", "app*:count"]), "-1", "each write renews the expiry time");
}

#[tokio::test]
async fn a_password_is_asked_for_and_never_shown() {
    let server = RedisServer::with(&["--requirepass", "hush-hush"]);
    let file = scratch("redis-password").join("password");
    std::fs::write(&file, "hush-hush\n").unwrap();
    let right = [("WASI_HTTP_HOST_REDIS_PASSWORD", "hush-hush")];
    let host = serve(server.address(), &[], &right).await;
    eventually(&host, "set/shared/k?v", "Ok(())").await;
    let host = serve(server.address(), &["--redis-password-file", file.to_str().unwrap()], &[]).await;
    eventually(&host, "get/shared/k", r#"Ok(Some("v"))"#).await;

    let host = serve(server.address(), &[], &[("WASI_HTTP_HOST_REDIS_PASSWORD", "hush-wrong")]).await;
    let answer = call(&host, "get/shared/k").await;
    assert!(answer.contains("shared") && !answer.contains("hush"), "{answer}");
    host.wait_for_line(|line| line["store"] == "shared" && line["level"] == "WARN").await;
    assert!(!format!("{:?}", host.lines()).contains("hush"));
    let help = run(&["serve", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("--redis-password-file"));

    let output =
        run(&["serve", guest("service").to_str().unwrap(), "--keyvalue-store", "shared=redis://:hush@h"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64));
    assert!(
        message.contains("the URL must not contain a password") && !message.contains("hush"),
        "{message}"
    );
}

#[tokio::test]
async fn without_redis_the_guest_gets_an_error_and_then_it_is_there_again() {
    let server = RedisServer::start();
    let host = serve(server.address(), &["--ready-path", "/status/204"], &[]).await;
    assert_eq!(call(&host, "set/shared/k?v").await, "Ok(())");
    assert!(metric(&host, "wasi_http_host_keyvalue_remote_connections{store=\"shared\"}").await >= 1);
    let address = server.address();
    drop(server);
    let answer = call(&host, "get/shared/k").await;
    assert!(answer.starts_with("Err(") && answer.contains("shared"), "{answer}");
    host.wait_for_line(|line| line.message_contains("cannot connect to the key-value store")).await;
    assert!(call(&host, "get/shared/k").await.starts_with("Err("), "each call fails at once");
    assert_eq!(call(&host, "set/default/k?v").await, "Ok(())", "the store in memory does not need Redis");
    assert_eq!(host.admin("/ready").await.status, 200, "an outage of Redis unreadies no pod");
    assert_eq!(metric(&host, "wasi_http_host_keyvalue_remote_connections{store=\"shared\"}").await, 0);
    let failed = "wasi_http_host_keyvalue_remote_failures_total{store=\"shared\",reason=\"unreachable\"}";
    assert!(metric(&host, failed).await >= 1);

    let _server = RedisServer::start_at(address, &[]);
    eventually(&host, "set/shared/k?again", "Ok(())").await;
    // Each thread reconnects by itself.
    eventually(&host, "get/shared/k", r#"Ok(Some("again"))"#).await;
}

#[tokio::test]
async fn a_redis_that_is_silent_costs_one_limit_not_one_a_call() {
    let server = RedisServer::start();
    let holding = HoldingProxy::start(server.address(), usize::MAX).await;
    let host = serve(holding.address(), &["--redis-timeout", "200ms", "--threads", "1"], &[]).await;
    let answer = call(&host, "get/shared/k").await;
    assert!(answer.contains("no reply within 200ms"), "{answer}");
    let timeouts = "wasi_http_host_keyvalue_remote_failures_total{store=\"shared\",reason=\"timeout\"}";
    assert_eq!(metric(&host, timeouts).await, 1);
    // The host uses a new connection, not the one with outstanding responses.
    holding.release();
    eventually(&host, "get/shared/k", "Ok(None)").await;
    assert!(
        metric(&host, "wasi_http_host_keyvalue_remote_connects_total{store=\"shared\",outcome=\"ok\"}").await
            >= 2
    );
}

/// One thread, and no response before 64 calls wait: so many instances wait at once.
#[tokio::test]
async fn who_waits_for_redis_holds_up_nobody_else() {
    const CALLS: usize = 64;
    let server = RedisServer::start();
    let holding = HoldingProxy::start(server.address(), CALLS).await;
    let flags = ["--redis-timeout", "30s", "--threads", "1"];
    let host = serve(holding.address(), &flags, &[]).await;
    let calls = (0..CALLS).map(|n| {
        let host = &host;
        async move { call(host, &format!("get/shared/k{n}")).await }
    });
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer == "Ok(None)"), "{answers:?}");
    // Requests that do not use the store are answered while other requests wait for it.
    let waiting = HoldingProxy::start(server.address(), usize::MAX).await;
    let host = serve(waiting.address(), &flags, &[]).await;
    let (stuck, others) = futures::future::join(
        futures::future::join_all((0..8).map(|_| call(&host, "get/shared/k"))),
        async {
            let answers = futures::future::join_all((0..32).map(|_| host.get("/hello/x"))).await;
            waiting.release();
            answers
        },
    )
    .await;
    assert!(others.iter().all(|answer| answer.text() == "hello x"));
    assert_eq!(stuck.len(), 8);
}

#[tokio::test]
async fn commands_that_wait_are_bounded() {
    let server = RedisServer::start();
    let holding = HoldingProxy::start(server.address(), usize::MAX).await;
    let flags = ["--redis-timeout", "5s", "--threads", "1", "--redis-max-concurrency", "4"];
    let host = serve(holding.address(), &flags, &[]).await;
    let answers = futures::future::join_all((0..8).map(|_| call(&host, "get/shared/k"))).await;
    let refused = answers.iter().filter(|answer| answer.contains("too many commands")).count();
    assert_eq!(refused, 4, "{answers:?}");
}
