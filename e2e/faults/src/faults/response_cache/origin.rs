//! An origin behind the guest `forwarder`. It answers each `GET` with its version, and counts what it answers.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use testkit::ports;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// An origin that can end and begin again at the same address.
pub(super) struct Origin {
    address: SocketAddr,
    state: Arc<State>,
    /// The listener and the connections. Dropping them closes them.
    running: JoinSet<()>,
}

#[derive(Default)]
struct State {
    version: AtomicU64,
    answered: AtomicU64,
    /// The fields of the responses, each with its line end.
    fields: Mutex<String>,
    /// The bytes of padding behind the version.
    padding: usize,
}

impl Origin {
    /// An origin of version 1 whose responses have these fields, and bodies of at least `padding` bytes.
    pub(super) async fn start(fields: &str, padding: usize) -> Result<Self, String> {
        let state = State { version: AtomicU64::new(1), padding, ..State::default() };
        let mut origin = Self { address: ports::reserve(), state: Arc::new(state), running: JoinSet::new() };
        origin.respond_with(fields);
        origin.resume().await?;
        Ok(origin)
    }

    /// Begins to listen.
    pub(super) async fn resume(&mut self) -> Result<(), String> {
        let listener = TcpListener::bind(self.address).await;
        let listener = listener.map_err(|error| format!("origin {}: {error}", self.address))?;
        let state = Arc::clone(&self.state);
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&state)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(())
    }

    /// Closes the listener and all connections.
    pub(super) async fn stop(&mut self) {
        self.running.shutdown().await;
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the fields of the responses from now on.
    pub(super) fn respond_with(&self, fields: &str) {
        *self.state.fields.lock().unwrap_or_else(PoisonError::into_inner) = fields.to_owned();
    }

    /// A new version. Returns its number.
    pub(super) fn next_version(&self) -> u64 {
        self.state.version.fetch_add(1, SeqCst) + 1
    }

    /// The number of responses so far.
    pub(super) fn answered(&self) -> u64 {
        self.state.answered.load(SeqCst)
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while read_head(&mut stream, &mut buffer).await.is_ok() {
        let version = state.version.load(SeqCst);
        let body = format!("{version} {:1$}", "", state.padding);
        let fields = state.fields.lock().unwrap_or_else(PoisonError::into_inner).clone();
        state.answered.fetch_add(1, SeqCst);
        let response = format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads the head of a request without a body.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            buffer.drain(..at + 4);
            return Ok(());
        }
        if buffer.len() > MAX_HEAD || stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
