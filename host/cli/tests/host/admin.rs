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
    let host = start_guest("service", &["--component-metrics", "/metrics/own"]).await;
    let metrics = host.admin("/metrics").await;
    let own = "\n# TYPE own_total counter\nown_total{kind=\"a\"} 1\n";
    assert!(metrics.text().contains(own), "{}", metrics.text());
    assert_eq!(host.metric("wasi_http_host_component_metrics_up").await, 1.0);
    // The host's own request for the component's metrics is not counted as a client's request.
    assert!(
        metrics
            .text()
            .contains("wasi_http_host_requests_total{component=\"guest_service\",status=\"2xx\"} 0\n")
    );
}

#[tokio::test]
async fn a_component_cannot_forge_the_hosts_metrics_or_break_a_scrape() {
    for (document, reason) in [
        ("forged", "line 2: the name \"wasi_http_host_requests_total\" belongs to the host"),
        ("double", "line 1: the name \"process_open_fds\" belongs to the host"),
        ("many", "line 10001: more than 10000 samples"),
        ("long", "the component's response is invalid: length limit exceeded"),
        ("broken", "line 1: \"<html>no\" is no name of a metric"),
    ] {
        let host = start_guest("service", &["--component-metrics", &format!("/metrics/{document}")]).await;
        let metrics = host.admin("/metrics").await;
        for foreign in ["forged", "own_total", "html", "xxx"] {
            assert!(!metrics.text().contains(foreign), "{document}: {foreign}");
        }
        assert_eq!(metrics.text().matches("\nprocess_open_fds ").count(), 1, "{document}");
        assert_eq!(host.metric("wasi_http_host_component_metrics_up").await, 0.0, "{document}");
        let line =
            host.wait_for_line(|line| line["message"] == "the component's own metrics are left out").await;
        assert_eq!((&line["reason"], &line["component"]), (&reason.into(), &"guest_service".into()));
    }
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
