//! The flags of stores in Redis.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;
use wasi_http_host_core::{ByteSize, InvalidSetting, Period, Secret};

/// Variables of earlier versions, and the variables that replace them. To ignore the old ones silently would be a surprise: one of them
/// holds a password.
const RENAMED: [(&str, &str); 12] = [
    ("WASI_HTTP_HOST_KEYVALUE_PASSWORD", "WASI_HTTP_HOST_REDIS_PASSWORD"),
    ("WASI_HTTP_HOST_KEYVALUE_PASSWORD_FILE", "WASI_HTTP_HOST_REDIS_PASSWORD_FILE"),
    ("WASI_HTTP_HOST_KEYVALUE_CA_FILE", "WASI_HTTP_HOST_REDIS_CA_FILE"),
    ("WASI_HTTP_HOST_KEYVALUE_CLIENT_CERTIFICATE", "WASI_HTTP_HOST_REDIS_CLIENT_CERTIFICATE"),
    ("WASI_HTTP_HOST_KEYVALUE_CLIENT_KEY", "WASI_HTTP_HOST_REDIS_CLIENT_KEY"),
    ("WASI_HTTP_HOST_KEYVALUE_PREFIX", "WASI_HTTP_HOST_REDIS_PREFIX"),
    ("WASI_HTTP_HOST_KEYVALUE_TTL", "WASI_HTTP_HOST_REDIS_TTL"),
    ("WASI_HTTP_HOST_KEYVALUE_CONNECT_TIMEOUT", "WASI_HTTP_HOST_REDIS_CONNECT_TIMEOUT"),
    ("WASI_HTTP_HOST_KEYVALUE_TIMEOUT", "WASI_HTTP_HOST_REDIS_TIMEOUT"),
    ("WASI_HTTP_HOST_KEYVALUE_MAX_CONCURRENCY", "WASI_HTTP_HOST_REDIS_MAX_CONCURRENCY"),
    ("WASI_HTTP_HOST_KEYVALUE_CACHE_BYTES", "WASI_HTTP_HOST_REDIS_CACHE_BYTES"),
    ("WASI_HTTP_HOST_KEYVALUE_CACHE_MAX_AGE", "WASI_HTTP_HOST_REDIS_CACHE_MAX_AGE"),
];

/// The settings of all stores in Redis.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Redis")]
pub struct RedisConfig {
    /// Redis's password. Prefer the variable: other users of the machine can read a process's flags
    #[arg(
        long = "redis-password",
        value_name = "TEXT",
        env = "WASI_HTTP_HOST_REDIS_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<Secret>,
    /// A file with Redis's password, such as a mounted Secret's. It is read for each new connection
    #[arg(long = "redis-password-file", value_name = "FILE", env = "WASI_HTTP_HOST_REDIS_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) to trust in addition to the system's, for rediss://
    #[arg(long = "redis-ca-file", value_name = "FILE", env = "WASI_HTTP_HOST_REDIS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// The host's certificate chain (PEM) for rediss://, if the server requires one. It is read for each new connection
    #[arg(
        long = "redis-client-certificate",
        value_name = "FILE",
        env = "WASI_HTTP_HOST_REDIS_CLIENT_CERTIFICATE"
    )]
    pub client_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long = "redis-client-key", value_name = "FILE", env = "WASI_HTTP_HOST_REDIS_CLIENT_KEY")]
    pub client_key: Option<PathBuf>,
    /// Prefix of all keys in Redis. Applications that share a database need different prefixes
    #[arg(long = "redis-prefix", value_name = "TEXT", env = "WASI_HTTP_HOST_REDIS_PREFIX", default_value_t = RedisConfig::default().prefix)]
    pub prefix: String,
    /// How long Redis keeps a key after its last write
    #[arg(long = "redis-ttl", value_name = "DUR", env = "WASI_HTTP_HOST_REDIS_TTL", default_value_t = RedisConfig::default().ttl)]
    pub ttl: Period,
    /// The time limit for a connection to Redis, with name resolution and authentication
    #[arg(long = "redis-connect-timeout", value_name = "DUR", env = "WASI_HTTP_HOST_REDIS_CONNECT_TIMEOUT", default_value_t = RedisConfig::default().connect_timeout)]
    pub connect_timeout: Period,
    /// The time limit for Redis's reply to a command. After it, the component gets an error
    #[arg(long = "redis-timeout", value_name = "DUR", env = "WASI_HTTP_HOST_REDIS_TIMEOUT", default_value_t = RedisConfig::default().timeout)]
    pub timeout: Period,
    /// Maximum number of a thread's commands in flight. Further commands get an error
    #[arg(long = "redis-max-concurrency", value_name = "N", env = "WASI_HTTP_HOST_REDIS_MAX_CONCURRENCY", default_value_t = RedisConfig::default().max_concurrency)]
    pub max_concurrency: NonZeroUsize,
    /// Maximum number of bytes that the process caches of each store in Redis, divided among the threads. Redis invalidates
    /// changed values (client-side caching, Redis 6 or later). 0 turns the cache off
    #[arg(long = "redis-cache-bytes", value_name = "BYTES", env = "WASI_HTTP_HOST_REDIS_CACHE_BYTES", default_value_t = RedisConfig::default().cache_bytes)]
    pub cache_bytes: ByteSize,
    /// Maximum age of a cached value. Redis sends invalidation messages for expired keys late
    #[arg(long = "redis-cache-max-age", value_name = "DUR", env = "WASI_HTTP_HOST_REDIS_CACHE_MAX_AGE", default_value_t = RedisConfig::default().cache_max_age)]
    pub cache_max_age: Period,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            password: None,
            password_file: None,
            ca_file: None,
            client_certificate: None,
            client_key: None,
            prefix: String::new(),
            ttl: Period::secs(48 * 3600),
            connect_timeout: Period::secs(1),
            timeout: Period::millis(500),
            max_concurrency: const { NonZeroUsize::new(256).unwrap() },
            cache_bytes: ByteSize::mib(32),
            cache_max_age: Period::secs(10),
        }
    }
}

impl RedisConfig {
    /// Checks the settings as a whole.
    ///
    /// # Errors
    /// Names the first setting that cannot be used.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::check_period("--redis-ttl", self.ttl, Period::secs(1))?;
        InvalidSetting::check_period("--redis-timeout", self.timeout, Period::millis(10))?;
        InvalidSetting::check_period("--redis-connect-timeout", self.connect_timeout, Period::millis(10))?;
        if self.password.is_some() && self.password_file.is_some() {
            return Err(InvalidSetting {
                name: "--redis-password-file",
                reason: "--redis-password is set too: set only one of them".to_owned(),
            });
        }
        if self.client_certificate.is_some() != self.client_key.is_some() {
            return Err(InvalidSetting {
                name: "--redis-client-certificate",
                reason: "set it together with --redis-client-key".to_owned(),
            });
        }
        Ok(())
    }

    /// Checks that no variable of an earlier version is set.
    ///
    /// # Errors
    /// Names the first such variable, and the one that replaces it.
    pub fn check_renamed(is_set: impl Fn(&str) -> bool) -> Result<(), InvalidSetting> {
        match RENAMED.iter().find(|(name, _)| is_set(name)) {
            Some((name, new)) => Err(InvalidSetting { name, reason: format!("this variable is now {new}") }),
            None => Ok(()),
        }
    }

    /// The password, unless a file has it. An empty one counts as none: an optional Secret sets the variable to nothing.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_ref().map(Secret::expose).filter(|password| !password.is_empty())
    }

    /// The time to live of a key, in milliseconds, as Redis takes it; at least 1.
    pub(super) fn ttl_ms(&self) -> u64 {
        u64::try_from(self.ttl.get().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_an_earlier_version_is_not_ignored() {
        assert_eq!(RedisConfig::check_renamed(|_| false), Ok(()));
        for (old, new) in RENAMED {
            let error = RedisConfig::check_renamed(|name| name == old).unwrap_err().to_string();
            assert!(error.contains(old) && error.ends_with(new), "{error}");
        }
    }

    #[test]
    fn a_client_certificate_has_its_key() {
        let mut config = RedisConfig { client_key: Some("/secret/key".into()), ..RedisConfig::default() };
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("--redis-client-certificate"), "{error}");
        config.client_certificate = Some("/secret/certificate".into());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_password_is_one_and_shows_itself_nowhere() {
        let mut config = RedisConfig { password: "hush".parse().ok(), ..RedisConfig::default() };
        assert_eq!(config.password(), Some("hush"));
        assert!(!format!("{config:?}").contains("hush"));
        config.password_file = Some("/secret/password".into());
        assert!(config.validate().unwrap_err().to_string().contains("--redis-password"));
        config.password = "".parse().ok();
        config.password_file = None;
        assert_eq!(config.password(), None, "set to nothing is not set");
    }
}
