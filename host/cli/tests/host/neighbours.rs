//! A well-behaved component while another one in the same process attacks: it is served, and the process takes less memory than the
//! sum of all limits that it printed at its start. `make bench-hostile` measures the latencies.

use std::{net::SocketAddr, path::Path};

use nix::sys::signal::Signal;
use testkit::{
    Host,
    paths::{guest, scratch},
    ports::listen,
};

use crate::{
    components::composed,
    harness::start_app,
    hostile::{HOARDS, peak_memory},
};

/// Requests during each attack, and clients that leave.
const REQUESTS: usize = 20;
/// Limits whose sum is small.
const LIMITS: [&str; 16] = [
    "--threads",
    "1",
    "--max-instances",
    "1",
    "--max-memory",
    "16MiB",
    "--max-connections",
    "64",
    "--max-concurrent-requests",
    "8",
    "--max-queued-requests",
    "8",
    "--outbound-max-concurrency",
    "8",
    "--request-timeout",
    "2s",
];

fn manifest(silent: SocketAddr, more: &str) -> String {
    let service = guest("service");
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [[trigger.http]]\nroute = \"/hello/...\"\ncomponent = \"neighbour\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"hostile\"\n\
         [component.neighbour]\nsource = {service:?}\n\
         [component.hostile]\nsource = {service:?}\nkey_value_stores = [\"default\"]\n\
         allowed_outbound_hosts = [\"http://{silent}\", \"http://neighbour.spin.internal\"]\n{more}"
    )
}

/// Sends requests to the neighbour during an attack.
async fn beside(host: &Host, attack: impl Future<Output = ()>) {
    tokio::join!(attack, async {
        for at in 0..REQUESTS {
            assert_eq!(host.get(&format!("/hello/{at}")).await.text(), format!("hello {at}"));
        }
    });
}

/// Has the host load an application with `more`, which the host must refuse for this reason.
async fn reload(host: &Host, path: &Path, text: &str, reason: &str) {
    std::fs::write(path, text).unwrap();
    host.signal(Signal::SIGHUP);
    host.wait_for_line(|line| {
        line.message_contains("still serves the previous state")
            && line["error"].as_str().is_some_and(|error| error.contains(reason))
    })
    .await;
}

#[tokio::test]
async fn a_neighbour_is_served_and_the_process_stays_under_its_sum() {
    let (_silent, address) = listen().await;
    let path = scratch("neighbours").join("spin.toml");
    std::fs::write(&path, manifest(address, "")).unwrap();
    std::fs::write(path.with_file_name("places.wasm"), composed(60)).unwrap();
    let host = start_app(&path, &LIMITS, &[]).await;
    let sum = host.metric("wasi_http_host_memory_bound_bytes").await;
    assert!(sum < f64::from(1 << 30), "the sum says something: {sum}");

    beside(&host, async {
        for kind in HOARDS {
            host.get(&format!("/hostile/hoard?{kind}/512/{address}")).await;
        }
        let held = host.get("/hostile/hoard?responses/512/neighbour.spin.internal").await;
        assert_eq!(held.status, 500, "{}", held.text());
    })
    .await;
    let places = "[[trigger.http]]\nroute = \"/places\"\ncomponent = \"places\"\n[component.places]\nsource = \"places.wasm\"\n";
    beside(&host, reload(&host, &path, &manifest(address, places), "61 stacks")).await;
    let mount = "files = [{ source = \"/proc/self\", destination = \"/self\" }]\n";
    beside(&host, reload(&host, &path, &manifest(address, mount), "files[0].source")).await;
    beside(&host, async {
        for _ in 0..REQUESTS {
            let left = host.request("GET", "/spin/").start().await.unwrap();
            drop(left);
        }
    })
    .await;

    let peak = peak_memory(&host);
    assert!((peak as f64) < sum, "{peak} of {sum}");
    let failed = host.metric("wasi_http_host_requests_total{component=\"neighbour\",status=\"5xx\"}").await;
    assert_eq!(failed, 0.0);
}
