//! An upstream that responds to each request with 200 and keeps targets and headers.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use testkit::ports::listen;

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let (listener, address) = listen().await;
        let requests: Arc<Mutex<Vec<_>>> = Arc::default();
        let keep = requests.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let keep = keep.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    keep.lock().unwrap().push((request.uri().to_string(), request.headers().clone()));
                    async { Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"yes")))) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, requests }
    }

    /// A header of the request for this target; empty if the request had no such header.
    pub(super) fn header(&self, path: &str, name: &str) -> String {
        let requests = self.requests.lock().unwrap();
        let (_, headers) = requests
            .iter()
            .find(|(target, _)| target == path)
            .unwrap_or_else(|| panic!("no {path} in {requests:?}"));
        headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}
