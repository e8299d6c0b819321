//! A span that is over, of whatever kind.
//!
//! What is kept is copied, and no longer than is of use: a span waits for seconds, and a slice of a request's head would keep
//! all of the head in memory for as long.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::Method;

use super::{attributes::Attributes, context::Origin};

/// Bytes of a path that are kept: clients and guests choose them.
pub const PATH_BYTES: usize = 1024;
/// Bytes of a method that are kept.
const METHOD_BYTES: usize = 64;

/// What one kind of span knows beyond identity and time. Its owner decides what is recorded.
pub trait SpanDetails: Send {
    /// Writes the attributes, and says what the span is called. Called once, by the exporter.
    fn describe(&self, attributes: &mut Attributes) -> SpanSummary;
}

/// How a span is shown.
pub struct SpanSummary {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// Whether what it stands for failed.
    pub is_error: bool,
}

/// Whether a span is about being called or about calling
/// (<https://opentelemetry.io/docs/specs/otel/trace/api/#spankind>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request from outside.
    Server,
    /// A request to another process.
    Client,
    /// Nothing of it leaves the process.
    Internal,
}

/// A span that is over.
pub struct Span {
    pub(super) origin: Origin,
    pub(super) parent: Option<[u8; 8]>,
    pub(super) component: Option<Arc<str>>,
    pub(super) start: SystemTime,
    pub(super) duration: Duration,
    pub(super) details: Box<dyn SpanDetails>,
}

impl Span {
    /// The span that began at `start`, and ends now. `parent` is none where a trace begins, `component` none where a
    /// request has no route.
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

/// A method, or the beginning of one that somebody made up.
#[must_use]
pub fn bounded_method(method: &Method) -> Method {
    // The beginning of a method is one.
    let cut = method.as_str().as_bytes().get(..METHOD_BYTES).and_then(|cut| Method::from_bytes(cut).ok());
    cut.unwrap_or_else(|| method.clone())
}

/// When a recorded span began.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// For people.
    time: SystemTime,
    /// To measure by.
    moment: Instant,
}

impl Start {
    /// By both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { time: SystemTime::now(), moment: Instant::now() }
    }
}
