//! Name resolution: the trait, and the resolver that reads the system's configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::read_system_conf;

use super::target::LOCALHOST;

/// Maximum number of addresses that the host tries for one name.
pub const MAX_ADDRESSES: usize = 16;

/// Maximum number of cached answers. An answer's own time to live applies, within the two bounds below.
const CACHED_ANSWERS: u64 = 256;
/// The cache keeps an answer no longer than this, whatever its time to live. A service that moves is found within
/// this time.
const LONGEST_KEPT: Duration = Duration::from_secs(60);
/// The cache keeps the answer that a name does not exist no longer than this. A new service is found soon.
const LONGEST_ABSENT: Duration = Duration::from_secs(2);
/// Timeout of one query. After a lost datagram there is time for another query before the connect timeout ends.
const LONGEST_ANSWER: Duration = Duration::from_secs(2);

/// The future of a look-up: the addresses of a name, or why there are none.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Looks up the addresses of names. Tests replace [`SystemResolver`] with their own.
pub trait Resolve: Send + Sync + 'static {
    /// Looks up the addresses of `host`, in order of preference. The caller limits the time.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// Resolves names by `/etc/hosts` and `/etc/resolv.conf` (search domains, `ndots`, timeouts). The first look-up
/// reads both files.
///
/// The host does not use `getaddrinfo`. A static program cannot rely on the libraries that `getaddrinfo` loads at
/// run time, and a scratch image does not have them. `getaddrinfo` also blocks a thread while a server does not
/// answer. See `docs/decisions/0011-a-static-host-with-its-own-resolver.md`.
#[derive(Default)]
pub struct SystemResolver {
    lookup: OnceLock<Lookup>,
}

/// The resolver, and the error of reading `/etc/resolv.conf` if the host has no name servers.
struct Lookup {
    resolver: TokioResolver,
    unconfigured: Option<String>,
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            if host.eq_ignore_ascii_case(LOCALHOST) {
                // No query and no file is needed (RFC 6761, 6.3).
                let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
                return Ok(loopback.map(|address| (address, port).into()).to_vec());
            }
            let lookup = match self.lookup.get() {
                Some(lookup) => lookup,
                None => {
                    let read = Lookup::read()?;
                    self.lookup.get_or_init(|| read)
                }
            };
            let addresses = lookup.addresses(host).await?;
            Ok(addresses.map(|address| (address, port).into()).take(MAX_ADDRESSES).collect())
        })
    }
}

impl Lookup {
    fn read() -> io::Result<Self> {
        let read = read_system_conf();
        let unconfigured = read.as_ref().err().map(|error| format!("/etc/resolv.conf: {error}"));
        // Without name servers, the resolver still reads `/etc/hosts`.
        let (config, options) = read
            .unwrap_or_else(|_| (ResolverConfig::from_parts(None, vec![], vec![]), ResolverOpts::default()));
        Self::new(&config, options, unconfigured)
    }

    fn new(
        config: &ResolverConfig,
        mut options: ResolverOpts,
        unconfigured: Option<String>,
    ) -> io::Result<Self> {
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.cache_size = CACHED_ANSWERS;
        options.positive_max_ttl = Some(LONGEST_KEPT);
        options.negative_max_ttl = Some(LONGEST_ABSENT);
        options.timeout = options.timeout.min(LONGEST_ANSWER);
        options.attempts = options.attempts.max(1);
        // The library would try the host name's own domain first. A search list replaces that domain, so the domain
        // is left out here.
        let (search, servers) = (config.search().to_vec(), config.name_servers().to_vec());
        let config = ResolverConfig::from_parts(None, search, servers);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(io::Error::other)?;
        Ok(Self { resolver, unconfigured })
    }

    async fn addresses(&self, host: &str) -> io::Result<impl Iterator<Item = IpAddr>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name = Name::from_ascii(host).map_err(invalid)?;
        let found = self.resolver.lookup_ip(name).await.map_err(|error| self.failure(host, error))?;
        Ok(found.iter().collect::<Vec<_>>().into_iter())
    }

    fn failure(&self, host: &str, error: NetError) -> io::Error {
        match &self.unconfigured {
            Some(reason) => io::Error::other(format!(
                "{host} is not in /etc/hosts, and no name server is configured: {reason}"
            )),
            None if error.is_no_records_found() || error.is_nx_domain() => {
                io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"))
            }
            None => io::Error::other(error),
        }
    }
}

impl std::fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
