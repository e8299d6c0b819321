//! The types of settings' values, and the functions that parse them. Each parser returns `None` if the value is
//! invalid.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use subtle::ConstantTimeEq as _;

/// Scheme, host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whether the scheme is `https`; else it is `http`.
    pub https: bool,
    /// `host` or `host:port`, in lower case.
    pub authority: String,
}

/// A value that must not appear in logs: its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret `value`; `None` if it is not one word of visible characters, which can be sent in a header.
    #[must_use]
    pub fn new(value: &str) -> Option<Self> {
        word(value).map(Self)
    }

    /// The value in clear text, to send it. It must not be logged.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same value. The comparison takes the same time for all values of the same length.
    #[must_use]
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Visible ASCII with spaces between: a value that cannot end a header line.
pub(super) fn header_value(value: &str) -> Option<String> {
    let visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (visible && !value.is_empty() && value.trim() == value).then(|| value.to_owned())
}

/// As [`header_value`], or empty.
pub(super) fn optional(value: &str) -> Option<String> {
    if value.is_empty() { Some(String::new()) } else { header_value(value) }
}

/// As [`header_value`], without spaces.
pub(super) fn word(value: &str) -> Option<String> {
    header_value(value).filter(|value| !value.contains(' '))
}

/// As [`word`], kept secret.
pub(super) fn secret(value: &str) -> Option<Secret> {
    Secret::new(value)
}

/// An `http` or `https` URL that has nothing but scheme, host and port.
pub(super) fn origin(value: &str) -> Option<Origin> {
    let (scheme, rest) = value.split_once("://")?;
    let https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase();
    let (host, port) = match authority.strip_prefix('[') {
        Some(ipv6) => {
            let (address, port) = ipv6.split_once(']')?;
            let is_plain = address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
            (if is_plain { address } else { "" }, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
            (if is_plain { host } else { "" }, port)
        }
    };
    let is_port_valid = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port != 0)
        }
    };
    (!host.is_empty() && is_port_valid).then_some(Origin { https, authority })
}

/// A path of unreserved characters without dot segments (RFC 3986, 3.3), or nothing. Slashes at its end are removed.
pub(super) fn path_prefix(value: &str) -> Option<String> {
    let value = value.trim_end_matches('/');
    let is_plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b));
    let is_absolute = value.is_empty() || (value.starts_with('/') && !value.starts_with("//"));
    (is_plain && is_absolute && !value.split('/').any(|segment| segment == "." || segment == ".."))
        .then(|| value.to_owned())
}

/// Seconds with decimals, 0.1 to 300.
pub(super) fn seconds(value: &str) -> Option<Duration> {
    // The standard library's parser of floating-point numbers would be a fortieth of the component.
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = nanos.fold(0, |sum: u32, digit| sum * 10 + u32::from(digit - b'0'));
    let seconds = Duration::new(whole, nanos);
    (Duration::from_millis(100)..=Duration::from_secs(300)).contains(&seconds).then_some(seconds)
}

/// A whole number of ASCII digits within `range`.
pub(super) fn number(value: &str, range: &RangeInclusive<u64>) -> Option<u64> {
    let is_digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|number| is_digits && range.contains(number))
}
