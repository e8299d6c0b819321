//! Local service chaining: components of one host send requests to one another without a socket, within limits.

use testkit::{
    paths::{guest, scratch},
    until,
};

use crate::harness::start_app;

/// A manifest of `front`, which may send requests to the hosts in `allowed`, and of two private components, `back` and `old`.
fn manifest(test: &str, allowed: &str, limits: &str) -> std::path::PathBuf {
    let path = scratch(test).join("spin.toml");
    let (service, proxy) = (guest("service"), guest("proxy"));
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"front\"\n\
         [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"back\"\n\
         [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"old\"\n\
         [component.front]\nsource = {service:?}\nallowed_outbound_hosts = [{allowed}]\n{limits}\n\
         [component.back]\nsource = {service:?}\nallowed_outbound_hosts = [\"http://front.spin.internal\"]\n\
         [component.old]\nsource = {proxy:?}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

const ALL: &str = "\"http://*.spin.internal\"";

#[tokio::test]
async fn another_component_answers_and_sees_whose_request_it_is() {
    let host = start_app(&manifest("chaining-answer", ALL, ""), &[], &[]).await;
    assert_eq!(host.get("/ask?back.spin.internal/hello/x").await.text(), "200 hello x");
    assert_eq!(host.get("/ask?old.spin.internal/chunks/2").await.text(), "200 chunk\nchunk\n");
    let target = host.get("/ask?back.spin.internal/target").await;
    assert!(target.text().contains("back.spin.internal"), "{}", target.text());
    // The request id of the client's request is passed on.
    let seen = host.get("/ask?back.spin.internal/headers").await;
    let identity = format!("x-request-id: {}", seen.header("x-request-id").unwrap());
    assert!(seen.text().contains(&identity), "{identity} in {}", seen.text());
    let of_back = "wasi_http_host_requests_total{component=\"back\",status=\"2xx\"}";
    assert_eq!(host.metric(of_back).await, 3.0, "requests between components are counted, too");
}

#[tokio::test]
async fn only_what_is_listed_may_be_asked_and_what_is_not_there_is_named() {
    let listed = "\"http://back.spin.internal\", \"http://none.spin.internal\", \"http://*:*\"";
    let host = start_app(&manifest("chaining-listed", listed, ""), &[], &[]).await;
    assert_eq!(host.get("/ask?back.spin.internal/hello/x").await.text(), "200 hello x");
    assert!(host.get("/ask?old.spin.internal/hello/x").await.text().contains("HttpRequestDenied"));
    let unknown = host.get("/ask?none.spin.internal/").await;
    assert!(unknown.text().contains("DnsError") && unknown.text().contains("none"), "{}", unknown.text());
    // `back` may send requests to `front` only.
    let denied = host.get("/ask?back.spin.internal/ask?back.spin.internal/hello/x").await;
    assert!(denied.text().contains("HttpRequestDenied"), "{}", denied.text());
}

#[tokio::test]
async fn a_loop_ends_and_who_asks_once_is_not_taken_for_one() {
    let host = start_app(&manifest("chaining-loop", ALL, ""), &["--threads", "1"], &[]).await;
    let answer = host.get("/loop/front.spin.internal").await;
    assert!(answer.text().contains("LoopDetected"), "{}", answer.text());
    assert_eq!(host.metric("wasi_http_host_requests_total{component=\"front\",status=\"2xx\"}").await, 17.0);
    // Many short chains at once in one instance do not count as one long chain.
    let many = (0..64).map(|_| host.get("/ask?front.spin.internal/ask?back.spin.internal/hello/x"));
    for answer in futures::future::join_all(many).await {
        assert_eq!(answer.text(), "200 200 hello x");
    }
}

/// A WASI 0.3 service may also send requests by the client of WASI 0.2. Both count towards the same chain.
#[tokio::test]
async fn a_loop_by_the_earlier_client_ends_all_the_same() {
    let host = start_app(&manifest("chaining-earlier", ALL, ""), &["--threads", "1"], &[]).await;
    let answer = host.get("/loop-earlier/front.spin.internal").await;
    assert!(answer.text().contains("LoopDetected"), "{}", answer.text());
    assert_eq!(host.metric("wasi_http_host_requests_total{component=\"front\",status=\"2xx\"}").await, 17.0);
    let many =
        (0..64).map(|_| host.get("/ask-earlier?front.spin.internal/ask-earlier?back.spin.internal/hello/x"));
    for answer in futures::future::join_all(many).await {
        assert_eq!(answer.text(), "200 200 hello x");
    }
    let seen = host.get("/ask-earlier?back.spin.internal/headers").await;
    let identity = format!("x-request-id: {}", seen.header("x-request-id").unwrap());
    assert!(seen.text().contains(&identity), "{identity} in {}", seen.text());
}

#[tokio::test]
async fn who_asks_itself_without_a_second_instance_gets_an_error_in_time_to_tell_it() {
    let limits = "[component.front.tool.wasi-http-host]\nmax-instances = 1\ninstance-max-concurrency = 1\n\
                  request-timeout = \"3s\"\n";
    let host = start_app(&manifest("chaining-alone", ALL, limits), &["--threads", "1"], &[]).await;
    let answer = host.get("/ask?front.spin.internal/hello/x").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with("error "), "{}", answer.text());
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_trap_of_the_other_is_an_error_and_costs_the_asking_one_nothing() {
    let host = start_app(&manifest("chaining-trap", ALL, ""), &["--threads", "1"], &[]).await;
    assert!(host.get("/ask?back.spin.internal/trap").await.text().starts_with("error "));
    let ended = "wasi_http_host_instances_ended_total{component=\"front\",reason=\"trap\"}";
    assert_eq!(host.metric(ended).await, 0.0);
    assert_eq!(host.get("/ask?back.spin.internal/hello/x").await.text(), "200 hello x");
    // The failure is counted as a client's failed request is.
    let of_back =
        |status: &str| format!("wasi_http_host_requests_total{{component=\"back\",status=\"{status}\"}}");
    assert_eq!(host.metric(&of_back("5xx")).await, 1.0);
    assert_eq!(host.metric(&of_back("2xx")).await, 1.0);
}

#[tokio::test]
async fn a_response_that_is_never_read_gives_the_place_back() {
    let limits =
        "[component.back.tool.wasi-http-host]\nmax-concurrent-requests = 1\nmax-queued-requests = 0\n";
    let host =
        start_app(&manifest("chaining-forgotten", ALL, limits), &["--response-timeout", "2s"], &[]).await;
    assert_eq!(host.get("/forget?back.spin.internal/endless").await.text(), "forgotten");
    until("the request that was forgotten is no longer counted as active", async || {
        let answer = host.get("/ask?back.spin.internal/hello/x").await;
        let served = answer.text() == "200 hello x";
        assert!(served || answer.text().contains("ConnectionLimitReached"), "{}", answer.text());
        served.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_cannot_pass_for_a_component() {
    let host = start_app(&manifest("chaining-forged", ALL, ""), &[], &[]).await;
    for (target, name) in [
        ("/target", "back.spin.internal"),
        ("/target", "BACK.spin.internal:80"),
        ("/target", "back.spin.internal."),
        ("/target", "spin.internal"),
        ("http://back.spin.internal/target", "name.test"),
        ("http://name.test/target", "back.spin.internal"),
    ] {
        let mut client = host.connect().await;
        let request = format!("GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        client.write(request.as_bytes()).await.unwrap();
        let answer = client.until_closed().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target} {name}: {answer}");
        assert!(answer.contains("The host is a name between components"), "{target} {name}: {answer}");
    }
    // A component sees the name in a request of another component only, with the address of the first client.
    let seen = host.get("/ask?back.spin.internal/target").await;
    assert!(seen.text().contains(" back.spin.internal "), "{}", seen.text());
    let forged =
        host.request("GET", "/ask?back.spin.internal/headers").header("spin-client-addr", "192.0.2.1:9");
    let seen = forged.send().await;
    assert!(seen.text().contains("spin-client-addr: 127.0.0.1:"), "{}", seen.text());
    assert!(seen.text().contains("forwarded: for=\"127.0.0.1:"), "{}", seen.text());
    assert!(!seen.text().contains("192.0.2.1"), "{}", seen.text());
}
