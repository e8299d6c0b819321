//! Trace context in headers.

#[path = "../../host/cli/src/telemetry/trace/context.rs"]
mod context;

use http::HeaderMap;

/// What the host passes on of these headers, if they say it well.
#[must_use]
pub fn passed_on(headers: &HeaderMap) -> Option<HeaderMap> {
    let origin = context::Origin::extract(headers)?;
    let mut passed = HeaderMap::new();
    origin.inject(&mut passed);
    Some(passed)
}
