//! Name resolution for the registry's client: by the host's resolver, because a static program cannot rely on `getaddrinfo`
//! (docs/decisions/0011-a-static-host-with-its-own-resolver.md).

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{runtime, time};
use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};
use wasi_http_host_egress::{MAX_ADDRESSES, Resolve as _, SystemResolver};

/// The port of `https`, the only scheme that the client uses.
const PORT: u16 = 443;

/// Resolves names by `/etc/hosts` and `/etc/resolv.conf`.
#[derive(Debug)]
pub(crate) struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(PORT);
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let found = match address {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => {
                // One look-up is made for a connection, and all requests to a registry share one.
                let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
                let resolver = SystemResolver::default();
                let answer = async { time::timeout(*timeout.after, resolver.resolve(host, port)).await };
                runtime
                    .block_on(answer)
                    .map_err(|_| io::Error::other(format!("no address of {host} in time")))??
            }
        };
        let mut addresses = self.empty();
        found.into_iter().take(MAX_ADDRESSES).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}
