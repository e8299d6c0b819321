//! What several settings come to together, and whether they can be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ByteSize, Config, LEAST_MEMORY, LEAST_REQUEST_TIMEOUT, Period};

/// A setting's value that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid value for {name}: {reason}")]
pub struct Invalid {
    /// The flag or variable.
    pub name: &'static str,
    /// What is wrong, with the value.
    pub reason: String,
}

impl Config {
    /// Where requests are answered: `--listen`, else the default with the port that `port` (the variable `PORT`) names.
    ///
    /// # Errors
    /// When `port` is no port number and `--listen` does not make it irrelevant.
    pub fn main_listener(&self, port: Option<&str>) -> Result<SocketAddr, Invalid> {
        let default = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        match (self.listen, port) {
            (Some(address), _) => Ok(address),
            (None, None | Some("")) => Ok(default(8080)),
            (None, Some(text)) => text.parse().map(default).map_err(|_| Invalid {
                name: "PORT",
                reason: format!("{text:?} is no port number (0 to 65535)"),
            }),
        }
    }

    /// Threads that serve: `--threads`, else one a core, and none without an instance, for it could serve nothing.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let instances = usize::try_from(self.max_instances.get()).unwrap_or(usize::MAX);
        self.threads.map_or(cores, usize::from).min(instances)
    }

    /// What no single value shows: the smallest head that the HTTP implementation can limit to, and the like.
    ///
    /// # Errors
    /// Names the first setting that cannot be.
    pub fn validate(&self) -> Result<(), Invalid> {
        let at_least = |name, value: Period, least: Period| {
            if value < least {
                return Err(Invalid { name, reason: format!("{value} is less than {least}") });
            }
            Ok(())
        };
        at_least("--request-timeout", self.request_timeout, LEAST_REQUEST_TIMEOUT)?;
        at_least("--response-timeout", self.response_timeout, Period::millis(10))?;
        at_least("--header-timeout", self.header_timeout, Period::millis(10))?;
        at_least("--keep-alive-timeout", self.keep_alive_timeout, Period::millis(10))?;
        at_least("--body-idle-timeout", self.body_idle_timeout, Period::millis(10))?;
        at_least("--outbound-connect-timeout", self.outbound_connect_timeout, Period::millis(1))?;
        at_least("--outbound-first-byte-timeout", self.outbound_first_byte_timeout, Period::millis(1))?;
        at_least("--outbound-total-timeout", self.outbound_total_timeout, Period::millis(1))?;
        at_least("--keyvalue-ttl", self.keyvalue_ttl, Period::secs(1))?;
        at_least("--keyvalue-timeout", self.keyvalue_timeout, Period::millis(10))?;
        at_least("--keyvalue-connect-timeout", self.keyvalue_connect_timeout, Period::millis(10))?;
        self.tls.validate()?;
        self.remote_stores()?;
        if self.keyvalue_password.is_some() && self.keyvalue_password_file.is_some() {
            return Err(Invalid {
                name: "--keyvalue-password-file",
                reason: "--keyvalue-password is set too: want one of them".to_owned(),
            });
        }
        if self.keyvalue_client_certificate.is_some() != self.keyvalue_client_key.is_some() {
            return Err(Invalid {
                name: "--keyvalue-client-certificate",
                reason: "want it together with --keyvalue-client-key".to_owned(),
            });
        }
        if self.max_header_bytes < ByteSize::bytes(256) || self.max_header_bytes > ByteSize::mib(1) {
            return Err(Invalid {
                name: "--max-header-bytes",
                reason: format!("{} is not between 256 and 1MiB", self.max_header_bytes),
            });
        }
        if self.max_memory < LEAST_MEMORY {
            return Err(Invalid {
                name: "--max-memory",
                reason: format!("{} is less than one page ({LEAST_MEMORY})", self.max_memory),
            });
        }
        Ok(())
    }
}
