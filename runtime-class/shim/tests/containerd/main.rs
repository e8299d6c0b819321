//! The shim under a real containerd, with its own root, state and socket: each test starts one.
//!
//! They need root, `runc`, and containerd with `ctr`: from `CONTAINERD`, a directory, or the PATH. Which version it is
//! decides what is tested: both containerd 2 and 1.6 must pass. `wasi-http-host` (static) and `gists.wasm` come from
//! `WASI_HTTP_HOST` and `GISTS_WASM`, a static busybox from `BUSYBOX` or the PATH. What is missing fails the tests.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of any #[test] or cfg(test)"
)]

mod artifact;
mod confinement;
mod daemon;
mod exec;
mod http;
mod image;
mod lifecycle;
mod linux;
mod observe;
mod restart;
mod rpc;
mod serving;
mod statistics;
