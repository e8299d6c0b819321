//! Tests of the shim under a real containerd. Each test starts a containerd with its own root, state and socket.
//!
//! The tests need:
//!
//! - root;
//! - `runc` on the PATH;
//! - containerd and `ctr` in the directory `CONTAINERD` or on the PATH. Version 1.6 and 2 must both pass;
//! - `wasi-http-host` (static) and `gists.wasm`: the paths `WASI_HTTP_HOST` and `GISTS_WASM`, or on the PATH;
//! - a static busybox: the path `BUSYBOX`, or on the PATH.
//!
//! Without one of them, the tests fail.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, which stand outside #[test] and cfg(test)"
)]

mod artifact;
mod compiling;
mod confinement;
mod daemon;
mod exec;
mod image;
mod lifecycle;
mod linux;
mod observe;
mod origin;
mod programs;
mod restart;
mod rpc;
mod serving;
mod statistics;
