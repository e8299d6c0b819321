//! Proxies: which outbound requests go through a proxy.

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::fmt;

/// The proxies of outbound requests, by curl's conventions: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`.
///
/// With a proxy, the proxy resolves names, so the host cannot check the addresses that names resolve to. The host
/// still checks the allow-list and IP addresses in URLs. The host does not check the proxy's own address, because
/// the operator has configured it.
pub struct Proxies(Option<Matcher>);

/// An error: a setting is not a proxy that the host can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: expected http://[user:password@]host[:port]")]
pub struct InvalidProxy {
    /// The name of the environment variable or flag. The value is not shown, because it may hold a password.
    pub setting: &'static str,
}

impl Proxies {
    /// No proxies: every request goes directly to its target.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Creates the proxies for `https://` and `http://` targets. Each proxy is an `http://` URL or empty.
    /// `no_proxy` is a comma-separated list of domains, IP addresses and CIDR ranges that are reached without a
    /// proxy.
    ///
    /// # Errors
    /// When a proxy is not an `http://` URL.
    pub fn new(https: &str, http: &str, no_proxy: &str) -> Result<Self, InvalidProxy> {
        if https.is_empty() && http.is_empty() {
            return Ok(Self::none());
        }
        let matcher = |https: &str, http: &str, no: &str| {
            Matcher::builder().https(https.to_owned()).http(http.to_owned()).no(no.to_owned()).build()
        };
        let usable = |target: &'static str| {
            // Without exceptions, because the question is only whether the proxy's URL is understood.
            let intercept = matcher(https, http, "").intercept(&http::Uri::from_static(target));
            intercept.is_some_and(|proxy| proxy.uri().scheme_str() == Some("http"))
        };
        if !https.is_empty() && !usable("https://example.com/") {
            return Err(InvalidProxy { setting: "HTTPS_PROXY" });
        }
        if !http.is_empty() && !usable("http://example.com/") {
            return Err(InvalidProxy { setting: "HTTP_PROXY" });
        }
        Ok(Self(Some(matcher(https, http, no_proxy))))
    }

    /// Returns the proxy for `uri`. `None`: the request goes directly to its target.
    #[must_use]
    pub fn of(&self, uri: &http::Uri) -> Option<Intercept> {
        self.0.as_ref()?.intercept(uri)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(proxies: &Proxies, uri: &'static str) -> Option<String> {
        proxies.of(&http::Uri::from_static(uri)).map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_some_hosts_none() {
        let proxies = Proxies::new("http://p:1", "q:2", "internal.example,10.0.0.0/8").unwrap();
        assert_eq!(of(&proxies, "https://api.github.com/").as_deref(), Some("http://p:1/"));
        assert_eq!(of(&proxies, "http://api.github.com/").as_deref(), Some("http://q:2/"));
        assert_eq!(of(&proxies, "http://a.internal.example/"), None);
        assert_eq!(of(&proxies, "http://10.1.1.1/"), None);
        assert_eq!(of(&Proxies::none(), "http://api.github.com/"), None);
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_value() {
        for proxy in ["socks5://u:s3cret@p:1", "https://p:1", "http://", "not a url"] {
            let error = Proxies::new(proxy, "", "").unwrap_err().to_string();
            assert!(error.starts_with("HTTPS_PROXY") && !error.contains("s3cret"), "{error}");
        }
        assert_eq!(Proxies::new("", "ftp://p", "").unwrap_err().setting, "HTTP_PROXY");
    }
}
