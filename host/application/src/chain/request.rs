//! Checks and completes a request from one component to another, as the server does with a client's request.

use http::{HeaderValue, Method, Request, Uri, header, uri::Scheme};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, WasiBody};

use wasi_http_host_core::{BodyFailure, BodyLimits, LimitedBody};
use wasi_http_host_egress::COMPONENTS;
use wasi_http_host_outbound::{Failure, Outcome};
use wasi_http_host_runtime::{Cause, MAX_DEPTH, inherit, passes};

/// Turns a component's request into the request that the component `id` sees. `max_body` is the maximum size of the body,
/// in bytes.
pub(super) fn prepare(
    request: Request<WasiBody>,
    id: &str,
    cause: Option<&Cause>,
    max_body: u64,
) -> Result<Request<WasiBody>, Failure> {
    let (mut head, body) = request.into_parts();
    if head.method == Method::CONNECT {
        return Err(Failure::new(Error::HttpRequestMethodInvalid, Outcome::Denied));
    }
    if passes(&head.headers) >= MAX_DEPTH {
        return Err(Failure::new(Error::LoopDetected, Outcome::Loop));
    }
    let invalid = || Failure::new(Error::HttpRequestUriInvalid, Outcome::Denied);
    // A user before the host is not a part of an authority in HTTP (RFC 9110, 4.2.4).
    if head.uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(invalid());
    }
    let authority = format!("{id}{COMPONENTS}");
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority.parse().map_err(|_| invalid())?);
    head.uri = Uri::from_parts(uri).map_err(|_| invalid())?;
    head.headers.insert(header::HOST, HeaderValue::try_from(authority).map_err(|_| invalid())?);
    inherit(&mut head.headers, cause);
    let size = body.size_hint().lower();
    if size > max_body {
        return Err(Failure::new(Error::HttpRequestBodySize(Some(size)), Outcome::Limit));
    }
    let body = if body.is_end_stream() {
        body
    } else {
        let limits = BodyLimits { size: Some(max_body), ..BodyLimits::default() };
        LimitedBody::new(body, limits, body_failed).boxed_unsync()
    };
    Ok(Request::from_parts(head, body))
}

/// The error that the called component gets when the body fails or is larger than the limit.
fn body_failed(_: &mut WasiBody, failure: BodyFailure<Error>) -> Error {
    match failure {
        BodyFailure::Body(error) => error,
        BodyFailure::Size(limit) => Error::HttpRequestBodySize(Some(limit)),
        BodyFailure::Idle | BodyFailure::Deadline => Error::ConnectionReadTimeout,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use futures::FutureExt as _;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request<WasiBody> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body(3)).unwrap()
    }

    fn body(length: usize) -> WasiBody {
        Full::new(Bytes::from(vec![b'x'; length])).map_err(|never| match never {}).boxed_unsync()
    }

    #[test]
    fn a_request_between_components_passes_the_checks_of_the_front_door() {
        let prepared = |method, uri, headers: &[_]| {
            prepare(request(method, uri, headers), "back", None, 10).map_err(|failure| failure.error)
        };
        let seen = prepared(Method::GET, "https://BACK.spin.internal:81/a?b", &[("host", "front")]).unwrap();
        assert_eq!(seen.uri(), "http://back.spin.internal/a?b");
        assert_eq!(seen.headers()["host"], "back.spin.internal");
        let tunnel = prepared(Method::CONNECT, "http://back.spin.internal/", &[]);
        assert!(matches!(tunnel, Err(Error::HttpRequestMethodInvalid)));
        let user = prepared(Method::GET, "http://admin@back.spin.internal/", &[]);
        assert!(matches!(user, Err(Error::HttpRequestUriInvalid)));
        let passed = ["wasi-http-host"; MAX_DEPTH].join(", ");
        let looping = prepared(Method::GET, "http://back.spin.internal/", &[("cdn-loop", &passed)]);
        assert!(matches!(looping, Err(Error::LoopDetected)));
    }

    #[test]
    fn a_component_cannot_say_who_the_client_is() {
        let first = request(
            Method::GET,
            "http://name.test/",
            &[
                ("spin-client-addr", "192.0.2.1:9"),
                ("forwarded", "for=192.0.2.1"),
                ("client-cert", ":YQ==:"),
                ("x-request-id", "of-client"),
            ],
        );
        let cause = Cause::first(first.headers(), Instant::now());
        let forged = [
            ("spin-client-addr", "10.0.0.1:1"),
            ("forwarded", "for=10.0.0.1"),
            ("client-cert", ":AAAA:"),
            ("client-cert-chain", ":AAAA:"),
            ("x-request-id", "two words"),
        ];
        let forged = || request(Method::GET, "http://back.spin.internal/", &forged);
        let seen = prepare(forged(), "back", Some(&cause), 10).unwrap();
        let header = |name| seen.headers().get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(header("spin-client-addr"), ["192.0.2.1:9"]);
        assert_eq!(header("forwarded"), ["for=192.0.2.1"]);
        assert_eq!(header("client-cert"), [":YQ==:"]);
        assert!(header("client-cert-chain").is_empty());
        assert_eq!(header("x-request-id"), ["of-client"]);
        let seen = prepare(forged(), "back", None, 10).unwrap();
        assert_eq!(seen.headers().keys().collect::<Vec<_>>(), ["host"]);
    }

    #[test]
    fn a_body_between_components_has_the_limit_of_a_clients() {
        let sent = |body, limit| {
            let request = Request::post("http://back.spin.internal/").body(body).unwrap();
            prepare(request, "back", None, limit).map_err(|failure| failure.error)
        };
        assert!(matches!(sent(body(11), 10), Err(Error::HttpRequestBodySize(Some(11)))));
        let streamed = || {
            let frames =
                [[b'x'; 6]; 2].map(|bytes| Ok(http_body::Frame::data(Bytes::copy_from_slice(&bytes))));
            StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
        };
        let read = |limit| sent(streamed(), limit).unwrap().into_body().collect().now_or_never().unwrap();
        assert_eq!(read(12).unwrap().to_bytes().len(), 12);
        assert!(matches!(read(10), Err(Error::HttpRequestBodySize(Some(10)))));
    }
}
