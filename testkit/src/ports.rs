//! Addresses on loopback. A server of a test binds port 0 and reports its address. Two cases need more than that: an address that must
//! refuse connections, and an address that a server leaves and takes again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::{TcpListener, TcpSocket};

/// Loopback with a port that the system chooses.
pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The ports that [`reserve`] takes: below the range from which Linux serves port 0 (32768 and up by default), so that no
/// listener on port 0 and no client's connection takes one meanwhile.
const RESERVED: std::ops::Range<u16> = 20_000..32_000;

/// A listener on loopback and its address.
pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(ANY).await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, address)
}

/// An address that refuses connections for as long as this value lives: the socket is bound and never listens.
#[derive(Debug)]
pub struct Refusing {
    _socket: TcpSocket,
    address: SocketAddr,
}

impl Refusing {
    /// Binds one.
    #[must_use]
    pub fn bind() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(ANY).expect("loopback has a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { _socket: socket, address }
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An address for a server that stops and starts again at the same address. Nothing holds the address: the range keeps listeners on
/// port 0 away, and the process's id and a counter spread the test processes of one machine over the range.
#[must_use]
pub fn reserve() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let size = RESERVED.end - RESERVED.start;
    #[expect(clippy::cast_possible_truncation, reason = "a remainder below the size of the range")]
    let first = (std::process::id().wrapping_mul(97) % u32::from(size)) as u16;
    for _ in 0..size {
        let port = RESERVED.start + (first + NEXT.fetch_add(1, Ordering::Relaxed) % size) % size;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if StdListener::bind(address).is_ok() {
            return address;
        }
    }
    unreachable_range()
}

#[expect(clippy::panic, reason = "a test without an address cannot go on")]
fn unreachable_range() -> ! {
    panic!("no port of {RESERVED:?} is free")
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_refusing_address_refuses_and_a_listening_one_accepts() {
        let refusing = Refusing::bind();
        assert!(TcpStream::connect(refusing.address()).is_err());
        let (_listener, address) = listen().await;
        assert!(TcpStream::connect(address).is_ok());
    }

    #[test]
    fn reserved_addresses_differ_and_can_be_bound() {
        let (first, second) = (reserve(), reserve());
        assert_ne!(first, second);
        assert!(StdListener::bind(first).is_ok() && StdListener::bind(second).is_ok());
    }
}
