//! The GitHub Gists API as a WebAssembly component for WASI HTTP.
//!
//! The modules form layers. Each module uses only modules of the layers below it:
//!
//! | layer | modules |
//! | --- | --- |
//! | binding to WASI | `wasi` |
//! | routes | [`service`], `pages` |
//! | state of an instance | [`app`], [`recent`] |
//! | shared access to GitHub | [`singleflight`], [`upstream`] |
//! | answers | [`response`] |
//! | GitHub, cache, counters | [`github`], [`cache`], [`metrics`] |
//! | input | [`settings`], [`request`] |
//! | foundation | [`ports`], [`log`], [`text`], [`time`], [`crypto`] |
//!
//! Only `wasi` depends on WASI. Everything else runs natively, and the tests run it there with fakes of the
//! interfaces in [`ports`].

pub mod app;
pub mod cache;
pub mod crypto;
pub mod github;
pub mod log;
pub mod metrics;
mod pages;
pub mod ports;
pub mod recent;
pub mod request;
pub mod response;
pub mod service;
pub mod settings;
pub mod singleflight;
pub mod text;
pub mod time;
pub mod upstream;
#[cfg(target_family = "wasm")]
mod wasi;
