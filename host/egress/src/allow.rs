//! The allow-list: `allowed_outbound_hosts` in Spin's syntax.

use super::target::{Host, LOCALHOST, Scheme, Target, parse_port};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

/// The suffix of host names that mean components of the same application.
pub const COMPONENTS: &str = ".spin.internal";

/// The entries of `allowed_outbound_hosts`, in Spin's syntax: `scheme://host[:port]`.
///
/// - scheme: `http`, `https`, or `*` for both
/// - host: a name, `*.example.com` (any subdomain, not the domain itself), `*`, an IP address or a CIDR range. An
///   IPv6 address is in brackets, and a prefix length follows the brackets.
/// - port: a number, `8000..9000` (without the end) or `*`. Without a port, the entry means the scheme's default
///   port. An entry with `*://` needs a port.
///
/// `http://{id}.spin.internal` and `http://*.spin.internal` list components of the same application. This host does
/// not support other schemes (`redis://…`) and `self`. Such entries allow nothing, and [`AllowList::unsupported`]
/// returns them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<Entry>,
    /// The components' ids, or `*`.
    components: Vec<Box<str>>,
    unsupported: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    text: Box<str>,
    /// `None`: both schemes.
    scheme: Option<Scheme>,
    host: HostPattern,
    port: PortPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    Name(Box<str>),
    /// The domain, with a leading dot.
    Subdomain(Box<str>),
    Net(IpNet),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortPattern {
    Any,
    One(u16),
    Range(Range<u16>),
}

/// An error: a text is not a valid entry of an allow-list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("allowed_outbound_hosts or --allowed-outbound-host: {entry:?}: {reason}")]
pub struct InvalidEntry {
    /// The entry. Its templates are resolved, and its user information is removed.
    pub entry: String,
    /// What is wrong with the entry.
    pub reason: &'static str,
}

impl AllowList {
    /// Parses entries whose templates are resolved. A list without entries allows no request.
    ///
    /// # Errors
    /// When an entry is not valid. The error names the first such entry.
    pub fn parse<E: AsRef<str>>(entries: &[E]) -> Result<Self, InvalidEntry> {
        let mut list = Self::default();
        for entry in entries.iter().map(AsRef::as_ref) {
            let invalid = |reason| InvalidEntry { entry: without_password(entry), reason };
            if let Some(component) = component(entry) {
                list.components.push(component.into());
                continue;
            }
            match Entry::parse(entry).map_err(invalid)? {
                Some(entry) => list.entries.push(entry),
                None => list.unsupported.push(without_password(entry)),
            }
        }
        Ok(list)
    }

    /// Returns the entries that are valid in Spin and allow nothing on this host.
    #[must_use]
    pub fn unsupported(&self) -> &[String] {
        &self.unsupported
    }

    /// Whether an entry lists a component of the same application.
    pub(super) fn has_components(&self) -> bool {
        !self.components.is_empty()
    }

    /// Whether an entry lists the component `id` of the same application. Only `*.spin.internal` is a wildcard for
    /// components.
    pub(super) fn lists_component(&self, id: &str) -> bool {
        self.components.iter().any(|listed| **listed == *"*" || listed.eq_ignore_ascii_case(id))
    }

    /// Returns the texts of the entries for URLs, in the order of their indexes.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry.text)
    }

    /// Returns the index of the first entry that allows `target`.
    pub(super) fn find(&self, target: &Target) -> Option<usize> {
        self.entries.iter().position(|entry| entry.allows(target))
    }

    /// Whether an entry lists `address` itself, as an IP address or a CIDR range, for the target's scheme and port.
    /// An entry for `localhost` lists the loopback addresses, because no DNS record can change what `localhost`
    /// means (RFC 6761, 6.3). See `docs/decisions/0010-localhost-opens-loopback.md`.
    pub(super) fn lists_address(&self, target: &Target, address: IpAddr) -> bool {
        let localhost = target.host.is_localhost() && address.to_canonical().is_loopback();
        self.entries.iter().filter(|entry| entry.allows_scheme_and_port(target)).any(|entry| {
            match &entry.host {
                HostPattern::Net(net) => contains(net, address),
                HostPattern::Name(name) => localhost && **name == *LOCALHOST,
                HostPattern::Any | HostPattern::Subdomain(_) => false,
            }
        })
    }
}

/// A pattern of servers with TLS, in the syntax of an entry of [`AllowList`].
#[derive(Debug, Clone)]
pub struct TlsPattern(Entry);

/// How closely a pattern describes its servers: first by the host, then by the port. The greater one is closer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Specificity {
    /// 2: a name, an address or a range of addresses. 1: subdomains. 0: any host.
    host: u8,
    /// Of two patterns for the same host, the closer one has the longer domain, or the smaller range.
    within: i32,
    /// The number of ports, negative.
    ports: i32,
}

impl TlsPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// When the pattern is not valid, or describes servers without TLS.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match Entry::parse(text)? {
            Some(entry) if entry.scheme != Some(Scheme::Http) => Ok(Self(entry)),
            _ => Err("want https://host[:port]: only https has certificates"),
        }
    }

    /// Whether the pattern describes `target`.
    #[must_use]
    pub fn matches(&self, target: &Target) -> bool {
        target.scheme == Scheme::Https && self.0.allows(target)
    }

    /// Whether both patterns describe the same servers.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.0.host, &self.0.port) == (&other.0.host, &other.0.port)
    }

    pub(super) fn specificity(&self) -> Specificity {
        let length = |text: &str| i32::try_from(text.len()).unwrap_or(i32::MAX);
        let (host, within) = match &self.0.host {
            HostPattern::Any => (0, 0),
            HostPattern::Subdomain(domain) => (1, length(domain)),
            HostPattern::Name(_) => (2, 0),
            HostPattern::Net(net) => (2, i32::from(net.prefix_len()) - i32::from(net.max_prefix_len())),
        };
        let ports = match &self.0.port {
            PortPattern::Any => 1 << 16,
            PortPattern::One(_) => 1,
            PortPattern::Range(range) => i32::from(range.end - range.start),
        };
        Specificity { host, within, ports: -ports }
    }
}

impl fmt::Display for TlsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

/// Returns the component's id, or `*`, of an entry `http://{id}.spin.internal`.
fn component(entry: &str) -> Option<&str> {
    let (scheme, host) = entry.trim().split_once("://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let id = host.strip_suffix(COMPONENTS)?;
    (matches!(scheme, "http" | "*") && !id.is_empty() && (id == "*" || !id.contains(['*', '.', ':'])))
        .then_some(id)
}

/// Returns `entry` with its user information replaced by `…`, because the user information may hold a password.
pub fn without_password(entry: &str) -> String {
    let (scheme, rest) = entry.split_once("://").unwrap_or(("", entry));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => entry.to_owned(),
    }
}

/// Whether `net` contains `address`. An IPv4-mapped IPv6 address also counts as its IPv4 address.
pub(super) fn contains(net: &IpNet, address: IpAddr) -> bool {
    net.contains(&address) || net.contains(&address.to_canonical())
}

impl Entry {
    fn allows(&self, target: &Target) -> bool {
        let host = match (&self.host, &target.host) {
            (HostPattern::Any, _) => true,
            (HostPattern::Name(name), Host::Name(host)) => name == host,
            (HostPattern::Subdomain(domain), Host::Name(host)) => {
                host.len() > domain.len() && host.ends_with(&**domain)
            }
            (HostPattern::Net(net), Host::Ip(address)) => contains(net, *address),
            _ => false,
        };
        host && self.allows_scheme_and_port(target)
    }

    fn allows_scheme_and_port(&self, target: &Target) -> bool {
        let port = match &self.port {
            PortPattern::Any => true,
            PortPattern::One(port) => *port == target.port,
            PortPattern::Range(range) => range.contains(&target.port),
        };
        port && self.scheme.is_none_or(|scheme| scheme == target.scheme)
    }

    /// Returns `None` for an entry that is valid in Spin and not supported by this host.
    fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let (scheme, rest) = text.trim().split_once("://").ok_or("want scheme://host[:port]")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            "*" => None,
            other if !other.is_empty() && other.bytes().all(|b| b.is_ascii_alphabetic()) => return Ok(None),
            _ => return Err("the scheme is not valid"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(rest)?;
        if host == "self" || host == "self.alt" || host.ends_with(COMPONENTS) {
            return Ok(None);
        }
        let host = HostPattern::parse(host)?;
        let port = match (port, scheme) {
            (Some(port), _) => PortPattern::parse(port)?,
            (None, Some(scheme)) => PortPattern::One(scheme.default_port()),
            (None, None) => return Err("`*://` has no default port: add a port, or `:*`"),
        };
        Ok(Some(Self { text: text.trim().into(), scheme, host, port }))
    }
}

/// Splits off the port after the last colon. A colon within the brackets of an IPv6 address does not count.
fn split_port(rest: &str) -> Result<(&str, Option<&str>), &'static str> {
    let after_brackets = rest.rfind(']').map_or(0, |end| end + 1);
    match rest.rfind(':').filter(|colon| *colon >= after_brackets) {
        Some(colon) => {
            let (host, port) = rest.split_at_checked(colon).ok_or("the port is not valid")?;
            Ok((host, port.strip_prefix(':')))
        }
        None => Ok((rest, None)),
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(domain) = text.strip_prefix("*.") {
            return match Host::parse(domain) {
                Some(Host::Name(domain)) if !domain.contains('*') => {
                    Ok(Self::Subdomain(format!(".{domain}").into()))
                }
                _ => Err("`*.` must be followed by a domain"),
            };
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
            let net: IpNet = format!("{address}/{bits}").parse().map_err(|_| "a path is not allowed")?;
            return Ok(Self::Net(net.trunc()));
        }
        match Host::parse(text) {
            Some(Host::Ip(address)) => Ok(Self::Net(address.to_canonical().into())),
            Some(Host::Name(name)) if !name.contains('*') => Ok(Self::Name(name)),
            Some(Host::Name(_)) => Err("`*` may only replace the whole host or its first labels"),
            None => Err("the host is not valid"),
        }
    }
}

impl PortPattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.split_once("..") {
            Some((start, end)) => match (parse_port(start), parse_port(end)) {
                (Some(start), Some(end)) if start < end => Ok(Self::Range(start..end)),
                _ => Err("the port range is not valid"),
            },
            None => parse_port(text).map(Self::One).ok_or("the port is not valid"),
        }
    }
}

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}
