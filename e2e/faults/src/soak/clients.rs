//! Clients that do what clients do besides asking and reading.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use e2e::Dice;
use e2e::harness::{Ask, Connection};
use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Besides;
use crate::load::DEADLINE;

/// Streams of an HTTP/2 connection at once, and rounds of them before it closes.
const STREAMS: usize = 4;
const ROUNDS: usize = 10;

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Go away in the middle of their request, before the answer, or in the middle of it.
pub(super) async fn leaving(address: SocketAddr, besides: Arc<Besides>) {
    let mut dice = Dice::unlike_others();
    while besides.goes_on() {
        let target = format!("/users/newcomer-{}/gists", dice.below(400));
        let request = Ask::new(address, "GET", &target).bytes();
        let sent = match dice.below(3) {
            0 => request.get(..request.len() / 2).unwrap_or_default(),
            _ => request.as_slice(),
        };
        match Connection::try_open(address).await {
            Ok(mut connection) => {
                // Whoever leaves does not mind.
                let _ = connection.write(sent).await;
                sleep(Duration::from_millis(dice.below(8))).await;
                if dice.below(2) == 0 {
                    connection.reset();
                }
                count(&besides.aborted);
            }
            Err(error) => besides.complain(format!("cannot connect: {error}")),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Ask for much at once, and read it late.
pub(super) async fn dawdling(address: SocketAddr, besides: Arc<Besides>) {
    while besides.goes_on() {
        let dawdled = async {
            let mut connection = Connection::try_open(address).await?;
            for _ in 0..8 {
                connection.write(&Ask::new(address, "GET", "/openapi.json").bytes()).await?;
            }
            sleep(Duration::from_millis(400)).await;
            for _ in 0..8 {
                let reply = connection.reply().await?;
                if reply.status != 200 {
                    return Err(io::Error::other(format!("status {}", reply.status)));
                }
            }
            Ok(())
        };
        match dawdled.await {
            Ok(()) => count(&besides.dawdled),
            Err(error) => besides.complain(format!("a slow reader: {error}")),
        }
    }
}

/// HTTP/2 without TLS.
pub(super) async fn multiplexing(address: SocketAddr, besides: Arc<Besides>) {
    while besides.goes_on() {
        match timeout(DEADLINE, connection(address, &besides)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => besides.complain(format!("HTTP/2: {error}")),
            Err(_) => besides.complain("HTTP/2: no answer".to_owned()),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn connection(
    address: SocketAddr,
    besides: &Besides,
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
                    // GitHub is failing, and the cache was just emptied.
                    502 | 504 if stream > 0 => Ok(()),
                    _ => Err::<(), Box<dyn std::error::Error + Send + Sync>>(
                        format!("{target}: {status}").into(),
                    ),
                }
            }
        });
        for answer in join_all(asked).await {
            answer?;
            count(&besides.multiplexed);
        }
    }
    drop(sender);
    driver.await??;
    Ok(())
}

/// Empty the cache, once with the right token and once without.
pub(super) async fn clearing(address: SocketAddr, token: &str, besides: Arc<Besides>) {
    let token = format!("Bearer {token}");
    while besides.goes_on() {
        for (authorization, expected) in [(token.as_str(), 200), ("Bearer wrong", 401)] {
            let ask = Ask::new(address, "DELETE", "/cache").header("authorization", authorization);
            match ask.try_send().await {
                Ok(reply) if reply.status == expected => {}
                Ok(reply) => {
                    besides.complain(format!("DELETE /cache: {} in place of {expected}", reply.status));
                }
                Err(error) => besides.complain(format!("DELETE /cache: {error}")),
            }
        }
        count(&besides.cleared);
        for _ in 0..40 {
            if !besides.goes_on() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
