//! Traces: the spans of a request through the host and the component to GitHub.

use e2e::{Instances, Service};
use testkit::HostOptions;
use testkit::otlp::{Collector, SpanKind};

suite!(a_miss_shows_its_call_of_github_and_a_hit_has_none);

/// The parent span's id of the client.
const PARENT: &str = "00f067aa0ba902b7";

async fn a_miss_shows_its_call_of_github_and_a_hit_has_none(instances: Instances) {
    let collector = Collector::start().await;
    let traced = |options: HostOptions| {
        options
            .setting("otel_exporter_otlp_endpoint", &collector.url())
            .setting("otel_bsp_schedule_delay", "20")
    };
    let service = Service::with(instances, traced).await;
    let (miss, hit) = (format!("{:032x}", 1), format!("{:032x}", 2));
    for trace in [&miss, &hit] {
        let parent = format!("00-{trace}-{PARENT}-01");
        service.host.request("GET", "/octocat").header("traceparent", &parent).send().await.is(200);
    }
    let one = async |trace: &str, kind: SpanKind| {
        collector.wait_for_one(|span| span.trace == trace && span.kind == kind).await
    };
    let server = one(&miss, SpanKind::Server).await;
    assert_eq!((&*server.parent, &*server.name), (PARENT, "GET /..."));
    let client = one(&miss, SpanKind::Client).await;
    assert_eq!(client.parent, server.id);
    let calls = service.github.journal().calls_for("octocat");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].header("traceparent"), Some(&*format!("00-{miss}-{}-01", client.id)));

    one(&hit, SpanKind::Server).await;
    let of_hit = |kind: SpanKind| {
        collector.spans().iter().filter(|span| span.trace == hit && span.kind == kind).count()
    };
    assert!(of_hit(SpanKind::Internal) > 0, "a hit reads the store");
    assert_eq!(of_hit(SpanKind::Client), 0, "a hit does not ask GitHub");
}
