//! The service's settings, read once an instance: typed, bounded, with errors that name the setting and not its value.

use std::fmt;
use std::time::Duration;

use crate::ports::Configuration;

/// Everything that can be set. The names are those of `wasi:config`; README.md has the table.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where GitHub's API is.
    pub github: Origin,
    /// What goes before `/users/…`: empty, or `/api/v3` for GitHub Enterprise. No slash at its end.
    pub github_path: String,
    /// Sent as `Authorization: Bearer …`.
    pub github_token: Option<Secret>,
    /// Sent as `X-GitHub-Api-Version`.
    pub github_api_version: String,
    /// How long an entry is fresh, before jitter; whole seconds.
    pub cache_ttl: Duration,
    /// How many entries the cache holds.
    pub cache_entries: u64,
    /// The store of the cache.
    pub cache_store: String,
    /// The store of the metrics.
    pub metrics_store: String,
    /// What `DELETE /cache` asks for.
    pub admin_token: Option<Secret>,
    /// Bounds one question to GitHub with its redirects, its second try and the body.
    pub upstream_timeout: Duration,
    /// How many questions GitHub is asked at once.
    pub upstream_concurrency: u32,
    /// The value of `Access-Control-Allow-Origin`.
    pub cors_allow_origin: Option<String>,
    /// The version that `/ready?verbose` and the `User-Agent` show.
    pub app_version: String,
    /// The cluster that `/ready?verbose` and the logs show.
    pub cluster_name: String,
    /// The pod that `/ready?verbose` and the logs show.
    pub pod_name: String,
}

/// Scheme, host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `https`, else `http`.
    pub https: bool,
    /// `host` or `host:port`, in lower case.
    pub authority: String,
}

/// A value that no log line shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same; the time it takes tells nothing but the length.
    #[must_use]
    pub fn matches(&self, other: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let difference = own.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
        own.len() == other.len() && std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// Its name.
    pub setting: &'static str,
    /// What it must be.
    pub expected: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting '{}' must be {}", self.setting, self.expected)
    }
}

impl std::error::Error for SettingsError {}

/// The longest value that is looked at, bytes.
const MAX_VALUE: usize = 4096;

impl Settings {
    /// Reads all settings; the first that cannot be used is the error.
    pub fn read(source: &impl Configuration) -> Result<Self, SettingsError> {
        let source = Source(source);
        let store = |name| source.parse(name, "default", "the name of a store", store_name);
        Ok(Self {
            github: source.parse(
                "github_api_url",
                "https://api.github.com",
                "an http or https URL of scheme, host and port, such as https://api.github.com",
                origin,
            )?,
            github_path: source.parse(
                "github_api_path",
                "",
                "empty or a path such as /api/v3",
                path_prefix,
            )?,
            github_token: source.secret("github_token")?,
            github_api_version: source.parse(
                "github_api_version",
                "2022-11-28",
                "a version such as 2022-11-28",
                header_value,
            )?,
            cache_ttl: Duration::from_secs(source.number("cache_ttl", 300, 1..=31_536_000)?),
            cache_entries: source.number("cache_entries", 10_000, 1..=100_000_000)?,
            cache_store: store("cache_store")?,
            metrics_store: store("metrics_store")?,
            admin_token: source.secret("admin_token")?,
            upstream_timeout: source.parse("upstream_timeout", "10", "seconds from 0.1 to 300", seconds)?,
            upstream_concurrency: u32::try_from(source.number("upstream_concurrency", 20, 1..=1000)?)
                .unwrap_or(u32::MAX),
            cors_allow_origin: source.cors()?,
            app_version: source.parse(
                "app_version",
                env!("CARGO_PKG_VERSION"),
                "visible characters",
                header_value,
            )?,
            cluster_name: source.parse("cluster_name", "", "visible characters", optional)?,
            pod_name: source.parse("pod_name", "", "visible characters", optional)?,
        })
    }

    /// The hash that ties validators and gates to a credential: 0 is the anonymous one's.
    #[must_use]
    pub fn credential(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let Some(token) = &self.github_token else { return 0 };
        let mut hasher = DefaultHasher::new();
        ("github credential", token.reveal()).hash(&mut hasher);
        hasher.finish().max(1)
    }
}

struct Source<'a, C>(&'a C);

impl<C: Configuration> Source<'_, C> {
    /// The value of `name`, `None` where nobody set it.
    fn raw(&self, name: &'static str) -> Result<Option<String>, SettingsError> {
        let refused = |expected: String| SettingsError { setting: name, expected };
        let value = self.0.setting(name).map_err(|reason| refused(format!("readable: {reason}")))?;
        match value {
            Some(value) if value.len() > MAX_VALUE => Err(refused(format!("at most {MAX_VALUE} bytes long"))),
            value => Ok(value),
        }
    }

    /// As [`Source::raw`], where an empty value is as good as none.
    fn value(&self, name: &'static str) -> Result<Option<String>, SettingsError> {
        Ok(self.raw(name)?.filter(|value| !value.is_empty()))
    }

    fn parse<T>(
        &self,
        name: &'static str,
        default: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, SettingsError> {
        let value = self.value(name)?;
        parse(value.as_deref().unwrap_or(default))
            .ok_or_else(|| SettingsError { setting: name, expected: expected.to_owned() })
    }

    fn number(
        &self,
        name: &'static str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, SettingsError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.parse(name, &default.to_string(), &expected, |value| {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            value.parse().ok().filter(|number| digits && range.contains(number))
        })
    }

    fn secret(&self, name: &'static str) -> Result<Option<Secret>, SettingsError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        match header_value(&value).filter(|value| !value.contains(' ')) {
            Some(value) => Ok(Some(Secret(value))),
            None => {
                Err(SettingsError { setting: name, expected: "one word of visible characters".to_owned() })
            }
        }
    }

    /// The one setting where empty differs from unset: it switches the header off.
    fn cors(&self) -> Result<Option<String>, SettingsError> {
        let name = "cors_allow_origin";
        match self.raw(name)?.as_deref() {
            None => Ok(Some("*".to_owned())),
            Some("") => Ok(None),
            Some(value) => match header_value(value) {
                Some(value) => Ok(Some(value)),
                None => Err(SettingsError { setting: name, expected: "'*', an origin, or empty".to_owned() }),
            },
        }
    }
}

/// Visible ASCII and inner spaces: nothing that could end a header line.
fn header_value(value: &str) -> Option<String> {
    let visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (visible && !value.is_empty() && value.trim() == value).then(|| value.to_owned())
}

fn optional(value: &str) -> Option<String> {
    if value.is_empty() { Some(String::new()) } else { header_value(value) }
}

fn store_name(value: &str) -> Option<String> {
    header_value(value).filter(|value| !value.contains(' '))
}

fn origin(value: &str) -> Option<Origin> {
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
            let plain = address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
            (if plain { address } else { "" }, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
            (if plain { host } else { "" }, port)
        }
    };
    let port_is_fine = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port != 0)
        }
    };
    (!host.is_empty() && port_is_fine).then_some(Origin { https, authority })
}

fn path_prefix(value: &str) -> Option<String> {
    let value = value.trim_end_matches('/');
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b));
    let fine = value.is_empty() || (value.starts_with('/') && !value.starts_with("//"));
    (plain && fine && !value.split('/').any(|segment| segment == "." || segment == ".."))
        .then(|| value.to_owned())
}

fn seconds(value: &str) -> Option<Duration> {
    if !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let seconds: f64 = value.parse().ok()?;
    (0.1..=300.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    struct Given(HashMap<&'static str, String>);

    impl Configuration for Given {
        fn setting(&self, name: &str) -> Result<Option<String>, String> {
            Ok(self.0.get(name).cloned())
        }
    }

    fn read(given: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(&Given(given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()))
    }

    fn refused(name: &'static str, value: &str) {
        let error = read(&[(name, value)]).expect_err(value);
        assert_eq!(error.setting, name, "{value:?}");
        let shown = error.to_string().contains(value);
        assert!(!shown || !name.ends_with("_token"), "{error} shows a secret");
    }

    #[test]
    fn nothing_set_is_the_default_and_so_is_empty() {
        for given in [&[][..], &[("cache_ttl", ""), ("github_api_url", ""), ("github_token", "")]] {
            let settings = read(given).unwrap();
            assert_eq!(settings.github, Origin { https: true, authority: "api.github.com".into() });
            assert_eq!(settings.cache_ttl, Duration::from_secs(300));
            assert_eq!(settings.upstream_timeout, Duration::from_secs(10));
            assert_eq!(settings.upstream_concurrency, 20);
            assert_eq!(settings.github_token, None);
            assert_eq!(settings.cors_allow_origin.as_deref(), Some("*"));
            assert_eq!((settings.cache_store.as_str(), settings.credential()), ("default", 0));
        }
    }

    #[test]
    fn an_empty_origin_switches_cors_off() {
        assert_eq!(read(&[("cors_allow_origin", "")]).unwrap().cors_allow_origin, None);
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        for (value, https, authority) in [
            ("http://127.0.0.1:8099", false, "127.0.0.1:8099"),
            ("HTTPS://GitHub.Example/", true, "github.example"),
            ("http://[::1]:80", false, "[::1]:80"),
        ] {
            let origin = read(&[("github_api_url", value)]).unwrap().github;
            assert_eq!(origin, Origin { https, authority: authority.into() });
        }
    }

    #[test]
    fn what_does_not_parse_is_refused_by_name() {
        for value in [
            "github.com",
            "ftp://x.example",
            "http://",
            "http://a b",
            "http://u@h.example",
            "http://h.example/p",
            "http://h.example?q",
            "http://h.example:0",
            "http://h.example:65536",
            "http://h.example:8x",
            "http://[::1",
            "http://h.example:",
            "http://h.example\r\nx: y",
        ] {
            refused("github_api_url", value);
        }
        for value in ["0", "-1", "5m", "1.5", "+5", "99999999999999999999999"] {
            refused("cache_ttl", value);
        }
        for value in ["api", "//x", "/a/../b", "/a b"] {
            refused("github_api_path", value);
        }
        for value in ["0", "1001", "many"] {
            refused("upstream_concurrency", value);
        }
        for value in ["0.01", "301", "1e2", "inf", "ten"] {
            refused("upstream_timeout", value);
        }
        for name in ["github_token", "admin_token"] {
            refused(name, "line\nbreak");
            refused(name, "two words");
        }
        refused("cors_allow_origin", "a\r\nb");
        refused("pod_name", &"x".repeat(MAX_VALUE + 1));
    }

    #[test]
    fn a_secret_is_compared_whole_and_never_shown() {
        let token = read(&[("admin_token", "s3cret")]).unwrap().admin_token.unwrap();
        assert!(token.matches(b"s3cret"));
        for other in ["", "s3cre", "s3crets", "S3cret"] {
            assert!(!token.matches(other.as_bytes()), "{other}");
        }
        assert!(!format!("{token:?}").contains("s3cret"));
    }

    #[test]
    fn each_token_has_its_own_credential() {
        let of = |token| read(&[("github_token", token)]).unwrap().credential();
        assert_ne!(of("a"), of("b"));
        assert_ne!(of("a"), 0);
        assert_eq!(of("a"), of("a"));
    }
}
