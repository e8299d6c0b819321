//! The system `my-app`: service B asks service A.

use e2e::{Instances, system};
use testkit::{Host, HostOptions};

use super::upstream::Upstream;

suite!(
    b_answers_with_as_message,
    an_absent_or_broken_a_is_a_problem_with_a_reason,
    the_trace_goes_on,
    many_pings_at_once_are_answered
);

async fn start(instances: Instances, change: impl FnOnce(HostOptions) -> HostOptions) -> Host {
    change(system("my-app", instances).await).start().await
}

async fn b_answers_with_as_message(instances: Instances) {
    let host = start(instances, |options| options.setting("service_a_message", "Good \"morning\"")).await;
    assert_eq!(
        host.get("/ping_service_a").await.is(200).text(),
        r#"{"message":"Hello from service B","service_a":{"message":"Good \"morning\""}}"#
    );
    assert_eq!(host.get("/service-a/").await.is(200).text(), r#"{"message":"Good \"morning\""}"#);
    assert_eq!(host.get("/service-a/health").await.is(200).json()["service"], "service-a");
}

async fn an_absent_or_broken_a_is_a_problem_with_a_reason(instances: Instances) {
    let refusing = testkit::ports::Refusing::bind();
    let broken = Upstream::answering(200, "no JSON").await;
    let failing = Upstream::answering(500, "{}").await;
    let large = Upstream::answering(200, &" ".repeat(100_000)).await;
    let silent = Upstream::silent().await;
    for (url, status, reason) in [
        (format!("http://{}", refusing.address()), 502, "no connection"),
        (broken.url.clone(), 502, "invalid response: expected"),
        (failing.url.clone(), 502, "invalid response: status 500"),
        (large.url.clone(), 502, "the response's body is too large"),
        (silent.url.clone(), 504, "no response in time"),
    ] {
        let host = start(instances, |options| {
            options.setting("service_a_url", &url).setting("service_a_timeout", "300ms")
        })
        .await;
        let reply = host.get("/ping_service_a").await.is(status);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("service A: ") && detail.contains(reason), "{detail}");
        host.wait_for_line(|line| line.text.contains("the request failed") && line.text.contains(reason))
            .await;
    }
}

async fn the_trace_goes_on(instances: Instances) {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let upstream = Upstream::answering(200, r#"{"message":"from A"}"#).await;
    let host = start(instances, |options| options.setting("service_a_url", &upstream.url)).await;
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    host.request("GET", "/ping_service_a")
        .header("traceparent", &traceparent)
        .header("authorization", "Bearer secret")
        .send()
        .await
        .is(200);
    let heads = upstream.heads();
    let [head] = &heads[..] else { panic!("one request: {heads:?}") };
    assert!(head.contains(&format!("traceparent: 00-{TRACE}-")), "{head}");
    assert!(!head.contains("bearer"), "{head}");
}

async fn many_pings_at_once_are_answered(instances: Instances) {
    let host = start(instances, |options| options).await;
    let pings = (0..32).map(|_| host.get("/ping_service_a"));
    for reply in futures::future::join_all(pings).await {
        reply.is(200);
    }
}
