//! The limit of a guest's memory.

use testkit::{LogLine, paths::guest};

use crate::harness::{serving, start_guest};

#[tokio::test]
async fn a_guest_that_takes_memory_without_end_is_stopped_at_its_ceiling() {
    let host = start_guest("service", &["--max-memory", "16MiB"]).await;
    assert_eq!(host.get("/grow").await.status, 500);
    assert!(host.metric("wasi_http_host_guest_memory_refused_total").await > 0.0);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
    let held = host.metric("wasi_http_host_guest_memory_bytes").await;
    assert!(held > 0.0 && held < f64::from(16 << 20), "{held}");
}

#[tokio::test]
async fn with_little_address_space_there_is_no_pool_and_the_limits_hold() {
    if std::process::Command::new("prlimit").arg("--version").output().is_err() {
        println!("NOT RUN: there is no prlimit(1)");
        return;
    }
    let flags = ["--threads", "1", "--instance-max-concurrency", "1", "--max-memory", "16MiB"];
    let options = serving(&guest("service")).flags(&flags).flags(&["--request-timeout", "2s"]);
    let pooling = options.clone().start().await;
    assert_eq!(pooling.metric("wasi_http_host_instance_pool").await, 1.0);
    // As under `ulimit -v 8388608`.
    let host = options.under(["prlimit", "--as=8589934592"]).start().await;
    assert_eq!(host.metric("wasi_http_host_instance_pool").await, 0.0);
    let warning =
        |line: &LogLine| line.message_contains("the address space is too small for a pool of instances");
    assert_eq!(host.lines().iter().filter(|line| warning(line)).count(), 1);

    let answers = futures::future::join_all((0..40).map(|_| host.get("/sleep/100"))).await;
    assert!(answers.iter().all(|answer| answer.text() == "slept"));
    assert!(host.metric("wasi_http_host_instances_live").await > 2.0);
    assert_eq!(host.get("/grow").await.status, 500);
    assert!(host.metric("wasi_http_host_guest_memory_refused_total").await > 0.0);
    assert_eq!(host.get("/spin").await.status, 504);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}
