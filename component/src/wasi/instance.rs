//! What this instance keeps between its requests, and how it answers one.

use std::rc::Rc;

use spin_sdk::wasip3::http::types::Request;

use super::headers::HeaderCache;
use super::platform::Wasi;
use super::request::IncomingRequest;
use super::task::{Answer, Work};
use crate::service::{self, App};

struct Instance {
    app: Rc<App<Wasi>>,
    headers: HeaderCache,
}

thread_local! {
    static INSTANCE: Rc<Instance> =
        Rc::new(Instance { app: Rc::new(App::new(Wasi::default())), headers: HeaderCache::default() });
}

/// Answers a request.
pub(super) async fn answer(request: Request) -> Answer {
    let instance = INSTANCE.with(Rc::clone);
    let (response, after) = service::handle(&instance.app, &IncomingRequest::new(request)).await;
    Answer {
        status: response.head.status(),
        fields: instance.headers.fields(&response.head),
        body: response.body,
        after: (!after.is_empty()).then(|| Box::pin(after.run()) as Work),
    }
}
