//! A finished span of any kind.
//!
//! A span copies the values that it keeps, and cuts them to a useful length. A span waits for seconds until it is
//! sent, and a slice of a request's head would keep the whole head in memory for that time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::Method;

use super::{attributes::Attributes, context::Origin};

/// Maximum number of bytes of a path that a span keeps. Clients and guests choose paths.
pub const PATH_BYTES: usize = 1024;
/// Maximum number of bytes of a method that a span keeps.
const METHOD_BYTES: usize = 64;

/// The details of one kind of span, beyond its identity and times. The crate that makes the span decides what is
/// recorded.
pub trait SpanDetails: Send {
    /// Writes the attributes, and returns the span's name and kind. The exporter calls this once.
    fn describe(&self, attributes: &mut Attributes) -> SpanSummary;
}

/// The name, kind and status of a span.
pub struct SpanSummary {
    /// The span's name, without ids or other values that differ between requests.
    pub name: String,
    /// The span's kind.
    pub kind: SpanKind,
    /// Whether the operation failed.
    pub is_error: bool,
}

/// The role of the host in the operation (<https://opentelemetry.io/docs/specs/otel/trace/api/#spankind>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The host serves a client's request.
    Server,
    /// The host sends a request to another process.
    Client,
    /// The operation does not leave the process.
    Internal,
}

/// A finished span.
pub struct Span {
    pub(super) origin: Origin,
    pub(super) parent: Option<[u8; 8]>,
    pub(super) component: Option<Arc<str>>,
    pub(super) start: SystemTime,
    pub(super) duration: Duration,
    pub(super) details: Box<dyn SpanDetails>,
}

impl Span {
    /// Creates the span that began at `start` and ends now. `parent` is `None` for the root of a trace. `component`
    /// is `None` for a request without a route.
    #[must_use]
    pub fn new(
        origin: Origin,
        parent: Option<[u8; 8]>,
        component: Option<Arc<str>>,
        start: Start,
        details: Box<dyn SpanDetails>,
    ) -> Self {
        Self { origin, parent, component, start: start.time, duration: start.moment.elapsed(), details }
    }
}

/// Returns `method`, cut to the length that a span keeps.
#[must_use]
pub fn bounded_method(method: &Method) -> Method {
    // The beginning of a valid method is a valid method.
    let cut = method.as_str().as_bytes().get(..METHOD_BYTES).and_then(|cut| Method::from_bytes(cut).ok());
    cut.unwrap_or_else(|| method.clone())
}

/// The start of a recorded span.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The time of day, for the exported span.
    time: SystemTime,
    /// The monotonic time, for the span's duration.
    moment: Instant,
}

impl Start {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { time: SystemTime::now(), moment: Instant::now() }
    }
}
