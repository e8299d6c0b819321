//! A client that hides nothing: one connection a request, or as many as a test wants.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{DEADLINE, Host};

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    /// The body ended as it should.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Host {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        ask(self.address, request).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Request::builder().method(Method::POST).uri(path).body(Full::new(body.into())).unwrap())
            .await
    }

    pub(crate) async fn admin(&self, path: &str) -> Answer {
        ask(self.admin, Request::get(path).body(Full::default()).unwrap()).await
    }

    /// The value of a metric, as `name` or `name{label="value"}` is its line's beginning.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let metrics = self.admin("/metrics").await;
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            // A name without labels stands for all series of it.
            let rest = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
            rest.strip_prefix(' ')?.parse::<f64>().ok()
        };
        let values: Vec<_> = metrics.text().lines().filter_map(value).collect();
        assert!(!values.is_empty(), "no {name} in {}", metrics.text());
        values.iter().sum()
    }

    /// Waits until a metric is so.
    pub(crate) async fn wait_for_metric(&self, name: &str, is_so: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let value = self.metric(name).await;
            if is_so(value) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Sends a request on a connection of its own. A request without a `Host` gets one.
async fn ask(to: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    read(begin(to, request).await).await
}

/// Sends a request, and waits for the head of its response only.
pub(crate) async fn begin(to: SocketAddr, mut request: Request<Full<Bytes>>) -> Response<Incoming> {
    request.headers_mut().entry("host").or_insert_with(|| to.to_string().parse().unwrap());
    let stream = TcpStream::connect(to).await.expect("the host accepts");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let sent = timeout(DEADLINE, sender.send_request(request)).await.expect("an answer in time");
    sent.expect("a response")
}

/// The same over HTTP/2.
pub(crate) async fn ask_h2(to: SocketAddr, path: &str) -> Answer {
    let stream = TcpStream::connect(to).await.expect("the host accepts");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{to}{path}")).body(Full::<Bytes>::default()).unwrap();
    read(
        timeout(DEADLINE, sender.send_request(request))
            .await
            .expect("an answer in time")
            .expect("a response"),
    )
    .await
}

pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut whole = true;
    while let Some(frame) = timeout(DEADLINE, body.frame()).await.expect("a body that ends in time") {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    Answer { status: head.status, headers: head.headers, body: bytes.into(), whole }
}

/// Sends bytes as they are, and returns all that comes back until the host closes.
pub(crate) async fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.expect("the host accepts");
    stream.write_all(bytes).await.expect("the host reads");
    until_closed(&mut stream).await
}

/// All that comes until the host closes; a reset counts as that.
pub(crate) async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..n]);
        }
    };
    timeout(DEADLINE, read).await.expect("the host closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}
