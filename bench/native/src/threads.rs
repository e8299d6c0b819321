//! One current-thread runtime a core. An acceptor distributes the connections round-robin, as the host does.

use std::io;
use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum::serve::Listener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// How many connections may wait for a busy thread.
const MAX_WAITING: usize = 1024;

/// Serves until accepting a connection fails.
///
/// # Errors
/// Fails when the address cannot be bound, a runtime cannot be made, or accepting fails.
pub(crate) fn serve(address: SocketAddr, threads: usize, router: &Router) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let mut workers = Vec::with_capacity(threads);
    for _ in 0..threads {
        let (sender, accepted) = mpsc::channel(MAX_WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let router = router.clone();
        std::thread::spawn(move || {
            runtime.block_on(axum::serve(Accepted { address, accepted }, router).into_future())
        });
        workers.push(sender);
    }
    println!("listening on http://{address}");
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        worker.blocking_send(stream).map_err(io::Error::other)?;
    }
    Ok(())
}

/// The connections that the acceptor gave to this thread.
struct Accepted {
    address: SocketAddr,
    accepted: mpsc::Receiver<std::net::TcpStream>,
}

impl Listener for Accepted {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.accepted.recv().await.map(TcpStream::from_std) {
                Some(Ok(stream)) => return (stream, self.address),
                Some(Err(error)) => eprintln!("bench-native: cannot use an accepted connection: {error}"),
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
