//! A minimal component: it answers every request with one short JSON object, so that the benchmark measures the host.

#[cfg(target_family = "wasm")]
mod hello;
