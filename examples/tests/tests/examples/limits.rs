//! The host's limits hold for the runtimes of all tool chains.

use testkit::{http::BoundRequest, until};

use crate::harness::Example;

each_example!(
    one_that_spins_is_cut_off,
    one_that_takes_memory_without_end_is_contained,
    one_that_should_be_reused_is_reused_or_answers_all_but_one,
);

async fn one_that_spins_is_cut_off(example: &Example) {
    let host =
        example.start_with(|options| options.flag("--request-timeout", "2s").flag("--threads", "1")).await;
    let spinning = tokio::spawn(host.request("GET", "/spin").send());
    // A request that is sent before may share its instance, and would wait for its end.
    until("the request is active", async || {
        let active = host.samples().await.sum("wasi_http_host_requests_active", &[]);
        (active > 0.0).then_some(())
    })
    .await;
    // The host has one thread: other requests are answered meanwhile, or with 504 in time.
    for _ in 0..5 {
        let reply = host.request("GET", "/").send().await;
        assert!(reply.status == 200 || reply.status == 504, "{reply:?}");
    }
    let reply = spinning.await.unwrap();
    assert_eq!((reply.status, reply.text()), (504, r#"{"detail":"Gateway Timeout"}"#));
    assert_eq!(host.get("/").await.text(), example.greeting);
}

async fn one_that_takes_memory_without_end_is_contained(example: &Example) {
    let host = example.start_with(|options| options.flag("--max-memory", "96MiB")).await;
    let bombs: Vec<_> = (0..4).map(|_| tokio::spawn(status_of(host.request("GET", "/allocate")))).collect();
    for bomb in bombs {
        let reply = bomb.await.unwrap();
        // An engine may respond for its script, and break the response off.
        assert!(reply.is_none_or(|status| status == 500), "{reply:?}");
    }
    assert_eq!(host.get("/").await.text(), example.greeting);
    let metrics = host.samples().await;
    assert!(metrics.sum("wasi_http_host_guest_memory_refused_total", &[]) > 0.0);
    let held = metrics.sum("wasi_http_host_guest_memory_bytes", &[]);
    assert!(held < f64::from(4 * (96 << 20)), "the memory of the failed requests is not released: {held}");
}

/// Not every engine can serve a second request with the same instance. StarlingMonkey cannot.
async fn one_that_should_be_reused_is_reused_or_answers_all_but_one(example: &Example) {
    let flags = ["--instance-max-requests", "100", "--threads", "2", "--request-timeout", "5s"];
    let host = example.start_with(|options| options.flags(&flags)).await;
    let mut failed = 0;
    for _ in 0..10 {
        let requests: Vec<_> = (0..4).map(|_| tokio::spawn(host.request("GET", "/").send())).collect();
        for request in requests {
            let reply = request.await.unwrap();
            if reply.status == 200 {
                assert_eq!(reply.text(), example.greeting);
            } else {
                failed += 1;
            }
        }
    }
    let metrics = host.samples().await;
    let stopped = metrics.sum("wasi_http_host_instance_reuse_stopped_total", &[]);
    let reused = metrics.sum("wasi_http_host_instances_reused_total", &[]);
    if example.name == "javascript" {
        assert_eq!((failed, stopped, reused), (1, 1.0, 1.0));
    } else {
        assert!(failed == 0 && stopped == 0.0 && reused > 1.0, "{failed} {stopped} {reused}");
    }
}

/// The status, if there is a whole response.
async fn status_of(request: BoundRequest) -> Option<u16> {
    request.try_send().await.ok().map(|reply| reply.status)
}
