//! Which request causes which: a component that serves a request may call other components of its application.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::tasks::Tasks;

/// The most requests in one chain, each of which waits for the next.
pub const MAX_DEPTH: usize = 16;
/// Headers that a chained request inherits, unless the component sets them itself.
const PASSED_ON: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// A request that may cause chained requests.
#[derive(Debug)]
pub struct Cause {
    /// The number of requests that wait for this request. 0 for a client's request.
    pub depth: usize,
    /// The time by which the head of this request's response must be complete.
    pub deadline: Instant,
    /// Headers for chained requests.
    pub passed_on: Vec<(HeaderName, HeaderValue)>,
}

impl Cause {
    /// A client's request with these headers.
    #[must_use]
    pub fn first(headers: &HeaderMap, deadline: Instant) -> Arc<Self> {
        Self::new(0, headers, deadline)
    }

    /// A request with these headers, for which `depth` other requests wait.
    #[must_use]
    pub fn new(depth: usize, headers: &HeaderMap, deadline: Instant) -> Arc<Self> {
        let value = |name: HeaderName| headers.get(&name).map(|value| (name, value.clone()));
        Arc::new(Self { depth, deadline, passed_on: PASSED_ON.into_iter().filter_map(value).collect() })
    }
}

/// The requests that one instance serves, by the guest's tasks.
pub(crate) type Causes = Tasks<Cause>;
