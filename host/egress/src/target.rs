//! The target of a request: scheme, host and port of a URL in canonical form.

use std::fmt;
use std::net::IpAddr;

/// The scheme of an outbound request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP without TLS.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// Returns the scheme as it is written in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the port of a URL that has none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host in canonical form. Each host has one form only, so a URL cannot be allowed in one spelling and reach
/// another host in another spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name: lower case, punycode, without a trailing dot.
    Name(Box<str>),
    /// An IP address.
    Ip(IpAddr),
}

/// The name that always means this machine (RFC 6761, 6.3).
pub(super) const LOCALHOST: &str = "localhost";

/// Maximum length of a host name in bytes (RFC 1035, 2.3.4).
const MAX_NAME_BYTES: usize = 253;

impl Host {
    pub(super) fn is_localhost(&self) -> bool {
        matches!(self, Self::Name(name) if **name == *LOCALHOST)
    }

    /// Parses a host as the WHATWG URL standard does (<https://url.spec.whatwg.org/#host-parsing>). `0x7f.1`,
    /// `2130706433` and `127.0.0.1` are thus the same address. An IPv6 address must be in brackets.
    /// Percent-encoding is refused, although the standard would decode it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.contains('%') {
            return None;
        }
        match url::Host::parse(text).ok()? {
            url::Host::Ipv4(v4) => Some(Self::Ip(v4.into())),
            url::Host::Ipv6(v6) => Some(Self::Ip(v6.into())),
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                let labels = name.split('.').all(|label| !label.is_empty() && label.len() <= 63);
                (labels && name.len() <= MAX_NAME_BYTES).then(|| Self::Name(name.into()))
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

/// Parses a port from 1 to 65535. Only digits are allowed; `u16::from_str` would also accept a sign.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// The target of a request: scheme, host and port in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port. A URL without a port has the scheme's default port.
    pub port: u16,
}

/// An error: the URL has no target, or its target is ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// The URL has no host.
    #[error("the host is missing")]
    NoHost,
    /// The URL has `user:password@` before the host.
    #[error("user information in a URL is not allowed")]
    UserInfo,
    /// The host is not a name, an IPv4 address or a bracketed IPv6 address.
    #[error("the host is not valid")]
    Host,
    /// The port is not between 1 and 65535.
    #[error("the port is not valid")]
    Port,
}

impl Target {
    /// Returns the target of a URL in absolute form.
    ///
    /// # Errors
    /// When the URL is not valid or its target is ambiguous.
    pub fn of(uri: &http::Uri) -> Result<Self, InvalidTarget> {
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(InvalidTarget::Scheme),
        };
        let authority = uri.authority().ok_or(InvalidTarget::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(InvalidTarget::UserInfo);
        }
        let host = Host::parse(authority.host()).ok_or(InvalidTarget::Host)?;
        // `Authority::port` returns `None` for a port that is out of range.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("" | ":") => scheme.default_port(),
            Some(port) => port.strip_prefix(':').and_then(parse_port).ok_or(InvalidTarget::Port)?,
            None => return Err(InvalidTarget::Host),
        };
        Ok(Self { scheme, host, port })
    }

    /// Returns the host and the port. An IPv6 address is in brackets. The scheme's default port is left out.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(uri: &str) -> Result<String, InvalidTarget> {
        Target::of(&uri.parse().unwrap()).map(|target| target.to_string())
    }

    #[test]
    fn one_host_has_one_form() {
        for (written, canonical) in [
            ("https://API.GitHub.com/users?x=1", "https://api.github.com"),
            ("https://api.github.com./", "https://api.github.com"),
            ("https://api.github.com:443/", "https://api.github.com"),
            ("https://api.github.com:/", "https://api.github.com"),
            ("http://api.github.com:443/", "http://api.github.com:443"),
            ("http://127.0.0.1:8099/", "http://127.0.0.1:8099"),
            ("http://2130706433/", "http://127.0.0.1"),
            ("http://0x7f000001/", "http://127.0.0.1"),
            ("http://0177.0.0.1/", "http://127.0.0.1"),
            ("http://0x7f.1/", "http://127.0.0.1"),
            ("http://127.1./", "http://127.0.0.1"),
            ("http://[::1]:81/", "http://[::1]:81"),
            ("http://[0:0::1]/", "http://[::1]"),
            ("http://[::ffff:127.0.0.1]/", "http://[::ffff:127.0.0.1]"),
            ("http://[2606:50C0::1]/", "http://[2606:50c0::1]"),
        ] {
            assert_eq!(target(written).as_deref(), Ok(canonical), "{written}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (written, error) in [
            ("https://api.github.com@evil.example/", InvalidTarget::UserInfo),
            ("https://user:secret@api.github.com/", InvalidTarget::UserInfo),
            ("https://api..github.com/", InvalidTarget::Host),
            ("http://127.0.0.1../", InvalidTarget::Host),
            ("http://256.256.256.256/", InvalidTarget::Host),
            ("http://1.2.3.4.5/", InvalidTarget::Host),
            ("https://api.github.com:99999/", InvalidTarget::Port),
            ("https://api.github.com:0/", InvalidTarget::Port),
            ("https://api.github.com:+443/", InvalidTarget::Port),
            ("http://010.1:+099/", InvalidTarget::Port),
            ("ftp://api.github.com/", InvalidTarget::Scheme),
            ("/users", InvalidTarget::Scheme),
        ] {
            assert_eq!(target(written), Err(error), "{written}");
        }
    }

    #[test]
    fn names_beyond_ascii_become_punycode() {
        assert_eq!(Host::parse("bücher.example"), Some(Host::Name("xn--bcher-kva.example".into())));
        assert_eq!(Host::parse("ＡＰＩ.github.com"), Some(Host::Name("api.github.com".into())));
        assert_eq!(Host::parse("１２７.0.0.1"), Some(Host::Ip([127, 0, 0, 1].into())));
        assert_eq!(Host::parse("api%2egithub.com"), None);
        assert_eq!(Host::parse("fe80::1"), None, "without brackets");
        assert_eq!(Host::parse("[fe80::1%25eth0]"), None);
    }

    proptest! {
        #[test]
        fn canonical_form_is_stable(uri in "https?://[a-zA-Z0-9.\\[\\]:@-]{1,40}/?") {
            if let Ok(uri) = uri.parse()
                && let Ok(target) = Target::of(&uri)
            {
                let again = Target::of(&format!("{target}/").parse().unwrap());
                prop_assert_eq!(again, Ok(target));
            }
        }
    }
}
