//! The requests of clients, and the grading of responses.

mod gists;
mod guest;

use fastrand::Rng;
use testkit::http::Response;

pub(crate) use gists::{Gists, Mix, POPULAR, people};
pub(crate) use guest::Guest;

/// The grade of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grade {
    /// Correct, and not degraded.
    Right,
    /// Correct, but not from the cache, which should have had the entry.
    Uncached,
    /// Correct, and marked as stale.
    Stale,
    /// A documented error.
    Refused(u16),
    /// Any other response, as text.
    Wrong(String),
}

/// A request, and the check of its response.
pub(crate) struct TrafficRequest {
    /// Path and query of a `GET`.
    pub(crate) target: String,
    /// Grades the response.
    pub(crate) check: Box<dyn Fn(&Response) -> Grade + Send + Sync>,
}

/// A source of requests.
pub(crate) trait Traffic: Send + Sync + 'static {
    /// The next request.
    fn draw(&self, random: &mut Rng) -> TrafficRequest;
}

/// The beginning of a response as text, for a report.
pub(crate) fn shown(reply: &Response) -> String {
    let body = String::from_utf8_lossy(&reply.body);
    let body: String = body.chars().take(160).collect();
    format!("{} {body}", reply.status)
}
