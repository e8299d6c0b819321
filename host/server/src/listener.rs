//! Accepting connections, and sharing them out among the threads.
//!
//! One task accepts for all threads and gives each connection to the thread that has the fewest: with a listener
//! a thread (`SO_REUSEPORT`) the kernel would share out by hash, which leaves cores idle when connections are few,
//! as they are behind a gateway, and resets what waits at a listener that is closed.

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

/// Connections that the kernel may hold ready; it has a limit of its own (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// After an error that the next connection would meet again, as when no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(50);

/// Binds `address`, ready to accept.
///
/// # Errors
/// When the address is taken or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' last packets.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The main listener with its threads.
pub struct Listener {
    listener: tokio::net::TcpListener,
    /// The same socket, to be asked without the runtime.
    socket: TcpListener,
    workers: Vec<Arc<Worker>>,
    places: Arc<Semaphore>,
    metrics: Arc<ConnectionMetrics>,
}

impl Listener {
    /// To be called within a runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch the listener.
    pub fn new(
        listener: TcpListener,
        workers: Vec<Arc<Worker>>,
        max_connections: usize,
        metrics: Arc<ConnectionMetrics>,
    ) -> io::Result<Self> {
        let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        let socket = listener.try_clone()?;
        Ok(Self { listener: tokio::net::TcpListener::from_std(listener)?, socket, workers, places, metrics })
    }

    /// Accepts for ever; stops at once when dropped.
    pub async fn accept(&self) -> ! {
        loop {
            // Without a place, clients wait in the kernel's queue, which is bounded too.
            let Ok(place) = self.places.clone().acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.next().await {
                Ok(stream) => self.hand_over(stream, place),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// Takes over what the kernel has ready, without waiting, before the listener is closed: those clients believe
    /// that they are connected.
    pub fn sweep(&self) {
        while let Ok(place) = self.places.clone().try_acquire_owned()
            && let Ok((stream, _)) = self.socket.accept()
        {
            self.hand_over(stream, place);
        }
    }

    async fn next(&self) -> io::Result<std::net::TcpStream> {
        // Back out of this thread's runtime: the connection is to live in another's.
        let (stream, _) = self.listener.accept().await?;
        stream.into_std()
    }

    fn hand_over(&self, stream: std::net::TcpStream, place: OwnedSemaphorePermit) {
        self.metrics.accepted.inc();
        let idlest = self.workers.iter().min_by_key(|worker| worker.connections.get());
        if let Some(worker) = idlest {
            worker.give(Accepted { stream, place });
        }
    }

    async fn failed(&self, error: &io::Error) {
        self.metrics.accept_errors.inc();
        // A client that left before it was accepted is no reason to wait.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        ) {
            return;
        }
        tracing::warn!(%error, "a connection could not be accepted");
        sleep(PAUSE).await;
    }
}
