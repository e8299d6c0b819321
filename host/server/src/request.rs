//! Checks and completes a request before a component sees it, and gives it an id.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use wasi_http_host_core::{BodyFailure, BodyLimits, LimitedBody};
use wasi_http_host_runtime::{MAX_DEPTH, is_request_id, names_component, passes};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{limits::RequestBodyLimits, refusal::Refusal};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Turns a client's request into the component's request. The result has a scheme and an authority, no headers that
/// `Connection` names, and a body within limits.
pub(super) fn prepare(
    request: http::Request<Incoming>,
    scheme: Scheme,
    request_id: &HeaderValue,
    limits: RequestBodyLimits,
) -> Result<http::Request<WasiBody>, Refusal> {
    let (mut head, body) = request.into_parts();
    if head.method == Method::CONNECT {
        return Err(Refusal::NotImplemented);
    }
    check_encoding(&head.headers)?;
    if passes(&head.headers) >= MAX_DEPTH {
        return Err(Refusal::LoopDetected);
    }
    head.uri = absolute(std::mem::take(&mut head.uri), scheme, head.version, &head.headers)?;
    remove_named_by_connection(&mut head.headers);
    head.headers.insert(X_REQUEST_ID, request_id.clone());
    let body = if body.is_end_stream() {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    } else if body.size_hint().lower() > limits.bytes {
        return Err(Refusal::BodyTooLarge);
    } else {
        let limits = BodyLimits { size: Some(limits.bytes), idle: Some(limits.idle), deadline: None };
        LimitedBody::new(body, limits, body_failed).boxed_unsync()
    };
    Ok(http::Request::from_parts(head, body))
}

/// Refuses every transfer coding except one `chunked`. The component would get another coding still encoded and
/// without its header. Servers also disagree on where such a body ends (RFC 9112, 6.1).
fn check_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::NotImplemented),
    }
}

/// Completes the request's target with the `Host` header of HTTP/1.1 (RFC 9112, 3.3).
fn absolute(uri: Uri, scheme: Scheme, version: Version, headers: &HeaderMap) -> Result<Uri, Refusal> {
    let mut parts = uri.into_parts();
    // `GET health` parses as an authority only, which is a valid target only for CONNECT (RFC 9112, 3.2.3).
    if parts.authority.is_some() && parts.scheme.is_none() {
        return Err(Refusal::BadRequest("Invalid request target"));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::BadRequest("More than one Host header"));
    }
    let host = match host {
        None => None,
        Some(host) => {
            const INVALID: &str = "Invalid Host header";
            let host = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::BadRequest(INVALID))?;
            check_server(&host, INVALID)?;
            Some(host)
        }
    };
    if host.is_none() && version == Version::HTTP_11 {
        return Err(Refusal::BadRequest("Missing Host header"));
    }
    if let Some(authority) = &parts.authority {
        check_server(authority, "Invalid request target")?;
    }
    // `Host` and `:authority` must not name different servers (RFC 9113, 8.3.1).
    if let (Some(authority), Some(host)) = (&parts.authority, &host)
        && version == Version::HTTP_2
        && authority != host
    {
        return Err(Refusal::BadRequest("Host differs from :authority"));
    }
    // The authority of an absolute target takes precedence over `Host`.
    parts.authority = parts.authority.or(host).or_else(|| Some(Authority::from_static("localhost")));
    parts.scheme = Some(scheme);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|_| Refusal::BadRequest("Invalid request target"))
}

/// Refuses an authority that names no server, or another component: a component must be able to tell a request of another
/// component by its authority.
fn check_server(authority: &Authority, invalid: &'static str) -> Result<(), Refusal> {
    match server_name(authority) {
        None => Err(Refusal::BadRequest(invalid)),
        Some(name) if names_component(name) => {
            Err(Refusal::BadRequest("The host is a name between components"))
        }
        Some(_) => Ok(()),
    }
}

/// The host of an authority that is a host with an optional port, without user information (RFC 9110, 4.2.4).
fn server_name(authority: &Authority) -> Option<&str> {
    let text = authority.as_str();
    // The parser has checked the brackets of an IPv6 address, and that nothing else has brackets.
    let end = match text.starts_with('[') {
        true => text.bytes().position(|byte| byte == b']')? + 1,
        false => text.bytes().position(|byte| matches!(byte, b':' | b'@')).unwrap_or(text.len()),
    };
    let (host, port) = text.split_at_checked(end)?;
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.is_empty()
                || digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
    };
    is_port.then_some(host)
}

/// Removes the fields that `Connection` names. Such fields belong to the connection and must not be forwarded (RFC
/// 9110, 7.6.1). The fields that the standard itself names are removed with the other forbidden headers, when the
/// guest's copy is made.
fn remove_named_by_connection(headers: &mut HeaderMap) {
    // Nearly all requests name no field here, and need no list.
    if connection_names_none(headers) {
        return;
    }
    let named: Vec<HeaderName> = (headers.get_all(header::CONNECTION).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Whether `Connection` names no field. There may be several lines.
fn connection_names_none(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().all(|value| {
        value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
            || value.as_bytes().eq_ignore_ascii_case(b"close")
    })
}

/// Whether [`prepare`] removes no field from these headers, and refuses no transfer coding.
pub(super) fn is_hop_by_hop_free(headers: &HeaderMap) -> bool {
    connection_names_none(headers) && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Returns the only line of the field `name`. `Some(None)`: there is no line. `None`: there are several.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a HeaderValue>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next();
    lines.next().is_none().then_some(first)
}

/// Returns the request's id: the client's id if it is well-formed, otherwise a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID).filter(|id| is_request_id(id.as_bytes())) {
        Some(id) => id.clone(),
        None => fresh_id(),
    }
}

fn fresh_id() -> HeaderValue {
    let mut text = [0u8; 32];
    for half in text.chunks_exact_mut(16) {
        half.copy_from_slice(&hex(fastrand::u64(..)));
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// The hexadecimal digits of `word`, the lowest first. All digits are computed at once, because each request needs them.
fn hex(word: u64) -> [u8; 16] {
    const EACH: u128 = u128::from_ne_bytes([1; 16]);
    let mut digits = u128::from(word);
    // One digit a byte.
    for (distance, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, EACH * 0x0f),
    ] {
        digits = (digits | digits << distance) & mask;
    }
    let letters = (digits + EACH * 6) >> 4 & EACH;
    (digits + EACH * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_le_bytes()
}

/// The error that the component gets when the client's body fails or breaks a limit.
fn body_failed(_: &mut Incoming, failure: BodyFailure<hyper::Error>) -> Error {
    match failure {
        BodyFailure::Body(error) => error.into(),
        BodyFailure::Size(limit) => Error::HttpRequestBodySize(Some(limit)),
        BodyFailure::Idle | BodyFailure::Deadline => Error::ConnectionReadTimeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_target_is_completed_from_host() {
        let complete = |uri: &'static str, version, pairs: &[_]| {
            absolute(Uri::from_static(uri), Scheme::HTTP, version, &headers(pairs))
                .map(|uri| uri.to_string())
                .map_err(|r| r.status())
        };
        assert_eq!(complete("/a?b", Version::HTTP_11, &[("host", "x:1")]), Ok("http://x:1/a?b".to_owned()));
        assert_eq!(complete("http://y/a", Version::HTTP_11, &[("host", "x")]), Ok("http://y/a".to_owned()));
        assert_eq!(complete("/", Version::HTTP_10, &[]), Ok("http://localhost/".to_owned()));
        for bad in [
            &[][..],
            &[("host", "")],
            &[("host", "a b")],
            &[("host", "u@h")],
            &[("host", "h:x")],
            &[("host", "h:99999")],
            &[("host", "h:+80")],
            &[("host", "u:80@h")],
            &[("host", "[::1]80")],
            &[("host", "back.spin.internal:80")],
        ] {
            assert_eq!(complete("/", Version::HTTP_11, bad), Err(http::StatusCode::BAD_REQUEST), "{bad:?}");
        }
        let mut two = headers(&[("host", "a")]);
        two.append(header::HOST, HeaderValue::from_static("b"));
        assert!(absolute(Uri::from_static("/"), Scheme::HTTP, Version::HTTP_11, &two).is_err());
    }

    #[test]
    fn a_target_names_a_server_and_nobody() {
        let complete = |uri: &'static str, version, host| {
            absolute(Uri::from_static(uri), Scheme::HTTP, version, &headers(&[("host", host)])).is_ok()
        };
        assert!(complete("http://a:80/", Version::HTTP_11, "b"));
        assert!(complete("http://[::1]:80/", Version::HTTP_11, "[::1]"));
        assert!(complete("/", Version::HTTP_11, "a:"));
        assert!(!complete("http://u:p@a/", Version::HTTP_11, "a"));
        assert!(!complete("http://u@a/", Version::HTTP_2, "a"));
        assert!(complete("http://A/", Version::HTTP_2, "a"));
        assert!(!complete("http://a/", Version::HTTP_2, "b"));
        assert!(!complete("http://a.spin.internal/", Version::HTTP_11, "a"));
        assert!(!complete("http://a/", Version::HTTP_11, "a.spin.internal"));
    }

    #[test]
    fn a_body_is_chunked_or_it_is_not() {
        let check = |pairs: &[_]| check_encoding(&headers(pairs)).is_ok();
        assert!(check(&[]) && check(&[("transfer-encoding", "Chunked")]));
        for other in ["gzip, chunked", "chunked, chunked", "identity"] {
            assert!(!check(&[("transfer-encoding", other)]), "{other}");
        }
        let mut two = headers(&[("transfer-encoding", "chunked")]);
        two.append(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert!(check_encoding(&two).is_err());
    }

    #[test]
    fn what_connection_names_is_removed() {
        let mut map = headers(&[("connection", "close, X-Mine"), ("x-mine", "1"), ("x-other", "2")]);
        remove_named_by_connection(&mut map);
        assert!(!map.contains_key("x-mine") && map.contains_key("x-other"));
        for lines in [["keep-alive", "X-Mine"], ["X-Mine", "close"], ["close", ", x-mine ,"]] {
            let mut map = headers(&[("x-mine", "1"), ("x-other", "2")]);
            for line in lines {
                map.append(header::CONNECTION, HeaderValue::from_static(line));
            }
            remove_named_by_connection(&mut map);
            assert!(!map.contains_key("x-mine") && map.contains_key("x-other"), "{lines:?}");
        }
    }

    #[test]
    fn an_identity_is_taken_over_or_made() {
        let id = |value| request_id(&headers(&[("x-request-id", value)]));
        assert_eq!(id("abc-1_2.3:4"), "abc-1_2.3:4");
        for bad in ["", "a b", "a\"b", "a,b"] {
            let made = id(bad);
            assert!(made != bad && made.len() == 32, "{made:?}");
        }
        assert_ne!(fresh_id(), fresh_id());
    }

    #[test]
    fn all_digits_are_hexadecimal() {
        for word in [0, u64::MAX, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 0x9a9a_a9a9_0f0f_f0f0] {
            let highest_first: Vec<u8> = hex(word).into_iter().rev().collect();
            assert_eq!(String::from_utf8(highest_first).unwrap(), format!("{word:016x}"));
        }
    }
}
