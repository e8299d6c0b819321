//! A service for the host's tests: each path is one behaviour, good or bad.

#[cfg(target_family = "wasm")]
mod guest;
