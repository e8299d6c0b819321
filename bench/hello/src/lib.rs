//! Answers every request with one short JSON object: what is measured is the host.

#[cfg(target_family = "wasm")]
mod hello;
