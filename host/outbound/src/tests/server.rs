//! A server for tests, which sends the bytes that a test gives it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does after it has read a request's head.
#[derive(Clone)]
pub(super) enum Then {
    /// Writes the bytes and waits for the next request.
    Say(Vec<u8>),
    /// Writes the bytes and closes the connection.
    SayAndClose(Vec<u8>),
    /// Writes the first bytes once, and then the second bytes again and again, with a pause.
    Repeat(Vec<u8>, Vec<u8>, Duration),
    /// Writes the bytes and resets the connection.
    SayAndReset(Vec<u8>),
}

/// A server that reads heads and sends the given bytes, whether or not they are valid HTTP.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn new(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, count) = (Arc::clone(&heads), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                tokio::spawn(serve(stream, then.clone(), Arc::clone(&seen)));
            }
        });
        Self { address, heads, connections, task }
    }

    pub(super) async fn saying(response: &str) -> Self {
        Self::new(Then::Say(response.into())).await
    }

    /// Returns the heads of the requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn serve(mut stream: TcpStream, then: Then, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(head) = read_head(&mut stream).await {
        seen.lock().unwrap().push(head);
        let answered = match &then {
            Then::Say(bytes) => stream.write_all(bytes).await,
            Then::SayAndClose(bytes) => {
                let _ = stream.write_all(bytes).await;
                return;
            }
            Then::SayAndReset(bytes) => {
                let _ = stream.write_all(bytes).await;
                let _ = stream.set_zero_linger();
                return;
            }
            Then::Repeat(first, again, pause) => {
                let mut written = stream.write_all(first).await;
                while written.is_ok() {
                    tokio::time::sleep(*pause).await;
                    written = stream.write_all(again).await;
                }
                written
            }
        };
        if answered.is_err() {
            return;
        }
    }
}

/// Reads up to the empty line after a head. `None`: the client has left.
pub(super) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}
