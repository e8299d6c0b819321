//! The binding to WASI. Only this module depends on WASI, and it is only compiled for WebAssembly.
//!
//! It uses the raw bindings instead of `spin_sdk`'s `http_service`, because that copies all headers in and out, which
//! costs about 5 µs a request. It exports `handle` with an executor of its own: see [`task`].

mod bindings;
mod canonical;
mod exports;
mod fetch;
mod headers;
mod instance;
mod platform;
mod request;
mod store;
mod task;
mod transfer;

use component_allocator::ComponentAllocator;
use spin_sdk::wasip3;

#[global_allocator]
static ALLOCATOR: ComponentAllocator = ComponentAllocator;

struct Component;

wasip3::http::service::export!(Component with_types_in self);
