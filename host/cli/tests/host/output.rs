//! What guests print is logged line by line, and no more of it than is good.

use crate::harness::Host;

#[tokio::test]
async fn lines_are_wrapped_with_their_stream_and_component() {
    let host = Host::start("service", &[]);
    host.get("/print/this").await;
    let line = host.wait_for_line(|line| line["message"] == "printed this");
    assert_eq!(
        (&line["stream"], &line["level"], &line["component"]),
        (&"stdout".into(), &"INFO".into(), &"guest_service".into())
    );
    let line = host.wait_for_line(|line| line["message"] == "complained this");
    assert_eq!((&line["stream"], &line["level"]), (&"stderr".into(), &"WARN".into()));
}

#[tokio::test]
async fn a_flood_neither_fills_the_log_nor_holds_anybody_up() {
    let host = Host::start("service", &["--threads", "1"]);
    // 24 MB, of which a burst of one and a trickle are logged.
    assert_eq!(host.get("/flood/20000").await.text(), "flooded");
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
    host.wait_for_line(|line| line["message"] == "a guest prints more than is logged");
    assert!(host.metric("wasi_http_host_guest_output_dropped_bytes_total").await > 1e6);
    let logged: usize = host.lines().iter().filter_map(|line| line["message"].as_str()).map(str::len).sum();
    assert!(logged < 8 << 20, "{logged} bytes");
}
