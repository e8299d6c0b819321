//! Which request causes which: a component that serves a request may ask other components of its application.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::tasks::Tasks;

/// How long a chain may be: requests that wait for one another.
pub const MAX_DEPTH: usize = 16;
/// What is passed on from one request to those that it causes, unless the component sets it itself.
const PASSED_ON: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// A request that may cause others.
#[derive(Debug)]
pub struct Cause {
    /// How many requests wait for it already: 0 of a client's.
    pub depth: usize,
    /// When the head of its response must be there.
    pub deadline: Instant,
    /// Headers that are passed on to those that it causes.
    pub passed_on: Vec<(HeaderName, HeaderValue)>,
}

impl Cause {
    /// A client's request with these headers.
    #[must_use]
    pub fn first(headers: &HeaderMap, deadline: Instant) -> Arc<Self> {
        Self::new(0, headers, deadline)
    }

    /// A request with these headers that `depth` others wait for.
    #[must_use]
    pub fn new(depth: usize, headers: &HeaderMap, deadline: Instant) -> Arc<Self> {
        let value = |name: HeaderName| headers.get(&name).map(|value| (name, value.clone()));
        Arc::new(Self { depth, deadline, passed_on: PASSED_ON.into_iter().filter_map(value).collect() })
    }
}

/// The requests that one instance serves, by its tasks.
pub(crate) type Causes = Tasks<Cause>;
