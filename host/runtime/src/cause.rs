//! Which request causes which: a component that serves a request may call other components of its application, and
//! other servers, whose requests may lead back to this host.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use wasi_http_host_core::forwarded::cdn_loop_passes;

use super::{interim::InterimRelay, tasks::Tasks};

/// The most requests in one chain, each of which waits for the next.
pub const MAX_DEPTH: usize = 16;
/// The header that shows a loop through other servers (RFC 8586).
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// This host in that header. All hosts are one: a loop may go through several.
const CDN_ID: &str = "wasi-http-host";
/// Headers that a chained request inherits, unless the component sets them itself.
const PASSED_ON: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Headers that say who the client is. A component cannot set them: a chained request inherits them.
const CLIENT: [HeaderName; 4] = [
    HeaderName::from_static("spin-client-addr"),
    header::FORWARDED,
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
];
/// Maximum length of a request id in bytes.
const MAX_REQUEST_ID: usize = 128;

/// A request that may cause chained requests.
#[derive(Debug)]
pub struct Cause {
    /// The number of requests that wait for this request. 0 for a client's request.
    pub depth: usize,
    /// The time by which the head of this request's response must be complete.
    pub deadline: Instant,
    /// Headers for chained requests.
    passed_on: Vec<(HeaderName, HeaderValue)>,
    /// Headers for chained requests, in the place of what the component sets.
    client: Vec<(HeaderName, HeaderValue)>,
    /// The request's `CDN-Loop`, as one line.
    cdn_loop: Option<HeaderValue>,
    /// Who gets the interim responses to the forwarded request. `None`: nobody.
    pub(crate) interim: Option<InterimRelay>,
}

impl Cause {
    /// A client's request with these headers.
    #[must_use]
    pub fn first(headers: &HeaderMap, deadline: Instant) -> Arc<Self> {
        Self::new(0, headers, deadline)
    }

    /// As [`Cause::first`]; interim responses to the forwarded request are relayed.
    #[must_use]
    pub fn relaying(headers: &HeaderMap, deadline: Instant, interim: InterimRelay) -> Arc<Self> {
        Arc::new(Self { interim: Some(interim), ..Self::noted(0, headers, deadline) })
    }

    /// A request with these headers, for which `depth` other requests wait.
    #[must_use]
    pub fn new(depth: usize, headers: &HeaderMap, deadline: Instant) -> Arc<Self> {
        Arc::new(Self::noted(depth, headers, deadline))
    }

    fn noted(depth: usize, headers: &HeaderMap, deadline: Instant) -> Self {
        let value = |name: HeaderName| headers.get(&name).cloned().map(|value| (name, value));
        let passed_on = PASSED_ON.into_iter().filter_map(value).collect();
        let client = CLIENT.into_iter().filter_map(value).collect();
        Self { depth, deadline, passed_on, client, cdn_loop: joined(headers), interim: None }
    }
}

/// Completes the headers of a chained request, which `cause` causes.
pub fn inherit(headers: &mut HeaderMap, cause: Option<&Cause>) {
    for name in CLIENT {
        headers.remove(name);
    }
    let [id, ..] = &PASSED_ON;
    if headers.get(id).is_some_and(|id| !is_request_id(id.as_bytes())) {
        headers.remove(id);
    }
    let Some(cause) = cause else { return };
    for (name, value) in &cause.client {
        headers.insert(name, value.clone());
    }
    for (name, value) in &cause.passed_on {
        headers.entry(name).or_insert_with(|| value.clone());
    }
}

/// Whether a request id is well-formed: 1 to 128 characters that need no quoting anywhere.
#[must_use]
pub fn is_request_id(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len())
        && id.iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
        })
}

/// How often this host or another one has passed on the request with these headers. At exactly [`MAX_DEPTH`] times,
/// the request is in a loop.
#[must_use]
pub fn passes(headers: &HeaderMap) -> usize {
    // Bytes, not text: what others wrote must not hide this host.
    let lines = headers.get_all(&CDN_LOOP).iter().map(HeaderValue::as_bytes);
    lines.map(|line| cdn_loop_passes(line, CDN_ID)).sum()
}

/// Whether [`Cause`] has something to note for a request with these headers although its component calls no others.
#[must_use]
pub fn was_passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(&CDN_LOOP)
}

/// Marks a request that leaves the host: its `CDN-Loop` (RFC 8586) is the one of the request that causes it, and this
/// host. A component cannot take away what was in the request that it serves.
pub(crate) fn mark(headers: &mut HeaderMap, cause: Option<&Cause>) {
    let before = cause.and_then(|cause| cause.cdn_loop.clone()).or_else(|| joined(headers));
    let value = match before {
        Some(before) => HeaderValue::from_bytes(&[before.as_bytes(), CDN_ID.as_bytes()].join(&b", "[..])),
        None => Ok(HeaderValue::from_static(CDN_ID)),
    };
    if let Ok(value) = value {
        headers.insert(CDN_LOOP, value);
    }
}

/// Marks a request to another component of the application, which does not leave the host.
pub(crate) fn keep_mark(headers: &mut HeaderMap, cause: Option<&Cause>) {
    if let Some(before) = cause.and_then(|cause| cause.cdn_loop.clone()) {
        headers.insert(CDN_LOOP, before);
    }
}

fn joined(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(&CDN_LOOP).iter();
    let first = lines.next()?;
    let Some(second) = lines.next() else { return Some(first.clone()) };
    let all = [first, second].into_iter().chain(lines).map(HeaderValue::as_bytes).collect::<Vec<_>>();
    HeaderValue::from_bytes(&all.join(&b", "[..])).ok()
}

/// The requests that one instance serves, by the guest's tasks.
pub(crate) type Causes = Tasks<Cause>;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (CDN_LOOP, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn a_request_that_leaves_has_all_who_passed_it_on() {
        for (caused_by, own, marked) in [
            (None, &[][..], "wasi-http-host"),
            (None, &["other"], "other, wasi-http-host"),
            (Some(&["a;p=1"][..]), &[], "a;p=1, wasi-http-host"),
            (Some(&["a", "wasi-http-host"]), &["forged"], "a, wasi-http-host, wasi-http-host"),
            (Some(&["é, wasi-http-host"]), &[], "é, wasi-http-host, wasi-http-host"),
        ] {
            let cause = caused_by.map(|lines| Cause::first(&headers(lines), Instant::now()));
            let mut sent = headers(own);
            mark(&mut sent, cause.as_deref());
            assert_eq!(sent.get_all(&CDN_LOOP).iter().collect::<Vec<_>>(), [marked.as_bytes()]);
        }
    }

    #[test]
    fn passes_are_counted_over_all_lines() {
        for (lines, count) in [
            (&[][..], 0),
            (&["other, another-wasi-http-host"], 0),
            (&["wasi-http-host, other;a=b", "wasi-http-host;v=1 ,wasi-http-host"], 3),
            (&["é, wasi-http-host", "wasi-http-host"], 2),
        ] {
            assert_eq!(passes(&headers(lines)), count, "{lines:?}");
        }
    }
}
