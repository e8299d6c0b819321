//! What the cache did with a request, in the field `Cache-Status` (RFC 9211).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use wasi_http_host_core::labels;

/// The field. Each cache adds a member, so that the last one is this host's.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// What stands in a stored response's field until the response is reused, so that the map has room.
const TO_COME: HeaderValue = HeaderValue::from_static("");

/// Makes room for this host's member in the fields of a stored response.
pub(crate) fn make_room(headers: &mut HeaderMap) {
    if !headers.contains_key(CACHE_STATUS) {
        headers.insert(CACHE_STATUS, TO_COME);
    }
}

/// Adds this host's member.
fn add(headers: &mut HeaderMap, member: HeaderValue) {
    match headers.get_mut(CACHE_STATUS) {
        Some(first) if *first == TO_COME => *first = member,
        _ => drop(headers.append(CACHE_STATUS, member)),
    }
}

labels! {
    /// Why a request was given to the component (RFC 9211, 2.2).
    Reason {
        /// The cache was not asked: the component's manifest, or the request's preconditions.
        Bypass = "bypass",
        /// The method is not one that the cache answers.
        Method = "method",
        /// Nothing is stored for the address.
        UriMiss = "uri-miss",
        /// What is stored for the address answers other requests.
        VaryMiss = "vary-miss",
        /// A response is stored, and the request does not accept it.
        Request = "request",
        /// The stored response is stale.
        Stale = "stale",
    }
}

/// Adds this host's member for a request that was given to the component.
pub fn add_forwarded(headers: &mut HeaderMap, reason: Reason, is_stored: bool) {
    let value = match (reason, is_stored) {
        (Reason::Bypass, _) => "wasi-http-host; fwd=bypass",
        (Reason::Method, _) => "wasi-http-host; fwd=method",
        (Reason::UriMiss, false) => "wasi-http-host; fwd=uri-miss",
        (Reason::UriMiss, true) => "wasi-http-host; fwd=uri-miss; stored",
        (Reason::VaryMiss, false) => "wasi-http-host; fwd=vary-miss",
        (Reason::VaryMiss, true) => "wasi-http-host; fwd=vary-miss; stored",
        (Reason::Request, false) => "wasi-http-host; fwd=request",
        (Reason::Request, true) => "wasi-http-host; fwd=request; stored",
        (Reason::Stale, false) => "wasi-http-host; fwd=stale",
        (Reason::Stale, true) => "wasi-http-host; fwd=stale; stored",
    };
    add(headers, HeaderValue::from_static(value));
}

/// Adds this host's member for a request that another request's response answers.
pub fn add_collapsed(headers: &mut HeaderMap) {
    add(headers, HeaderValue::from_static("wasi-http-host; fwd=uri-miss; collapsed"));
}

/// Adds this host's member for a request whose response was an error, and that a stored response answers instead.
pub fn add_replacement(headers: &mut HeaderMap) {
    add(headers, HeaderValue::from_static("wasi-http-host; fwd=stale; detail=stale-if-error"));
}

/// Adds this host's member for a request that was validated with the component.
pub fn add_validated(headers: &mut HeaderMap) {
    add(headers, HeaderValue::from_static("wasi-http-host; fwd=stale; fwd-status=304"));
}

/// Adds this host's member for a request that a stored response answers. The time to live is negative for a stale response.
pub fn add_hit(headers: &mut HeaderMap, lifetime: Duration, age: Duration) {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let left = match lifetime.checked_sub(age) {
        Some(left) => seconds(left),
        None => -seconds(age.saturating_sub(lifetime)),
    };
    const MEMBER: &[u8] = b"wasi-http-host; hit; ttl=";
    let mut text = Vec::with_capacity(MEMBER.len() + 20);
    text.extend_from_slice(MEMBER);
    text.extend_from_slice(itoa::Buffer::new().format(left).as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        add(headers, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_live_of_a_hit() {
        for (lifetime, age, value) in [
            (60, 0, "wasi-http-host; hit; ttl=60"),
            (60, 59, "wasi-http-host; hit; ttl=1"),
            (60, 60, "wasi-http-host; hit; ttl=0"),
            (60, 70, "wasi-http-host; hit; ttl=-10"),
            (u64::MAX, 0, "wasi-http-host; hit; ttl=9223372036854775807"),
        ] {
            let mut headers = HeaderMap::new();
            make_room(&mut headers);
            add_hit(&mut headers, Duration::from_secs(lifetime), Duration::from_secs(age));
            assert_eq!(headers[CACHE_STATUS], value);
        }
    }

    #[test]
    fn the_hosts_member_is_the_last() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("other; hit"));
        make_room(&mut headers);
        add_replacement(&mut headers);
        assert_eq!(headers.get_all(CACHE_STATUS).iter().count(), 2);
        for reason in Reason::ALL {
            add_forwarded(&mut headers, reason, true);
            let last = headers.get_all(CACHE_STATUS).iter().next_back().unwrap().to_str().unwrap();
            assert!(last.starts_with(&format!("wasi-http-host; fwd={}", reason.as_str())), "{last}");
        }
    }
}
