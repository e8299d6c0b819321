//! Where a Redis is.

use std::fmt;
use std::str::FromStr;

/// The port of a URL that names none.
const DEFAULT_PORT: u16 = 6379;

/// `redis://[USER@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// The connection is encrypted.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Redis's user; `None` for its default user.
    pub user: Option<String>,
    /// The number of the database.
    pub database: i64,
}

/// A text is not the address of a Redis. The message contains no more of the text than the scheme: the rest may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It is no URL, or has no host.
    #[error("expected redis://HOST[:PORT][/DATABASE] or rediss://…")]
    Url,
    /// It has another scheme, which is this.
    #[error("the scheme {0:?} is not supported: use redis:// or rediss://")]
    Scheme(String),
    /// It contains a password (`user:password@`).
    #[error(
        "the URL must not contain a password: set WASI_HTTP_HOST_REDIS_PASSWORD, or --redis-password-file"
    )]
    Password,
    /// Its path is no number.
    #[error("the database must be a number: redis://HOST:PORT/0")]
    Database,
    /// It has a query or a fragment.
    #[error("nothing may follow the database")]
    Trailing,
}

impl FromStr for RedisAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let url = url::Url::parse(text).map_err(|_| InvalidAddress::Url)?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            other => return Err(InvalidAddress::Scheme(other.to_owned())),
        };
        if url.password().is_some() {
            return Err(InvalidAddress::Password);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidAddress::Trailing);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidAddress::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse().ok().filter(|n| *n >= 0).ok_or(InvalidAddress::Database)?,
        };
        let user = Some(url.username()).filter(|user| !user.is_empty()).map(str::to_owned);
        Ok(Self { tls, host: host.to_owned(), port: url.port().unwrap_or(DEFAULT_PORT), user, database })
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        let brackets = if host.contains(':') { ("[", "]") } else { ("", "") };
        let scheme = if self.tls { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}{host}{}:{}/{}", brackets.0, brackets.1, self.port, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        for (text, canonical, user) in [
            ("redis://cache", "redis://cache:6379/0", None),
            ("redis://cache:6380/3", "redis://cache:6380/3", None),
            ("redis://gists@cache.dev.svc:1/", "redis://cache.dev.svc:1/0", Some("gists")),
            ("redis://[::1]:7", "redis://[::1]:7/0", None),
            ("rediss://gists@cache", "rediss://cache:6379/0", Some("gists")),
        ] {
            let address: RedisAddress = text.parse().unwrap();
            assert_eq!((&*address.to_string(), address.user.as_deref()), (canonical, user), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_a_password() {
        for (text, error) in [
            ("cache:6379", InvalidAddress::Scheme("cache".to_owned())),
            ("unix:///run/redis", InvalidAddress::Scheme("unix".to_owned())),
            ("rediss://:hush@cache", InvalidAddress::Password),
            ("redis://", InvalidAddress::Url),
            ("/cache", InvalidAddress::Url),
            ("redis://:hush@cache", InvalidAddress::Password),
            ("redis://me:hush@cache", InvalidAddress::Password),
            ("redis://cache/one", InvalidAddress::Database),
            ("redis://cache/-1", InvalidAddress::Database),
            ("redis://cache/0?protocol=resp3", InvalidAddress::Trailing),
        ] {
            let found = text.parse::<RedisAddress>().unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains("hush"));
        }
    }
}
