//! The system on WASI 0.3, and the entry of a component. Only WebAssembly has this module.

mod fetch;
mod store;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use component_allocator::ComponentAllocator;
use tower::ServiceExt as _;
pub use wasip3;
use wasip3::http::types::{ErrorCode, Request, Response};
use wasip3::http_compat::{http_from_wasi_request, http_into_wasi_response};
use wasip3::wit_bindgen;

use crate::client::{FetchError, Fetched, Outgoing};
use crate::platform::Platform;
use crate::store::{Store, StoreError};
use crate::system::{BoxFuture, System};

#[global_allocator]
static ALLOCATOR: ComponentAllocator = ComponentAllocator;

/// The generated bindings of the interfaces that `wasip3` does not have.
mod bindings {
    wasip3::wit_bindgen::generate!({
        inline: "
            package services:web;
            world imports {
                import wasi:config/store@0.2.0-draft-2024-09-27;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
            }
        ",
        path: ["../../wit/deps/config", "../../wit/deps/keyvalue"],
        runtime_path: "wasip3::wit_bindgen::rt",
        generate_all,
    });
}

/// Makes a component of a function from a [`Platform`](crate::Platform) to a router.
#[macro_export]
macro_rules! export {
    ($router:ident) => {
        mod component {
            use $crate::wasi::wasip3;

            struct Component;

            impl wasip3::exports::http::handler::Guest for Component {
                async fn handle(
                    request: wasip3::http::types::Request,
                ) -> Result<wasip3::http::types::Response, wasip3::http::types::ErrorCode> {
                    thread_local! {
                        static ROUTER: $crate::axum::Router = super::$router(&$crate::wasi::platform());
                    }
                    $crate::wasi::handle(ROUTER.with(Clone::clone), request).await
                }
            }

            wasip3::http::service::export!(Component with_types_in wasip3);
        }
    };
}

/// The platform on WASI.
#[must_use]
pub fn platform() -> Platform {
    Platform::new(Wasi)
}

/// Answers `request` by `router`.
///
/// # Errors
/// The request's head or the response's head is not valid for one of the two sides.
pub async fn handle(router: Router, request: Request) -> Result<Response, ErrorCode> {
    let request = http_from_wasi_request(request)?.map(Body::new);
    match router.oneshot(request).await {
        Ok(response) => http_into_wasi_response(response),
        Err(error) => match error {},
    }
}

struct Wasi;

impl System for Wasi {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(wasip3::clocks::monotonic_clock::now())
    }

    fn unix_time(&self) -> Duration {
        let instant = wasip3::clocks::system_clock::now();
        Duration::new(u64::try_from(instant.seconds).unwrap_or_default(), instant.nanoseconds)
    }

    fn random(&self) -> u64 {
        wasip3::random::random::get_random_u64()
    }

    fn setting(&self, name: &str) -> Result<Option<String>, String> {
        use bindings::wasi::config::store::{Error, get};
        get(name).map_err(|error| match error {
            Error::Upstream(reason) | Error::Io(reason) => reason,
        })
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn store(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(store::open(name)?))
    }

    fn fetch(&self, request: Outgoing) -> BoxFuture<Result<Fetched, FetchError>> {
        fetch::fetch(request)
    }

    fn after_response(&self, work: Box<dyn FnOnce() + Send>) {
        wasip3::spawn(async move {
            // The work may block the instance, so the host must have the response before.
            wit_bindgen::yield_async().await;
            work();
        });
    }

    fn log(&self, line: &str) {
        eprintln!("{line}");
    }
}
