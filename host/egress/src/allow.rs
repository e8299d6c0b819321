use super::target::{Host, LOCALHOST, Scheme, Target, parse_port};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

/// What the names of an application's components end in.
pub const COMPONENTS: &str = ".spin.internal";

/// `allowed_outbound_hosts`, in Spin's syntax: `scheme://host[:port]`.
///
/// - scheme: `http`, `https`, or `*` for both
/// - host: a name, `*.example.com` (any subdomain, not the domain itself), `*`, an IP address or a CIDR range
///   (IPv6 in brackets, the prefix length after them)
/// - port: a number, `8000..9000` (the end excluded) or `*`; without one the scheme's own, which `*://` lacks
///
/// `http://{id}.spin.internal` and `http://*.spin.internal` list components of the same application. Entries that this
/// host has no use for are kept by name in [`AllowList::unsupported`] and allow nothing: other schemes (`redis://…`)
/// and `self`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<Entry>,
    /// Names of components, or `*`.
    components: Vec<Box<str>>,
    unsupported: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    text: Box<str>,
    /// `None`: both.
    scheme: Option<Scheme>,
    host: HostPattern,
    port: PortPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    Name(Box<str>),
    /// With the leading dot.
    Subdomain(Box<str>),
    Net(IpNet),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortPattern {
    Any,
    One(u16),
    Range(Range<u16>),
}

/// Not an entry of an allow-list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("allowed_outbound_hosts: {entry:?}: {reason}")]
pub struct InvalidEntry {
    /// The entry, templates resolved.
    pub entry: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl AllowList {
    /// Reads entries whose templates have been resolved. No entry, no outbound request.
    ///
    /// # Errors
    /// At the first entry that is none.
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

    /// Entries that Spin knows and that allow nothing here.
    #[must_use]
    pub fn unsupported(&self) -> &[String] {
        &self.unsupported
    }

    /// Whether requests may go to components of the same application.
    pub(super) fn has_components(&self) -> bool {
        !self.components.is_empty()
    }

    /// Whether requests may go to the component `id` of the same application: no other wildcard means components.
    pub(super) fn lists_component(&self, id: &str) -> bool {
        self.components.iter().any(|listed| **listed == *"*" || listed.eq_ignore_ascii_case(id))
    }

    /// The texts of the entries that can match, by index.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry.text)
    }

    /// The first entry that allows `target`.
    pub(super) fn find(&self, target: &Target) -> Option<usize> {
        self.entries.iter().position(|entry| entry.allows(target))
    }

    /// Whether an entry names `address` itself, as an IP address or a CIDR range, for the target's scheme and port.
    /// An entry for `localhost` names the loopback addresses: no owner of a name can make it mean others (RFC 6761, 6.3).
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

/// The component, or `*`, that an entry `http://{id}.spin.internal` names.
fn component(entry: &str) -> Option<&str> {
    let (scheme, host) = entry.trim().split_once("://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let id = host.strip_suffix(COMPONENTS)?;
    (matches!(scheme, "http" | "*") && !id.is_empty() && (id == "*" || !id.contains(['*', '.', ':'])))
        .then_some(id)
}

/// `entry` without what may be somebody's password.
pub fn without_password(entry: &str) -> String {
    let (scheme, rest) = entry.split_once("://").unwrap_or(("", entry));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => entry.to_owned(),
    }
}

/// Whether `net` has `address` in it, seen as IPv4 where it is that in an IPv6 dress.
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

    /// `None`: valid in Spin, of no use here.
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
            (None, None) => return Err("`*://` has no port of its own: name one, or `*`"),
        };
        Ok(Some(Self { text: text.trim().into(), scheme, host, port }))
    }
}

/// The last colon begins the port, unless it stands in an IPv6 address's brackets.
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
            Some(Host::Name(_)) => Err("`*` may only stand for the whole host or its first labels"),
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
