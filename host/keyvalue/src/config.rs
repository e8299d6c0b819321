//! The flags of key-value stores.

use std::{convert::Infallible, fmt, num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::Args;
use wasi_http_host_core::{ByteSize, DEFAULT_STORE, InvalidSetting, Period, Secret};

use super::{ClientCertificate, Password, RedisAddress, RedisSettings};

/// Which stores components may be granted, and within which bounds.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Key-value store")]
pub struct KeyValueConfig {
    /// A store in Redis for the component, under a name of its own; may be repeated. Its password comes by one of the
    /// next two, not in the URL
    #[arg(
        long = "keyvalue-store",
        value_name = "NAME=redis[s]://[USER@]HOST[:PORT][/DB]",
        env = "WASI_HTTP_HOST_KEYVALUE_STORE",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub keyvalue_stores: Vec<StoreSetting>,
    /// Redis's password; better in the environment, where other users of the machine do not see it
    #[arg(long, value_name = "TEXT", env = "WASI_HTTP_HOST_KEYVALUE_PASSWORD", hide_env_values = true)]
    pub keyvalue_password: Option<Secret>,
    /// A file with Redis's password, such as a mounted Secret's; read again for each connection
    #[arg(long, value_name = "FILE", env = "WASI_HTTP_HOST_KEYVALUE_PASSWORD_FILE")]
    pub keyvalue_password_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's, for rediss://
    #[arg(long, value_name = "FILE", env = "WASI_HTTP_HOST_KEYVALUE_CA_FILE")]
    pub keyvalue_ca_file: Option<PathBuf>,
    /// A certificate (PEM) of our own for rediss://, where the server wants one; read again for each connection
    #[arg(long, value_name = "FILE", env = "WASI_HTTP_HOST_KEYVALUE_CLIENT_CERTIFICATE")]
    pub keyvalue_client_certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", env = "WASI_HTTP_HOST_KEYVALUE_CLIENT_KEY")]
    pub keyvalue_client_key: Option<PathBuf>,
    /// What all keys in Redis begin with, where several applications share a database
    #[arg(long, value_name = "TEXT", env = "WASI_HTTP_HOST_KEYVALUE_PREFIX", default_value_t = KeyValueConfig::default().keyvalue_prefix)]
    pub keyvalue_prefix: String,
    /// How long a key in Redis is kept after its last write: what a component forgot, or died with, goes after it
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEYVALUE_TTL", default_value_t = KeyValueConfig::default().keyvalue_ttl)]
    pub keyvalue_ttl: Period,
    /// For a connection to Redis, name resolution and authentication included
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEYVALUE_CONNECT_TIMEOUT", default_value_t = KeyValueConfig::default().keyvalue_connect_timeout)]
    pub keyvalue_connect_timeout: Period,
    /// For Redis's answer to a command: the component gets an error after it
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEYVALUE_TIMEOUT", default_value_t = KeyValueConfig::default().keyvalue_timeout)]
    pub keyvalue_timeout: Period,
    /// Commands that wait for Redis's answers at once, a thread: an error beyond them
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_KEYVALUE_MAX_CONCURRENCY", default_value_t = KeyValueConfig::default().keyvalue_max_concurrency)]
    pub keyvalue_max_concurrency: NonZeroUsize,
    /// Bytes that the process may keep in memory of what it has read from each store in Redis, shared out to its
    /// threads, kept right by the server (client-side caching, Redis 6 or later); 0 for none
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_KEYVALUE_CACHE_BYTES", default_value_t = KeyValueConfig::default().keyvalue_cache_bytes)]
    pub keyvalue_cache_bytes: ByteSize,
    /// For how long at most, should a change not be told: a key that expires is told late
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEYVALUE_CACHE_MAX_AGE", default_value_t = KeyValueConfig::default().keyvalue_cache_max_age)]
    pub keyvalue_cache_max_age: Period,
    /// Bytes that the key-value store in memory may hold
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_KEYVALUE_MAX_BYTES", default_value_t = KeyValueConfig::default().keyvalue_max_bytes)]
    pub keyvalue_max_bytes: ByteSize,
}

impl Default for KeyValueConfig {
    fn default() -> Self {
        Self {
            keyvalue_stores: Vec::new(),
            keyvalue_password: None,
            keyvalue_password_file: None,
            keyvalue_ca_file: None,
            keyvalue_client_certificate: None,
            keyvalue_client_key: None,
            keyvalue_prefix: String::new(),
            keyvalue_ttl: Period::secs(48 * 3600),
            keyvalue_connect_timeout: Period::secs(1),
            keyvalue_timeout: Period::millis(500),
            keyvalue_max_concurrency: const { NonZeroUsize::new(256).unwrap() },
            keyvalue_cache_bytes: ByteSize::mib(32),
            keyvalue_cache_max_age: Period::secs(10),
            keyvalue_max_bytes: ByteSize::mib(64),
        }
    }
}

/// `NAME=URL`, unread: what is wrong with it is told by [`KeyValueConfig::validate`], which does not repeat the URL, for
/// somebody may have put a password there.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSetting(String);

impl FromStr for StoreSetting {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Debug for StoreSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=<hidden>", self.0.split('=').next().unwrap_or_default())
    }
}

impl KeyValueConfig {
    /// What no single value shows.
    ///
    /// # Errors
    /// Names the first setting that cannot be.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::check_period("--keyvalue-ttl", self.keyvalue_ttl, Period::secs(1))?;
        InvalidSetting::check_period("--keyvalue-timeout", self.keyvalue_timeout, Period::millis(10))?;
        InvalidSetting::check_period(
            "--keyvalue-connect-timeout",
            self.keyvalue_connect_timeout,
            Period::millis(10),
        )?;
        self.remote_stores()?;
        if self.keyvalue_password.is_some() && self.keyvalue_password_file.is_some() {
            return Err(InvalidSetting {
                name: "--keyvalue-password-file",
                reason: "--keyvalue-password is set too: want one of them".to_owned(),
            });
        }
        if self.keyvalue_client_certificate.is_some() != self.keyvalue_client_key.is_some() {
            return Err(InvalidSetting {
                name: "--keyvalue-client-certificate",
                reason: "want it together with --keyvalue-client-key".to_owned(),
            });
        }
        Ok(())
    }

    /// The names and addresses of the stores behind a network.
    ///
    /// # Errors
    /// Names the store that has no fit address, or no fit name.
    pub fn remote_stores(&self) -> Result<Vec<(String, RedisAddress)>, InvalidSetting> {
        let mut stores: Vec<(String, RedisAddress)> = Vec::new();
        for StoreSetting(setting) in &self.keyvalue_stores {
            let invalid = |reason| InvalidSetting { name: "--keyvalue-store", reason };
            let Some((name, url)) = setting.split_once('=') else {
                return Err(invalid("want NAME=redis://HOST[:PORT][/DATABASE]".to_owned()));
            };
            let fit =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !fit {
                return Err(invalid("a name consists of letters, digits, `-`, `_` and `.`".to_owned()));
            }
            if name == DEFAULT_STORE {
                return Err(invalid(format!(
                    "{DEFAULT_STORE:?} is the process's own memory: give the store another name, and name it in the component's settings"
                )));
            }
            if stores.iter().any(|(known, _)| known == name) {
                return Err(invalid(format!("{name:?} is there twice")));
            }
            let address = url.parse().map_err(|error| invalid(format!("{name:?}: {error}")))?;
            stores.push((name.to_owned(), address));
        }
        Ok(stores)
    }

    /// What all of them are given, for a process of so many threads.
    #[must_use]
    pub fn redis_settings(&self, threads: usize) -> RedisSettings {
        let password = match (&self.keyvalue_password, &self.keyvalue_password_file) {
            (_, Some(file)) => Password::File(file.clone()),
            // A variable that is set to nothing is not set: so an optional Secret looks.
            (Some(text), None) if !text.expose().is_empty() => Password::Text(text.expose().to_owned()),
            _ => Password::None,
        };
        RedisSettings {
            prefix: self.keyvalue_prefix.clone(),
            time_to_live: self.keyvalue_ttl.get(),
            connect: self.keyvalue_connect_timeout.get(),
            answer: self.keyvalue_timeout.get(),
            max_in_flight: self.keyvalue_max_concurrency.get(),
            password,
            ca_file: self.keyvalue_ca_file.clone(),
            client_certificate: self
                .keyvalue_client_certificate
                .clone()
                .zip(self.keyvalue_client_key.clone())
                .map(|(certificate, key)| ClientCertificate { certificate, key }),
            cache_bytes: self.keyvalue_cache_bytes.as_usize() / threads.max(1),
            cache_max_age: self.keyvalue_cache_max_age.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(stores: &[&str]) -> KeyValueConfig {
        let keyvalue_stores = stores.iter().map(|text| text.parse().unwrap()).collect();
        KeyValueConfig { keyvalue_stores, ..KeyValueConfig::default() }
    }

    #[test]
    fn a_store_has_a_name_and_an_address() {
        let stores = config(&["shared=redis://cache", " other=redis://[::1]:7/2"]).remote_stores().unwrap();
        let stores: Vec<_> = stores.iter().map(|(name, address)| format!("{name} {address}")).collect();
        assert_eq!(stores, ["shared redis://cache:6379/0", "other redis://[::1]:7/2"]);
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (stores, part) in [
            (&["redis://cache"][..], "NAME="),
            (&["=redis://cache"], "letters"),
            (&["default=redis://cache"], "process's own memory"),
            (&["a=redis://x", "a=redis://y"], "twice"),
            (&["shared=redis://:hush@cache"], "password does not belong"),
            (&["shared=http://hush"], "scheme"),
            (&["shared=rediss://:hush@cache"], "password does not belong"),
        ] {
            let config = config(stores);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("--keyvalue-store") && error.contains(part), "{error}");
            assert!(!error.contains("hush") && !format!("{config:?}").contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_client_certificate_has_its_key() {
        let mut config =
            KeyValueConfig { keyvalue_client_key: Some("/secret/key".into()), ..KeyValueConfig::default() };
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("--keyvalue-client-certificate"), "{error}");
        config.keyvalue_client_certificate = Some("/secret/certificate".into());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_password_is_one_and_shows_itself_nowhere() {
        let mut config =
            KeyValueConfig { keyvalue_password: "hush".parse().ok(), ..KeyValueConfig::default() };
        assert!(matches!(config.redis_settings(1).password, Password::Text(text) if text == "hush"));
        assert!(!format!("{config:?} {:?}", config.redis_settings(1)).contains("hush"));
        config.keyvalue_password_file = Some("/secret/password".into());
        assert!(config.validate().unwrap_err().to_string().contains("--keyvalue-password"));
        config.keyvalue_password = "".parse().ok();
        config.keyvalue_password_file = None;
        assert!(matches!(config.redis_settings(1).password, Password::None), "set to nothing is not set");
    }
}
