//! A `wasi:http@0.3` service for the host's tests: each path is one behaviour, valid or invalid.

#[cfg(target_family = "wasm")]
mod guest;
