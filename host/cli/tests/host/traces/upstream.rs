//! Whom guests ask: it answers all of them alike, and keeps what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let keep = asked.clone();
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
        Self { address, asked }
    }

    /// A header of the request for a path; empty if it had none.
    pub(super) fn header(&self, path: &str, name: &str) -> String {
        let asked = self.asked.lock().unwrap();
        let (_, headers) =
            asked.iter().find(|(asked, _)| asked == path).unwrap_or_else(|| panic!("no {path} in {asked:?}"));
        headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}
