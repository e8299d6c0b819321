//! A `wasi:http@0.3` service for the host's tests: it forwards each request to one origin, unchanged, and returns the origin's response.

#[cfg(target_family = "wasm")]
mod guest;
