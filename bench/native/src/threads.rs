//! One current-thread runtime a core; an acceptor deals connections out in turn, as the host does.

use std::io;
use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum::serve::Listener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Connections that wait for a thread which is busy.
const WAITING: usize = 1024;

/// Serves until accepting fails.
///
/// # Errors
/// When the address cannot be bound, a runtime cannot be made, or accepting fails.
pub(crate) fn serve(address: SocketAddr, threads: usize, router: &Router) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let mut workers = Vec::with_capacity(threads);
    for _ in 0..threads {
        let (deal, dealt) = mpsc::channel(WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let router = router.clone();
        std::thread::spawn(move || {
            runtime.block_on(axum::serve(Dealt { address, dealt }, router).into_future())
        });
        workers.push(deal);
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

/// The connections that fell to this thread.
struct Dealt {
    address: SocketAddr,
    dealt: mpsc::Receiver<std::net::TcpStream>,
}

impl Listener for Dealt {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.dealt.recv().await.map(TcpStream::from_std) {
                Some(Ok(stream)) => return (stream, self.address),
                Some(Err(error)) => eprintln!("bench-native: a connection was lost: {error}"),
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
