//! The budget of host memory that an instance's handles keep.
//!
//! A handle (fields, a request, a body) keeps bytes of the host, which the limit of linear memory does not include.
//! The budget works like this:
//!
//! - Each function that keeps what a guest or an upstream sent charges the bytes before it keeps them
//!   (`component/retaining.rs`). Nothing is given back when a handle is dropped.
//! - When the charged bytes reach the limit, the host counts what the handles really keep, and continues from there.
//! - If the count and the new bytes exceed the limit, the guest's call traps. The instance is discarded.
//!
//! So an ordinary call costs an addition and a comparison.

use std::{
    any::Any,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use wasmtime_wasi_http::{
    Error, FieldMap, WasiBody,
    p2::{
        bindings::http::types as p2_types,
        body::{HostFutureTrailers, HostIncomingBody},
        types::{
            HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse, HostOutgoingRequest,
            HostOutgoingResponse,
        },
    },
    p3,
};

use crate::keyvalue::MAX_CAS_BYTES;

/// The budget is as large as the limit of linear memory, but never outside of these bounds. Ordinary components of
/// every size send and receive requests with heads of the same size.
const LEAST_BYTES: usize = 32 << 20;
const MOST_BYTES: usize = 64 << 20;
/// The most bytes that one call of an instance without key-value stores hands over.
const MOST_CALL_BYTES: usize = 1 << 20;

/// wasmtime's default. Most of a stack is never touched.
const STACK_BYTES: u64 = 2 << 20;
/// The most bytes of the tables of handles, tasks, threads and streams, of which the number is bounded.
const TABLES_BYTES: usize = 16 << 20;

/// The most bytes of one set of header fields that a guest builds, and of a response's head.
pub(crate) const MAX_FIELDS_BYTES: usize = 64 << 10;
/// The most bytes of a request's body that the host copies out of the guest at once. A body of `wasi:http@0.2` keeps
/// two such chunks.
pub(crate) const REQUEST_CHUNK: usize = 32 << 10;
/// The most bytes of a response's body that the host copies out of a service at once. A smaller body with a length
/// leaves the host together with its head.
pub(crate) const RESPONSE_CHUNK: usize = 256 << 10;
/// The most bytes of response bodies of an instance that the host reads before anybody waits for them. A larger body waits
/// until its response is on its way.
pub(crate) const EARLY_BYTES: usize = RESPONSE_CHUNK;
/// A body of `wasi:http@0.2`: two chunks and the trailers.
pub(crate) const BODY_BYTES: usize = 2 * REQUEST_CHUNK + MAX_FIELDS_BYTES;
/// An open input stream keeps at most one chunk that was read ahead: wasmtime reads 64 KiB of a file.
pub(crate) const INPUT_BYTES: usize = 64 << 10;
/// An open output stream keeps at most this much of what a guest prints.
const OUTPUT_BYTES: usize = 8 << 10;
/// Any handle: the table's entry and an object without text.
const HANDLE_BYTES: usize = 256;
/// A field beyond its name and value: its place in the map, and the map's spare places.
const FIELD_BYTES: usize = 256;

/// The most bytes of the host that an instance with `max_memory` bytes of linear memory keeps.
pub(crate) fn budget(max_memory: usize) -> usize {
    max_memory.clamp(LEAST_BYTES, MOST_BYTES)
}

/// The most bytes that one call of an instance hands over. A value of a key-value store is handed over as a whole.
pub(crate) fn call_bytes(max_memory: usize, opens_stores: bool) -> usize {
    if opens_stores { budget(max_memory) } else { MOST_CALL_BYTES }
}

/// The most bytes that an instance with `max_memory` bytes of linear memory takes: its memory, its stacks, what its
/// handles keep, what one call hands over, the values of its compare-and-swap handles, and the bodies that the host reads
/// early.
pub(crate) fn most_instance_bytes(max_memory: usize, stacks: u32, opens_stores: bool) -> u64 {
    let stacks = u64::from(stacks) * STACK_BYTES;
    let values = if opens_stores { MAX_CAS_BYTES.min(budget(max_memory)) } else { 0 };
    let host =
        budget(max_memory) + call_bytes(max_memory, opens_stores) + values + TABLES_BYTES + EARLY_BYTES;
    (max_memory as u64).saturating_add(stacks).saturating_add(host as u64)
}

/// The most bytes that a response takes between its instance and its connection: its head, and the chunk of its body.
pub const MOST_RESPONSE_BYTES: u64 = (MAX_FIELDS_BYTES + RESPONSE_CHUNK) as u64;

/// An instance's handles keep more of the host's memory than its budget.
#[derive(Debug, thiserror::Error)]
#[error(
    "the instance's handles keep {kept} bytes of the host's memory, and this call adds {added}: \
     over the limit of {limit}"
)]
pub(crate) struct OverBudget {
    kept: usize,
    added: usize,
    limit: usize,
}

/// What an instance has charged to its budget.
pub(crate) struct HostBytes {
    limit: usize,
    /// At least what the handles keep: the last count, and all that was charged since.
    charged: usize,
    in_flight: InFlightBytes,
    early: EarlyBytes,
}

impl HostBytes {
    pub(crate) fn new(max_memory: usize) -> Self {
        Self {
            limit: budget(max_memory),
            charged: 0,
            in_flight: InFlightBytes::default(),
            early: EarlyBytes::default(),
        }
    }

    /// Counts the requests that the instance has sent, for as long as they are held.
    pub(crate) fn in_flight(&self) -> &InFlightBytes {
        &self.in_flight
    }

    /// Counts what the host reads of response bodies before anybody waits for it.
    pub(crate) fn early(&self) -> &EarlyBytes {
        &self.early
    }

    /// Charges bytes that are about to be kept. `other` is what the instance keeps outside of `table`.
    ///
    /// # Errors
    /// The budget is exceeded.
    pub(crate) fn charge(
        &mut self,
        added: usize,
        table: &mut ResourceTable,
        other: impl FnOnce() -> usize,
    ) -> Result<(), OverBudget> {
        self.charged = self.charged.saturating_add(added);
        if self.charged <= self.limit {
            return Ok(());
        }
        let kept = table.iter_mut().map(kept_by).sum::<usize>() + self.in_flight.kept.load(Relaxed) + other();
        self.charged = kept.saturating_add(added);
        if self.charged <= self.limit {
            return Ok(());
        }
        Err(OverBudget { kept, added, limit: self.limit })
    }
}

/// The most bytes that the object behind a handle keeps.
fn kept_by(entry: &mut (dyn Any + Send)) -> usize {
    let entry: &dyn Any = entry;
    HANDLE_BYTES
        + if let Some(fields) = entry.downcast_ref::<FieldMap>() {
            fields_bytes(fields)
        } else if let Some(request) = entry.downcast_ref::<p3::Request>() {
            request.method.as_str().len()
                + request.authority.as_ref().map_or(0, |authority| authority.as_str().len())
                + request.path_with_query.as_ref().map_or(0, |path| path.as_str().len())
                + fields_bytes(&request.headers)
        } else if let Some(response) = entry.downcast_ref::<p3::Response>() {
            fields_bytes(&response.headers)
        } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
            method_bytes(&request.method)
                + request.authority.as_ref().map_or(0, String::capacity)
                + request.path_with_query.as_ref().map_or(0, String::capacity)
                + fields_bytes(&request.headers)
                + request.body.as_ref().map_or(0, |_| BODY_BYTES)
        } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
            fields_bytes(&response.headers) + response.body.as_ref().map_or(0, |_| BODY_BYTES)
        } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
            fields_bytes(&response.headers)
        } else if entry.is::<HostFutureIncomingResponse>() || entry.is::<HostIncomingRequest>() {
            MAX_FIELDS_BYTES
        } else if entry.is::<HostFutureTrailers>() {
            // The whole body, or the trailers.
            INPUT_BYTES + MAX_FIELDS_BYTES
        } else if entry.is::<DynInputStream>() || entry.is::<HostIncomingBody>() {
            INPUT_BYTES
        } else if entry.is::<DynOutputStream>() {
            OUTPUT_BYTES
        } else {
            0
        }
}

/// The bytes of a method's name.
pub(crate) fn method_bytes(method: &p2_types::Method) -> usize {
    match method {
        p2_types::Method::Other(name) => name.len(),
        _ => 0,
    }
}

/// The bytes of a map of header fields.
pub(crate) fn fields_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| field_bytes(name.as_str().len(), value.len())).sum()
}

/// The bytes of one field with a name and a value of these lengths.
pub(crate) fn field_bytes(name: usize, value: usize) -> usize {
    name.saturating_add(value).saturating_add(FIELD_BYTES)
}

/// The bytes of the requests that an instance has sent and that are not complete, and of the bodies of their responses.
#[derive(Clone, Default)]
pub(crate) struct InFlightBytes {
    kept: Arc<AtomicUsize>,
    /// The number of bodies that come from the host and that the guest may still pass on.
    host_bodies: Arc<AtomicUsize>,
}

impl InFlightBytes {
    /// Counts `request` until its body is dropped.
    pub(crate) fn count(&self, request: http::Request<WasiBody>) -> http::Request<WasiBody> {
        let body = if request.body().is_end_stream() { 0 } else { BODY_BYTES };
        let bytes = request.method().as_str().len()
            + uri_bytes(request.uri())
            + fields_bytes(request.headers())
            + body
            + HANDLE_BYTES;
        request.map(|body| CountedBody { body, _counted: [self.count_bytes(bytes)] }.boxed_unsync())
    }

    /// Counts the body of a response until it is dropped, wherever the guest keeps it. Of a body without a known length, or
    /// with a large one, the host keeps a part.
    pub(crate) fn count_response(&self, response: http::Response<WasiBody>) -> http::Response<WasiBody> {
        let length = response.body().size_hint().upper().and_then(|length| usize::try_from(length).ok());
        let bytes = self.count_bytes(length.unwrap_or(RESPONSE_CHUNK).min(RESPONSE_CHUNK));
        let _counted = [bytes, Counted::new(&self.host_bodies, 1)];
        response.map(|body| CountedBody { body, _counted }.boxed_unsync())
    }

    /// Counts the body of a request to the instance among those that the guest may pass on.
    pub(crate) fn note_received(&self, request: http::Request<WasiBody>) -> http::Request<WasiBody> {
        if request.body().is_end_stream() {
            return request;
        }
        let _counted = [Counted::new(&self.host_bodies, 1)];
        request.map(|body| CountedBody { body, _counted }.boxed_unsync())
    }

    /// Whether the guest may hold the stream of a body that comes from the host.
    pub(crate) fn has_host_bodies(&self) -> bool {
        self.host_bodies.load(Relaxed) != 0
    }

    /// Counts bytes until the result is dropped.
    pub(crate) fn count_bytes(&self, bytes: usize) -> Counted {
        Counted::new(&self.kept, bytes)
    }
}

/// The bytes of an instance's response bodies that the host has read before anybody waited for them.
#[derive(Clone, Default)]
pub(crate) struct EarlyBytes(Arc<AtomicUsize>);

impl EarlyBytes {
    /// Counts bytes until the result is dropped. `None` if they exceed [`EARLY_BYTES`] together with what is counted.
    pub(crate) fn take(&self, bytes: usize) -> Option<Counted> {
        // Only the thread that runs the instance takes bytes, so the number can only fall in between.
        let fits = self.0.load(Relaxed).saturating_add(bytes) <= EARLY_BYTES;
        fits.then(|| Counted::new(&self.0, bytes))
    }
}

fn uri_bytes(uri: &Uri) -> usize {
    uri.authority().map_or(0, |authority| authority.as_str().len())
        + uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// A number that counts as long as this exists.
pub(crate) struct Counted {
    total: Arc<AtomicUsize>,
    number: usize,
}

impl Counted {
    fn new(total: &Arc<AtomicUsize>, number: usize) -> Self {
        total.fetch_add(number, Relaxed);
        Self { total: total.clone(), number }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.total.fetch_sub(self.number, Relaxed);
    }
}

struct CountedBody<const N: usize> {
    body: WasiBody,
    _counted: [Counted; N],
}

impl<const N: usize> Body for CountedBody<N> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: usize) -> FieldMap {
        let mut fields = FieldMap::new_mutable(MAX_FIELDS_BYTES);
        let value = http::HeaderValue::from_bytes(&vec![b'x'; bytes]).unwrap();
        fields.append_raw(http::HeaderName::from_static("x"), value).unwrap();
        fields
    }

    #[test]
    fn what_handles_keep_is_bounded_and_what_was_dropped_does_not_count() {
        let mut table = ResourceTable::new();
        let mut host_bytes = HostBytes::new(0);
        let each = field_bytes(1, 60 << 10) + HANDLE_BYTES;
        for _ in 0..10 {
            let mut handles = Vec::new();
            let refused = loop {
                if let Err(refused) = host_bytes.charge(each, &mut table, || 0) {
                    break refused;
                }
                handles.push(table.push(fields(60 << 10)).unwrap());
            };
            assert!((LEAST_BYTES - (128 << 10)..=LEAST_BYTES).contains(&refused.kept), "{refused}");
            assert!(handles.len() > 500, "{}", handles.len());
            for handle in handles {
                table.delete(handle).unwrap();
            }
        }
    }

    #[test]
    fn the_trailers_that_a_handle_waits_for_count() {
        assert!(kept_by(&mut HostFutureTrailers::Consumed) >= MAX_FIELDS_BYTES);
    }

    #[test]
    fn a_request_and_a_response_count_until_their_bodies_are_dropped() {
        let host_bytes = HostBytes::new(0);
        let body = http_body_util::Full::new(Bytes::from_static(b"body")).map_err(|never| match never {});
        let request = http::Request::post("http://example.com/path").body(body.boxed_unsync()).unwrap();
        let request = host_bytes.in_flight().count(request);
        assert!(host_bytes.in_flight.kept.load(Relaxed) > BODY_BYTES);
        drop(request);
        assert_eq!(host_bytes.in_flight.kept.load(Relaxed), 0);

        let body =
            http_body_util::Full::new(Bytes::from(vec![b'x'; 100_000])).map_err(|never| match never {});
        let response = host_bytes.in_flight().count_response(http::Response::new(body.boxed_unsync()));
        assert_eq!(host_bytes.in_flight.kept.load(Relaxed), 100_000);
        drop(response);
        assert_eq!(host_bytes.in_flight.kept.load(Relaxed), 0);
    }
}
