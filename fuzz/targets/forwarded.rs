//! Input: what a client wrote in `Forwarded`, `X-Forwarded-For` or `CDN-Loop`. Whatever it is, what a proxy adds at the end reads as the proxy
//! wrote it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasi_http_host_core::forwarded::{MAX_HOPS, cdn_loop_passes, forwarded, x_forwarded_for};

const ID: &str = "wasi-http-host";

fuzz_target!(|written: &[u8]| {
    let with = |added: &str| [written, b", ", added.as_bytes()].concat();
    for address in ["192.0.2.1:0", "192.0.2.1:80", "[2001:db8::1]:443"] {
        let parsed = Some(address.parse().unwrap());
        let quoted = forwarded(&with(&format!("by=\"_a, \\\"b\"; For=\"{address}\";proto=https")));
        let listed = x_forwarded_for(&with(address));
        for (read, before) in [(quoted, forwarded(written)), (listed, x_forwarded_for(written))] {
            assert!((1..=MAX_HOPS).contains(&read.len()));
            assert_eq!(read[0], parsed);
            // What was there before reads as before.
            assert_eq!(&read[1..], &before[..before.len().min(MAX_HOPS - 1)]);
        }
    }
    assert_eq!(cdn_loop_passes(&with(ID), ID), cdn_loop_passes(written, ID) + 1);
});
