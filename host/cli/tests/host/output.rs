//! A guest's output: the host logs it line by line, at a limited rate.

use crate::harness::start_guest;

#[tokio::test]
async fn lines_are_wrapped_with_their_stream_and_component() {
    let host = start_guest("service", &[]).await;
    host.get("/print/this").await;
    let line = host.wait_for_line(|line| line["message"] == "printed this").await;
    assert_eq!(
        (&line["stream"], &line["level"], &line["component"]),
        (&"stdout".into(), &"INFO".into(), &"guest_service".into())
    );
    let line = host.wait_for_line(|line| line["message"] == "complained this").await;
    assert_eq!((&line["stream"], &line["level"]), (&"stderr".into(), &"WARN".into()));
}

#[tokio::test]
async fn a_flood_neither_fills_the_log_nor_holds_anybody_up() {
    let host = start_guest("service", &["--threads", "1"]).await;
    // The guest prints 24 MB. The host logs a burst of 1 MB and then a limited rate.
    assert_eq!(host.get("/flood/20000").await.text(), "flooded");
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
    host.wait_for_line(|line| {
        line["message"] == "a guest prints more than the rate limit allows: dropping output"
    })
    .await;
    assert!(host.metric("wasi_http_host_guest_output_dropped_bytes_total").await > 1e6);
    let logged: usize = host.lines().iter().filter_map(|line| line.get("message")).map(str::len).sum();
    assert!(logged < 8 << 20, "{logged} bytes");
}
