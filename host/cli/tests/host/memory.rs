//! The limit of a guest's memory.

use crate::harness::start_guest;

#[tokio::test]
async fn a_guest_that_takes_memory_without_end_is_stopped_at_its_ceiling() {
    let host = start_guest("service", &["--max-memory", "16MiB"]).await;
    assert_eq!(host.get("/grow").await.status, 500);
    assert!(host.metric("wasi_http_host_guest_memory_refused_total").await > 0.0);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
    let held = host.metric("wasi_http_host_guest_memory_bytes").await;
    assert!(held > 0.0 && held < f64::from(16 << 20), "{held}");
}
