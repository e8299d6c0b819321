//! Tests of what the span of a client's request keeps.

use bytes::Bytes;
use http::{HeaderValue, Request};

use super::*;
use wasi_http_host_telemetry::trace::{NAME_BYTES, Settings};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn tracer() -> Arc<Tracer> {
    let endpoint =
        |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://127.0.0.1:1".to_owned());
    Tracer::new(&Settings::read("app", &endpoint).unwrap().unwrap())
}

/// Returns what the span keeps of a request.
fn recorded(
    tracer: &Arc<Tracer>,
    request: &Request<()>,
    request_id: &HeaderValue,
) -> (Arc<Origin>, RequestDetails) {
    let mut span = ServerSpan::begin(tracer, request, || Some("/...".to_owned()));
    let details = span.details(&Ended {
        component: None,
        method: request.method(),
        scheme: Scheme::HTTP,
        path: request.uri().path(),
        request_id,
        status: None,
        complete: true,
        cached: None,
    });
    (span.origin(), details)
}

#[test]
fn what_is_kept_of_a_request_holds_nothing_of_its_head_in_memory() {
    let head = Bytes::from(format!("example.com:8080 {PARENT} a=1 id-1"));
    let mut values = Vec::new();
    for part in std::str::from_utf8(&head).unwrap().split(' ') {
        values.push(HeaderValue::from_maybe_shared(head.slice_ref(part.as_bytes())).unwrap());
    }
    let [host, parent, state, id] = values.try_into().unwrap();
    let mut request = Request::new(());
    *request.uri_mut() = "/x".parse().unwrap();
    for (name, value) in [("host", host), ("traceparent", parent), ("tracestate", state)] {
        request.headers_mut().insert(name, value);
    }
    let (origin, details) = recorded(&tracer(), &request, &id);
    drop((request, id));
    assert!(head.is_unique());
    let Server { address, port } = details.server.unwrap();
    assert_eq!((&*address, port, &*details.request_id), ("example.com", Some(8080), "id-1"));
    let mut passed_on = HeaderMap::new();
    origin.inject(&mut passed_on);
    assert_eq!(passed_on["tracestate"], "a=1");
}

#[test]
fn what_others_choose_is_cut() {
    let long = "x".repeat(5_000);
    let method = Method::from_bytes(long.as_bytes()).unwrap();
    let request = |uri: String, host: &str| {
        Request::builder().method(&method).uri(uri).header("host", host).body(()).unwrap()
    };
    let id = HeaderValue::from_static("id");
    for (uri, host) in
        [(format!("/{long}"), &*format!("{long}:80")), (format!("http://{long}:80/{long}"), "y")]
    {
        let (_, details) = recorded(&tracer(), &request(uri, host), &id);
        let Server { address, port } = details.server.unwrap();
        assert_eq!((address.len(), port), (NAME_BYTES, Some(80)));
        assert_eq!((details.path.len(), details.method.as_str().len()), (PATH_BYTES, 64));
    }
}
