//! HTTP/2 by hyper.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;

use super::connection::Stream;
use super::response::Response;
use crate::wait::DEADLINE;

/// A client of one connection. Clones share the connection.
pub type Client<B = Full<Bytes>> = SendRequest<B>;

/// Opens an HTTP/2 connection over this stream; a task drives it.
pub async fn connect<B>(stream: impl Stream + Send + 'static) -> Client<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let connecting = handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (client, connection) =
        timeout(DEADLINE, connecting).await.expect("a handshake in time").expect("a handshake");
    tokio::spawn(connection);
    client
}

/// `GET` of an absolute URL.
#[must_use]
pub fn get(url: &str) -> http::Request<Full<Bytes>> {
    http::Request::get(url).body(Full::default()).expect("a URL")
}

/// Sends a request and reads the response; the body may break off: see [`Response::complete`].
///
/// # Errors
/// If no response begins.
pub async fn send<B>(client: &mut Client<B>, request: http::Request<B>) -> Result<Response, hyper::Error>
where
    B: Body + 'static,
{
    let response = timeout(DEADLINE, client.send_request(request)).await.expect("a response in time")?;
    Ok(read(response).await)
}

/// Reads the body of a response.
pub async fn read(response: http::Response<Incoming>) -> Response {
    let (head, mut incoming) = response.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let (mut body, mut complete) = (Vec::new(), true);
    while let Some(frame) = timeout(DEADLINE, incoming.frame()).await.expect("a body that ends in time") {
        match frame {
            Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(_) => {
                complete = false;
                break;
            }
        }
    }
    Response { status: head.status.as_u16(), headers: headers.collect(), body, complete }
}
