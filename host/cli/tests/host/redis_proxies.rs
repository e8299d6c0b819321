//! Proxies between the host and a Redis server: one holds responses back, one closes connections at `HELLO`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use testkit::ports::listen;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

/// A proxy that forwards commands, and holds responses back until it has seen a number of `GET`s on all connections together.
pub(crate) struct HoldingProxy {
    address: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    gets: AtomicUsize,
    open_at: AtomicUsize,
    changed: watch::Sender<()>,
}

impl Seen {
    fn is_held(&self) -> bool {
        let gets = self.gets.load(Ordering::SeqCst);
        // Before the first `GET`, clients only set up their connections.
        gets > 0 && gets < self.open_at.load(Ordering::SeqCst)
    }
}

impl HoldingProxy {
    /// Starts a proxy to `server`.
    pub(crate) async fn start(server: SocketAddr, gets: usize) -> Self {
        let (listener, address) = listen().await;
        let seen = Arc::new(Seen {
            gets: AtomicUsize::new(0),
            open_at: AtomicUsize::new(gets),
            changed: watch::channel(()).0,
        });
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(pass(client, server, shared.clone()));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards the held responses and all later ones.
    pub(crate) fn release(&self) {
        self.seen.open_at.store(0, Ordering::SeqCst);
        self.seen.changed.send_replace(());
    }
}

async fn pass(client: TcpStream, server: TcpStream, seen: Arc<Seen>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = seen.clone();
    let there = async move {
        let (mut buffer, mut tail) = (vec![0; 64 << 10], Vec::new());
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            const GET: &[u8] = b"\r\nGET\r\n";
            tail.extend_from_slice(&buffer[..length]);
            let gets = tail.windows(GET.len()).filter(|window| *window == GET).count();
            // Two reads may share one command.
            tail.drain(..tail.len().saturating_sub(GET.len() - 1));
            asking.gets.fetch_add(gets, Ordering::SeqCst);
            asking.changed.send_replace(());
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let back = async move {
        let (mut buffer, mut changed) = (vec![0; 64 << 10], seen.changed.subscribe());
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            while seen.is_held() {
                changed.changed().await.unwrap();
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// A proxy that forwards everything, and closes the first `times` connections that begin with `HELLO`. A proxy that does not know
/// RESP3 closes each; a server that is going down closes one.
pub(crate) async fn closing_at_hello(server: SocketAddr, times: usize) -> SocketAddr {
    let (listener, address) = listen().await;
    let left = Arc::new(AtomicUsize::new(times));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(server).await.unwrap();
            let left = left.clone();
            tokio::spawn(async move {
                let mut first = vec![0; 4 << 10];
                let length = client.read(&mut first).await.unwrap_or_default();
                let first = &first[..length];
                let is_hello = first.windows(5).any(|word| word == b"HELLO");
                let one_less = |left: usize| left.checked_sub(1);
                if is_hello && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                    return;
                }
                if server.write_all(first).await.is_ok() {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    address
}
