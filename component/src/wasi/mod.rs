//! The binding to WASI. Only this module depends on WASI, and it is only compiled for WebAssembly.
//!
//! It uses the raw bindings instead of `spin_sdk`'s `http_service`, because that copies all headers in and out, which
//! costs about 5 µs a request.

mod bindings;
mod fetch;
mod headers;
mod platform;
mod request;
mod store;

use std::rc::Rc;

use spin_sdk::wasip3;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response};
use spin_sdk::wit_bindgen;

use crate::response::Body;
use crate::service::{self, AfterResponse, App};
use headers::HeaderCache;
use platform::Wasi;
use request::IncomingRequest;

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

wasip3::http::service::export!(Component);

impl wasip3::exports::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let instance = INSTANCE.with(Rc::clone);
        let (response, after) = service::handle(&instance.app, &IncomingRequest::new(request)).await;
        let fields = instance.headers.fields(&response.head)?;
        respond(response.head.status(), fields, response.body, after)
    }
}

/// Makes the host's response. A task writes the body after the response has been handed over, and then does the work
/// in `after`.
fn respond(
    status: u16,
    fields: Fields,
    body: Body,
    after: AfterResponse<Wasi>,
) -> Result<Response, ErrorCode> {
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (writer, reader) = match body {
        body if body.is_empty() => (None, None),
        body => {
            let (writer, reader) = wasip3::wit_stream::new();
            (Some((writer, body)), Some(reader))
        }
    };
    let (response, _transmission) = Response::new(fields, reader, trailers_reader);
    if status != 200 {
        response
            .set_status_code(status)
            .map_err(|()| ErrorCode::InternalError(Some(format!("the host rejects the status {status}"))))?;
    }
    match writer {
        None => {
            drop(trailers);
            if !after.is_empty() {
                wit_bindgen::spawn(after.run());
            }
        }
        Some((mut writer, body)) => wit_bindgen::spawn(async move {
            // If the client has gone, the rest of the body is dropped.
            let _ = writer.write_all(body.into_bytes()).await;
            drop(writer);
            let _ = trailers.write(Ok(None)).await;
            after.run().await;
        }),
    }
    Ok(response)
}
