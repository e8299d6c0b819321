//! No tool chain's runtime is a way around the host's limits.

use e2e::harness::until;

use crate::harness::Example;

each_example!(one_that_spins_is_cut_off, one_that_takes_memory_without_end_is_contained,);

async fn one_that_spins_is_cut_off(example: &Example) {
    let host =
        example.start_with(|options| options.flag("--request-timeout", "2s").flag("--threads", "1")).await;
    let spinning = tokio::spawn(host.ask("GET", "/spin").send());
    // Whoever comes before it may share its instance, and then has to wait for the end of that.
    until("it has begun", async || {
        let active = host.host_metrics().await.sum("wasi_http_host_requests_active", &[]);
        (active > 0.0).then_some(())
    })
    .await;
    // The thread is shared: others are answered beside it, or told in time that they are not.
    for _ in 0..5 {
        let reply = host.ask("GET", "/").send().await;
        assert!(reply.status == 200 || reply.status == 504, "{reply:?}");
    }
    let reply = spinning.await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (504, r#"{"detail":"Gateway Timeout"}"#));
    assert_eq!(host.get("/").await.text(), example.greeting);
}

async fn one_that_takes_memory_without_end_is_contained(example: &Example) {
    let host = example.start_with(|options| options.flag("--max-memory", "96MiB")).await;
    let bombs: Vec<_> = (0..4).map(|_| tokio::spawn(async_try(host.ask("GET", "/allocate")))).collect();
    for bomb in bombs {
        let reply = bomb.await.unwrap();
        // An engine may answer for its script, and break off there.
        assert!(reply.is_none_or(|status| status == 500), "{reply:?}");
    }
    assert_eq!(host.get("/").await.text(), example.greeting);
    let metrics = host.host_metrics().await;
    assert!(metrics.sum("wasi_http_host_guest_memory_refused_total", &[]) > 0.0);
    let held = metrics.sum("wasi_http_host_guest_memory_bytes", &[]);
    assert!(held < f64::from(4 * (96 << 20)), "the bombs' memory is given back: {held}");
}

/// The status of the answer, if a whole one comes.
async fn async_try(ask: e2e::harness::Ask) -> Option<u16> {
    ask.try_send().await.ok().map(|reply| reply.status)
}
