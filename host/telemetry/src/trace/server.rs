//! The server that a request is sent to.

use http::uri::Authority;
use wasi_http_host_core::bounded;

/// Maximum number of bytes of a server's name that a span keeps. A valid name is not longer (RFC 1035, 2.3.4).
pub const NAME_BYTES: usize = 255;

/// The server that a request is sent to, by the request's URL or `Host` header.
#[derive(Debug)]
pub struct Server {
    /// A name or an address, without brackets, of at most [`NAME_BYTES`].
    pub address: Box<str>,
    /// The port. `None`: the scheme's default port.
    pub port: Option<u16>,
}

impl Server {
    /// Returns the server of `authority`, without user information.
    #[must_use]
    pub fn of(authority: &Authority) -> Self {
        let address = authority.host().trim_matches(['[', ']']);
        Self { address: bounded(address, NAME_BYTES).into(), port: authority.port_u16() }
    }
}
