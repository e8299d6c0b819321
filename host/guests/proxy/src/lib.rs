//! A proxy, of the generation before services, for the host's tests: each path is one behaviour.

#[cfg(target_family = "wasm")]
mod guest;
