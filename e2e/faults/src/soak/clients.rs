//! Clients that do what clients do side_load asking and reading.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use testkit::http::{Connection, Request};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::side_load::SideLoad;
use testkit::DEADLINE;

/// Streams of an HTTP/2 connection at once, and rounds of them before it closes.
const STREAMS: usize = 4;
const ROUNDS: usize = 10;

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Clients that close the connection within the request, before the response, or within it.
pub(super) async fn leaving(address: SocketAddr, side_load: Arc<SideLoad>) {
    let mut random = Rng::new();
    while !side_load.is_stopped() {
        let target = format!("/users/newcomer-{}/gists", random.u64(..400));
        let request = Request::get(&target).to(address).bytes();
        let sent = match random.u64(..3) {
            0 => request.get(..request.len() / 2).unwrap_or_default(),
            _ => request.as_slice(),
        };
        match Connection::try_open(address).await {
            Ok(mut connection) => {
                // A failure to write does not matter to a client that leaves.
                let _ = connection.write(sent).await;
                sleep(Duration::from_millis(random.u64(..8))).await;
                if random.u64(..2) == 0 {
                    connection.reset();
                }
                count(&side_load.aborted);
            }
            Err(error) => side_load.fail(format!("cannot connect: {error}")),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Clients that send many requests at once, and read the responses late.
pub(super) async fn reading_late(address: SocketAddr, side_load: Arc<SideLoad>) {
    while !side_load.is_stopped() {
        let reading = async {
            let mut connection = Connection::try_open(address).await?;
            for _ in 0..8 {
                connection.write(&Request::get("/openapi.json").to(address).bytes()).await?;
            }
            sleep(Duration::from_millis(400)).await;
            for _ in 0..8 {
                let reply = connection.response().await?;
                if reply.status != 200 {
                    return Err(io::Error::other(format!("status {}", reply.status)));
                }
            }
            Ok(())
        };
        match reading.await {
            Ok(()) => count(&side_load.slow_readers),
            Err(error) => side_load.fail(format!("a slow reader: {error}")),
        }
    }
}

/// Clients of HTTP/2 without TLS.
pub(super) async fn multiplexing(address: SocketAddr, side_load: Arc<SideLoad>) {
    while !side_load.is_stopped() {
        match timeout(DEADLINE, connection(address, &side_load)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => side_load.fail(format!("HTTP/2: {error}")),
            Err(_) => side_load.fail("HTTP/2: no answer".to_owned()),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn connection(
    address: SocketAddr,
    side_load: &SideLoad,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    for round in 0..ROUNDS {
        let asked = (0..STREAMS).map(|stream| {
            let mut sender = sender.clone();
            async move {
                let target = if stream == 0 {
                    "/health".to_owned()
                } else {
                    format!("/popular-{}", (round + stream) % 8)
                };
                let request =
                    http::Request::get(format!("http://{address}{target}")).body(Empty::<Bytes>::new())?;
                let response = sender.send_request(request).await?;
                let status = response.status().as_u16();
                let body = response.into_body().collect().await?.to_bytes();
                match status {
                    200 if !body.is_empty() => Ok(()),
                    // GitHub fails, and the cache was just cleared.
                    502 | 504 if stream > 0 => Ok(()),
                    _ => Err::<(), Box<dyn std::error::Error + Send + Sync>>(
                        format!("{target}: {status}").into(),
                    ),
                }
            }
        });
        for answer in join_all(asked).await {
            answer?;
            count(&side_load.multiplexed);
        }
    }
    drop(sender);
    driver.await??;
    Ok(())
}

/// Clear the cache with the right token, and try it with a wrong one.
pub(super) async fn clearing(address: SocketAddr, token: &str, side_load: Arc<SideLoad>) {
    let token = format!("Bearer {token}");
    while !side_load.is_stopped() {
        for (authorization, expected) in [(token.as_str(), 200), ("Bearer wrong", 401)] {
            let ask = Request::new("DELETE", "/cache").to(address).header("authorization", authorization);
            match ask.try_send().await {
                Ok(reply) if reply.status == expected => {}
                Ok(reply) => {
                    side_load.fail(format!("DELETE /cache: {} in place of {expected}", reply.status));
                }
                Err(error) => side_load.fail(format!("DELETE /cache: {error}")),
            }
        }
        count(&side_load.cleared);
        for _ in 0..40 {
            if side_load.is_stopped() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
