//! A call inside an instance, from passing the request to the guest until the response's head, for both versions of
//! `wasi:http`.

use std::sync::Arc;

use http::{StatusCode, header};
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{Accessor, Resource, TypedFuncCallConcurrent},
};
use wasmtime_wasi_http::{
    Error, WasiBody, WasiHttpView as _,
    p2::{self, bindings::http::types as p2_types},
    p3::{self, bindings::http::types as p3_types},
};

use super::{
    CallError, Content, Reply,
    body::{BodyTracker, GuestBody},
    proxy_reply::ProxyReply,
};
use wasi_http_host_telemetry::trace::Origin;

use crate::{cause::Cause, guest::Guest};

/// A call that the guest has received.
pub(super) enum InFlightCall<'a> {
    Service {
        guest: &'a p3::bindings::Service,
        call: ServiceCall,
        /// Whether the request's method is `HEAD`.
        is_head: bool,
        /// Sends the request's body to the guest.
        request_io: std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
    },
    Proxy {
        guest: &'a p2::bindings::Proxy,
        call: ProxyCall,
    },
}

type ServiceCall = TypedFuncCallConcurrent<
    Guest,
    (Resource<p3_types::Request>,),
    (Result<Resource<p3_types::Response>, p3_types::ErrorCode>,),
>;
type ProxyCall = TypedFuncCallConcurrent<
    Guest,
    (Resource<p2_types::IncomingRequest>, Resource<p2_types::ResponseOutparam>),
    (),
>;

/// The result of a call.
pub(super) enum CallEnd {
    /// A service returned a response.
    Response {
        response: http::Response<WasiBody>,
        /// Whether the response has no body, whatever length it announces.
        is_bodiless: bool,
    },
    /// A service returned an error, or a response that is not valid.
    Failure(CallError),
    /// A proxy returned. If it responded, it did so through its out-parameter.
    Returned,
}

/// Whether a response has no body, and the length that it announces is another response's (RFC 9110, 8.6). `is_head`: it answers `HEAD`.
/// Without a length, such an answer is left to the connection.
fn is_bodiless(is_head: bool, response: &http::Response<WasiBody>) -> bool {
    is_head && response.headers().contains_key(header::CONTENT_LENGTH)
        || matches!(response.status(), StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT)
}

/// Passes `request` to a service.
pub(super) fn start_service<'a>(
    mut store: StoreContextMut<'_, Guest>,
    guest: &'a p3::bindings::Service,
    request: http::Request<WasiBody>,
    cause: Option<Arc<Cause>>,
    origin: Option<Arc<Origin>>,
) -> wasmtime::Result<InFlightCall<'a>> {
    let is_head = request.method() == http::Method::HEAD;
    let request = store.data().in_flight().note_received(request);
    let view = store.data_mut().http();
    let (request, request_io) = p3::Request::from_http(view.hooks, request);
    let request = view.table.push(request)?;
    let handler = guest.wasi_http_handler();
    let call = handler.func_handle().start_call_concurrent(store.as_context_mut(), (request,))?;
    store.data().causes().enter(call.task(), cause);
    if let Some(traced) = store.data().traced() {
        traced.enter(call.task(), origin);
    }
    Ok(InFlightCall::Service { guest, call, is_head, request_io: Box::pin(request_io) })
}

/// Passes `request` to a proxy, which responds through `reply`.
pub(super) fn start_proxy<'a>(
    mut store: StoreContextMut<'_, Guest>,
    guest: &'a p2::bindings::Proxy,
    request: http::Request<WasiBody>,
    reply: Arc<ProxyReply>,
    bodies: Arc<BodyTracker>,
    cause: Option<Arc<Cause>>,
    origin: Option<Arc<Origin>>,
) -> wasmtime::Result<InFlightCall<'a>> {
    let mut view = store.data_mut().http();
    let scheme = match request.uri().scheme() {
        Some(scheme) if *scheme == http::uri::Scheme::HTTPS => p2_types::Scheme::Https,
        _ => p2_types::Scheme::Http,
    };
    let request = view.new_incoming_request(scheme, request)?;
    let out = view.new_response_outparam_from_callback(move |result| {
        reply.send(match result {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let body = GuestBody::of_proxy(body, bodies, reply.writing.clone());
                Ok(Reply { head, content: Content::Stream(body) })
            }
            Err(code) => {
                Err(CallError::error_code(&code, matches!(code, p2_types::ErrorCode::InternalError(_))))
            }
        });
    })?;
    let handler = guest.wasi_http_incoming_handler();
    let call = handler.func_handle().start_call_concurrent(store.as_context_mut(), (request, out))?;
    store.data().causes().enter_only(call.task(), cause);
    if let Some(traced) = store.data().traced() {
        traced.enter_only(call.task(), origin);
    }
    Ok(InFlightCall::Proxy { guest, call })
}

impl InFlightCall<'_> {
    /// Waits until the guest returns.
    ///
    /// # Errors
    /// The guest trapped.
    pub(super) async fn finish(self, accessor: &Accessor<Guest>) -> wasmtime::Result<CallEnd> {
        match self {
            Self::Service { guest, call, is_head, request_io } => {
                let handler = guest.wasi_http_handler();
                match handler.func_handle().finish_call_concurrent(accessor, call).await?.0 {
                    Ok(response) => accessor.with(|mut store| {
                        let response = store.get().http().table.delete(response)?;
                        store.get().set_response_chunks(true);
                        let response = response.into_http(store.as_context_mut(), request_io);
                        store.get().set_response_chunks(false);
                        Ok(match response {
                            Ok(response) => {
                                let is_bodiless = is_bodiless(is_head, &response);
                                CallEnd::Response { response, is_bodiless }
                            }
                            Err(error) => {
                                CallEnd::Failure(CallError::invalid_response(format_args!("{error:#}")))
                            }
                        })
                    }),
                    Err(code) => {
                        let internal = matches!(code, p3_types::ErrorCode::InternalError(_));
                        Ok(CallEnd::Failure(CallError::error_code(&code, internal)))
                    }
                }
            }
            Self::Proxy { guest, call } => {
                let handler = guest.wasi_http_incoming_handler();
                handler.func_handle().finish_call_concurrent(accessor, call).await?;
                Ok(CallEnd::Returned)
            }
        }
    }
}
