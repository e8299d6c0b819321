//! Figures of the examples for `examples/README.md`: the time of a start with compiled code, responses a second for several clients, and
//! the latency for one. The figures are printed; no bound is asserted.

use std::time::{Duration, Instant};

use testkit::http::Request;

use crate::EXAMPLES;

/// The number of clients.
const CLIENTS: usize = 8;
/// How long the clients send requests.
const SPAN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_and_throughput_are_printed() {
    println!("| example | size, MB | ready after, ms | answers a second | one alone, ms |");
    println!("| --- | --- | --- | --- | --- |");
    for example in EXAMPLES {
        // The first start compiles the component, if the cache does not have its code.
        drop(example.start().await);
        let host = example.start().await;
        let size =
            megabytes(&testkit::paths::workspace().join(format!("target/examples/{}.wasm", example.name)));
        let ready = host.started_in();
        let began = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let address = host.address();
                tokio::spawn(async move {
                    let mut answers = 0_u32;
                    while began.elapsed() < SPAN {
                        assert_eq!(Request::get("/").to(address).send().await.status, 200);
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        let mut answers = 0;
        for client in clients {
            answers += client.await.unwrap();
        }
        let alone = Instant::now();
        for _ in 0..20 {
            host.get("/").await;
        }
        println!(
            "| {} | {size:.1} | {:.0} | {:.1} | {:.1} |",
            example.name,
            ready.as_secs_f64() * 1e3,
            f64::from(answers) / began.elapsed().as_secs_f64(),
            alone.elapsed().as_secs_f64() * 1e3 / 20.0
        );
        assert!(answers > 0, "{}", example.name);
    }
}

fn megabytes(file: &std::path::Path) -> f64 {
    let bytes = std::fs::metadata(file).unwrap().len();
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    let bytes = bytes as f64;
    bytes / 1e6
}
