//! Which requests share a response, and what happens when the component changes, fails or is slow.

use nix::sys::signal::Signal;
use testkit::{
    http::http2,
    paths::{guest, scratch},
};
use tokio::net::TcpStream;

use super::{FRESH, get, get_with, number, start, status};
use crate::harness::start_app;

#[tokio::test]
async fn a_body_is_stored_once_it_is_complete() {
    let host = start(&[]).await;
    let (first, second) =
        (get(&host, "/answer/", &format!("{FRESH}|stream")).await, get(&host, "/answer/", FRESH).await);
    assert_eq!((number(&first), first.text()), (1, second.text()));
    assert!(status(&second).contains("; hit;"), "{}", status(&second));
}

#[tokio::test]
async fn both_versions_of_the_protocol_share_responses() {
    let host = start(&[]).await;
    let first = get_with(&host, "http://name.test/answer/", FRESH, &[]).await;
    assert_eq!(number(&first), 1);
    let named = host.request("GET", "/answer/").header("host", "name.test");
    assert_eq!(number(&named.send().await), 1);
    let mut client = http2::connect(TcpStream::connect(host.address()).await.unwrap()).await;
    let response = http2::send(&mut client, http2::get("http://name.test/answer/")).await.unwrap();
    assert_eq!((number(&response), response.header("age").is_some()), (1, true));
    // The scheme is that of the listener, whatever `:scheme` says.
    let response = http2::send(&mut client, http2::get("https://name.test/answer/")).await.unwrap();
    assert_eq!(number(&response), 1);
}

#[tokio::test]
async fn concurrent_misses_are_one_request_to_the_component() {
    let host = start(&[]).await;
    let asked = |answer: &'static str| {
        let host = &host;
        async move { futures::future::join_all((0..20).map(|_| get(host, "/answer/", answer))).await }
    };
    let shared = asked("wait 300|cache-control: max-age=60").await;
    assert!(shared.iter().all(|answer| number(answer) == 1));
    let collapsed = shared.iter().filter(|answer| status(answer).ends_with("collapsed")).count();
    assert_eq!(collapsed, 19);
    host.post("/answer/", "").await;
    // What turns out not to be for all is made for each, and none waits for another.
    let own = asked("wait 100|cache-control: private").await;
    let mut numbers: Vec<_> = own.iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (3..23).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_that_is_a_part_of_another_does_not_wait_for_it() {
    let host = start(&["--allowed-outbound-host", "http://127.0.0.1:*"]).await;
    let answer = host.get(&format!("/loop/{}", host.address())).await;
    assert!(answer.text().ends_with(r#"508 {"detail":"Loop Detected"}"#), "{}", answer.text());
}

#[tokio::test]
async fn while_a_response_is_refreshed_nobody_waits() {
    let host = start(&[]).await;
    let stale = "cache-control: max-age=0, stale-while-revalidate=60|etag: \"a\"";
    get(&host, "/answer/", stale).await;
    let answer = get(&host, "/answer/", &format!("wait 50|{FRESH}")).await;
    assert_eq!((number(&answer), answer.header("age")), (1, Some("0")));
    host.wait_for_metric("wasi_http_host_response_cache_stored_total", |stored| stored == 2.0).await;
    let refreshed = get(&host, "/answer/", FRESH).await;
    assert_eq!(refreshed.text(), "2 Method::Get \"a\" - -", "one request that validates");
}

#[tokio::test]
async fn a_component_that_fails_leaves_the_stale_response_where_it_may() {
    let host = start(&[]).await;
    for (path, control, failure, expected) in [
        ("/answer/a", "max-age=0, stale-if-error=60", "trap", 200),
        ("/answer/b", "max-age=0, stale-if-error=60", "502", 200),
        ("/answer/c", "max-age=0, stale-if-error=60, must-revalidate", "trap", 500),
        ("/answer/d", "max-age=0", "502", 502),
    ] {
        get(&host, path, &format!("cache-control: {control}|etag: \"a\"")).await;
        let answer = get(&host, path, failure).await;
        assert_eq!(answer.status, expected, "{control}");
        if expected == 200 {
            assert_eq!(status(&answer), "wasi-http-host; fwd=stale; detail=stale-if-error");
        }
    }
    // The failure is not hidden from the operator.
    host.wait_for_line(|line| line.message_contains("a request failed")).await;
}

#[tokio::test]
async fn a_component_that_is_replaced_starts_with_an_empty_cache() {
    let manifest = scratch("response-cache-reload").join("spin.toml");
    let service = guest("service");
    let write = |greeting: &str| {
        let text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"changed\"\n\
             [[trigger.http]]\nroute = \"/answer/same\"\ncomponent = \"same\"\n\
             [component.same]\nsource = {service:?}\n\
             [component.changed]\nsource = {service:?}\nenvironment = {{ GREETING = {greeting:?} }}\n"
        );
        std::fs::write(&manifest, text).unwrap();
    };
    write("old");
    let flags = ["--threads", "1", "--max-instances", "1", "--response-cache", "1MiB"];
    let host = start_app(&manifest, &flags, &[]).await;
    // The second response of each is a hit.
    for path in ["/answer/same", "/answer/changed"] {
        get(&host, path, FRESH).await;
        assert!(status(&get(&host, path, FRESH).await).contains("; hit;"), "{path}");
    }
    write("new");
    host.signal(Signal::SIGHUP);
    host.wait_for_metric("wasi_http_host_reloads_total{outcome=\"done\"}", |done| done == 1.0).await;
    assert!(status(&get(&host, "/answer/same", FRESH).await).contains("; hit;"));
    assert!(status(&get(&host, "/answer/changed", FRESH).await).contains("fwd=uri-miss"));
    // Once the old one has ended, its responses are gone.
    host.wait_for_metric("wasi_http_host_response_cache_entries", |entries| entries == 2.0).await;
}

#[tokio::test]
async fn a_304_may_announce_the_length_of_another_response() {
    let host = start(&[]).await;
    let answer = get(&host, "/answer/", "304|content-length: 10|etag: \"a\"").await;
    assert_eq!((answer.status, answer.text()), (304, ""));
    let answer = get(&host, "/answer/", "204").await;
    assert_eq!((answer.status, answer.text()), (204, ""));
}
