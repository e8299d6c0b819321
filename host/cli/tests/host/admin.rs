//! The admin listener: probes and metrics.

use crate::harness::start_guest;

#[tokio::test]
async fn it_answers_probes_and_scrapes_and_nothing_else() {
    let host = start_guest("service", &[]).await;
    host.get("/hello/x").await;
    for path in ["/live", "/ready"] {
        let answer = host.admin(path).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"status":"ok"}"#), "{path}");
    }
    let metrics = host.admin("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(
        metrics
            .text()
            .contains("wasi_http_host_requests_total{component=\"guest_service\",status=\"2xx\"} 1\n")
    );
    for path in ["/", "/metrics/", "/hello/x"] {
        assert_eq!(host.admin(path).await.status, 404, "{path}");
    }
    // The main listener has none of these paths.
    assert_eq!(host.get("/live").await.text(), "no behaviour \"live\"");
}

#[tokio::test]
async fn the_component_is_asked_for_its_readiness() {
    let host = start_guest("service", &["--ready-path", "/status/204"]).await;
    assert_eq!(host.admin("/ready").await.status, 200);
    let host = start_guest("service", &["--ready-path", "/status/503"]).await;
    let answer = host.admin("/ready").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("the component answers 503 at /status/503"), "{}", answer.text());
    assert_eq!(host.admin("/live").await.status, 200);
}

#[tokio::test]
async fn the_components_metrics_follow_the_hosts() {
    let host = start_guest("service", &["--component-metrics", "/hello/own_metric_1"]).await;
    let metrics = host.admin("/metrics").await;
    assert!(metrics.text().ends_with("\nhello own_metric_1\n"), "{}", metrics.text());
    // The host's own request for the component's metrics is not counted as a client's request.
    assert!(
        metrics
            .text()
            .contains("wasi_http_host_requests_total{component=\"guest_service\",status=\"2xx\"} 0\n")
    );
}

#[tokio::test]
async fn what_guests_ask_of_the_host_is_counted() {
    let host = start_guest("service", &[]).await;
    host.get("/get/something").await;
    host.get("/fetch?192.0.2.1").await;
    assert_eq!(host.metric("wasi_http_host_keyvalue_operations_total{operation=\"get\"}").await, 1.0);
    assert_eq!(host.metric("wasi_http_host_keyvalue_memory_limit_bytes").await, f64::from(64 << 20));
    assert_eq!(host.metric("wasi_http_host_outbound_denied_total").await, 1.0);
}

#[tokio::test]
async fn the_format_is_what_scrapers_expect() {
    let host = start_guest("service", &[]).await;
    host.get("/hello/x").await;
    let metrics = host.admin("/metrics").await;
    let mut family = "";
    for line in metrics.text().lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.starts_with(family), "{line}");
        } else {
            assert!(line.starts_with(family), "{line} in {family}");
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
