//! The binding to WASI. Only this module depends on WASI, and it is only compiled for WebAssembly.
//!
//! It uses the raw bindings instead of `spin_sdk`'s `http_service`, because that copies all headers in and out, which
//! costs about 5 µs a request. It exports `handle` with an executor of its own: see [`task`].

mod bindings;
mod canonical;
mod exports;
mod fetch;
mod headers;
mod platform;
mod request;
mod store;
mod task;
mod transfer;

use std::alloc::System;
use std::rc::Rc;

use spin_sdk::wasip3;
use spin_sdk::wasip3::http::types::{Fields, Request};

use crate::allocator::BlockLists;
use crate::response::{Head, Response};
use crate::service::{self, App};
use headers::HeaderCache;
use platform::Wasi;
use request::IncomingRequest;
use task::Work;

#[global_allocator]
static ALLOCATOR: BlockLists<System> = BlockLists::new(System);

/// What this instance keeps between its requests.
struct Instance {
    app: Rc<App<Wasi>>,
    headers: HeaderCache,
}

thread_local! {
    static INSTANCE: Rc<Instance> =
        Rc::new(Instance { app: Rc::new(App::new(Wasi::default())), headers: HeaderCache::default() });
}

struct Component;

wasip3::http::service::export!(Component with_types_in self);

/// An answer, and the work to do when it is sent.
struct Answer {
    response: Response,
    after: Option<Work>,
}

/// Answers a request.
async fn answer(request: Request) -> Answer {
    let app = INSTANCE.with(|instance| Rc::clone(&instance.app));
    let (response, after) = service::handle(&app, &IncomingRequest::new(request)).await;
    Answer { response, after: (!after.is_empty()).then(|| Box::pin(after.run()) as Work) }
}

/// The headers of a response, in the host.
fn fields(head: &Head) -> Result<Fields, String> {
    INSTANCE.with(|instance| instance.headers.fields(head))
}
