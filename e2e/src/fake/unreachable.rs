//! An address that does not answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// The connections that fill the queue of a listener with a backlog of 0. Linux takes one or two.
const MAX_QUEUED: usize = 16;

/// How long a connection on loopback takes at most. Only the last one takes that long: it is not answered.
const PATIENCE: Duration = Duration::from_millis(500);

/// A listener that accepts no connection and whose queue is full. The kernel drops each further SYN without an answer, so the address
/// looks like one of a node that is lost.
#[derive(Debug)]
pub struct Unreachable {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Unreachable {
    /// Listens on an IPv4 address and fills the queue.
    ///
    /// # Errors
    /// If the address cannot be bound, or the queue does not fill up.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(address)?;
        let listener = socket.listen(0)?;
        let mut own = listener.local_addr()?;
        if own.ip().is_unspecified() {
            own.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let mut queued = Vec::new();
        while queued.len() < MAX_QUEUED {
            match timeout(PATIENCE, TcpStream::connect(own)).await {
                Ok(connection) => queued.push(connection?),
                Err(_) => return Ok(Self { listener, _queued: queued }),
            }
        }
        Err(io::Error::other(format!("{own} still answers after {MAX_QUEUED} connections")))
    }

    /// The address.
    ///
    /// # Errors
    /// If the kernel does not tell it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_to_it_gets_no_answer() {
        let unreachable = Unreachable::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let address = unreachable.address().unwrap();
        for _ in 0..3 {
            let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
            assert!(connected.is_err(), "{connected:?}");
        }
    }
}
