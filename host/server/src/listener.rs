//! Accepts connections and distributes them over the threads.
//!
//! One task accepts for all threads, and gives each connection to the thread with the fewest connections. With one
//! listener for each thread (`SO_REUSEPORT`), the kernel would distribute connections by hash. The hash leaves
//! cores idle when there are few connections, as behind a gateway. Closing one of the listeners also resets the
//! connections that wait there.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::ConnectionMetrics;
use super::worker::{Accepted, Worker};

/// Length of the kernel's queue of connections to accept. The kernel's own limit (`net.core.somaxconn`) also
/// applies.
const BACKLOG: i32 = 4096;
/// Pause after an error that the next connection would also meet, for example when no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(50);

/// Binds and listens on `address`.
///
/// # Errors
/// When the address is in use or not an address of this machine.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait until the kernel has forgotten the old connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The main listener and its threads.
pub struct Listener {
    listener: tokio::net::TcpListener,
    /// The same socket, for accepting without the runtime.
    socket: TcpListener,
    workers: Vec<Arc<Worker>>,
    permits: Arc<Semaphore>,
    metrics: Arc<ConnectionMetrics>,
}

impl Listener {
    /// Creates the listener. The caller must be on a Tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot register the listener.
    pub fn new(
        listener: TcpListener,
        workers: Vec<Arc<Worker>>,
        max_connections: usize,
        metrics: Arc<ConnectionMetrics>,
    ) -> io::Result<Self> {
        let permits = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        let socket = listener.try_clone()?;
        Ok(Self { listener: tokio::net::TcpListener::from_std(listener)?, socket, workers, permits, metrics })
    }

    /// Accepts connections forever. Dropping the future stops it at once.
    pub async fn accept(&self) -> ! {
        loop {
            // Without a permit, clients wait in the kernel's queue, which is bounded too.
            let Ok(permit) = self.permits.clone().acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.next().await {
                Ok(stream) => self.assign(stream, permit),
                Err(error) => self.handle_error(&error).await,
            }
        }
    }

    /// Accepts the connections in the kernel's queue without waiting. The host calls this before it closes the
    /// listener, because these clients are already connected from their point of view.
    pub fn accept_backlog(&self) {
        while let Ok(permit) = self.permits.clone().try_acquire_owned()
            && let Ok((stream, _)) = self.socket.accept()
        {
            self.assign(stream, permit);
        }
    }

    async fn next(&self) -> io::Result<std::net::TcpStream> {
        // Deregister the stream from this runtime, because another thread's runtime will serve it.
        let (stream, _) = self.listener.accept().await?;
        stream.into_std()
    }

    fn assign(&self, stream: std::net::TcpStream, permit: OwnedSemaphorePermit) {
        self.metrics.accepted.inc();
        let idlest = self.workers.iter().min_by_key(|worker| worker.connections.get());
        if let Some(worker) = idlest {
            worker.assign(Accepted { stream, permit });
        }
    }

    async fn handle_error(&self, error: &io::Error) {
        self.metrics.accept_errors.inc();
        // A client that left before it was accepted does not call for a pause.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        ) {
            return;
        }
        tracing::warn!(%error, "cannot accept a connection");
        sleep(PAUSE).await;
    }
}
