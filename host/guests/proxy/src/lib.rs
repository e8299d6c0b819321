//! A `wasi:http@0.2` proxy for the host's tests: each path is one behaviour, valid or invalid.

#[cfg(target_family = "wasm")]
mod guest;
