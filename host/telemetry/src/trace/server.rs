//! Whom a request is for.

use http::uri::Authority;
use wasi_http_host_core::bounded;

/// Bytes of a server's name that are kept. Real ones have no more (RFC 1035, 2.3.4).
pub const NAME_BYTES: usize = 255;

/// Whom a request is for, as the request says.
#[derive(Debug)]
pub struct Server {
    /// A name or an address, without brackets; [`NAME_BYTES`] at most.
    pub address: Box<str>,
    /// None where the scheme's own is meant.
    pub port: Option<u16>,
}

impl Server {
    /// Without user information.
    #[must_use]
    pub fn of(authority: &Authority) -> Self {
        let address = authority.host().trim_matches(['[', ']']);
        Self { address: bounded(address, NAME_BYTES).into(), port: authority.port_u16() }
    }
}
