//! Traces of requests from one component to another.

use testkit::{
    Host,
    otlp::{Collector, Span, SpanKind},
    paths::{guest, scratch},
};

use crate::harness::start_app;

/// A host of `front`, which may send requests to itself, to `back`, and to a component that does not exist.
async fn serve(test: &str, collector: &Collector) -> Host {
    let path = scratch(test).join("spin.toml");
    let service = guest("service");
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"front\"\n\
         [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"back\"\n\
         [component.front]\nsource = {service:?}\nallowed_outbound_hosts = \
         [\"http://front.spin.internal\", \"http://back.spin.internal\", \"http://none.spin.internal\"]\n\
         [component.back]\nsource = {service:?}\n\
         [component.back.tool.wasi-http-host]\nrequest-timeout = \"2s\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let endpoint = collector.url();
    let soon = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    start_app(&path, &["--threads", "1"], &soon).await
}

#[tokio::test]
async fn what_fails_between_components_is_named_by_what_it_was() {
    let collector = Collector::start().await;
    let host = serve("traces-chained", &collector).await;
    for (path, kind) in [
        ("/hang", "timeout"),
        ("/trap", "protocol"),
        ("/short", ""),
        ("/error/refused", "connect"),
        ("/error/internal", "protocol"),
        ("/status/503", "503"),
    ] {
        host.get(&format!("/ask?back.spin.internal{path}")).await;
        let url = format!("http://back.spin.internal{path}");
        let span = collector.wait_for_one(|span| span.get("url.full") == url).await;
        assert_eq!((span.is_error, span.get("error.type")), (!kind.is_empty(), kind), "{span:#?}");
    }
    for (target, kind) in [("none.spin.internal", "dns"), ("other.spin.internal", "denied")] {
        host.get(&format!("/ask?{target}/hello/x")).await;
        let is_it = |span: &Span| span.get("server.address") == target;
        assert_eq!(collector.wait_for_one(is_it).await.get("error.type"), kind);
    }
    host.get("/loop/front.spin.internal").await;
    collector.wait_for_one(|span| span.get("error.type") == "loop").await;
}

/// A request that a service sends by the client of WASI 0.2 is a child of the request that the service is serving.
#[tokio::test]
async fn the_earlier_client_s_requests_are_children_too() {
    let collector = Collector::start().await;
    let host = serve("traces-earlier", &collector).await;
    let asked = (0..8).map(|at| {
        let (path, host) = (format!("/ask-earlier?back.spin.internal/hello/{at}"), &host);
        async move {
            let trace = format!("{:032x}", at + 1);
            super::traced(host, &path, &super::parent(&trace, "01")).await
        }
    });
    for (at, answer) in futures::future::join_all(asked).await.into_iter().enumerate() {
        assert_eq!(answer, format!("200 hello {at}"));
    }
    let servers = collector.wait_for(8, |span| span.kind == SpanKind::Server).await;
    for client in collector.wait_for(8, |span| span.kind == SpanKind::Client).await {
        let server = servers.iter().find(|server| server.id == client.parent).unwrap();
        assert_eq!(client.trace, server.trace);
        let at = u8::from_str_radix(&client.trace, 16).unwrap() - 1;
        assert!(client.get("url.full").ends_with(&format!("/{at}")), "{client:#?}");
    }
}
