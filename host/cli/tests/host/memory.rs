//! A guest's memory has a ceiling of its own.

use http::StatusCode;

use crate::harness::Host;

#[tokio::test]
async fn a_guest_that_takes_memory_without_end_is_stopped_at_its_ceiling() {
    let host = Host::start("service", &["--max-memory", "16MiB"]);
    assert_eq!(host.get("/grow").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(host.metric("wasi_http_host_guest_memory_refused_total").await > 0.0);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
    let held = host.metric("wasi_http_host_guest_memory_bytes").await;
    assert!(held > 0.0 && held < f64::from(16 << 20), "{held}");
}
