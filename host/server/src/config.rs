//! The flags of the main listener's connections.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use wasi_http_host_core::{ByteSize, InvalidSetting, Period};

use super::{TlsConfig, buffers};

/// The header in which trusted proxies name their clients.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, which most proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The limits of connections, heads and bodies, and TLS.
#[derive(Args, Clone, Debug)]
pub struct ServerConfig {
    /// The flags of TLS on the main listener.
    #[command(flatten)]
    pub tls: TlsConfig,

    /// Maximum size of a request's body. A larger body gets 413
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_REQUEST_BODY", default_value_t = ServerConfig::default().max_request_body, help_heading = "Requests")]
    pub max_request_body: ByteSize,
    /// Timeout for a request's or response's body that makes no progress
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_BODY_IDLE_TIMEOUT", default_value_t = ServerConfig::default().body_idle_timeout, help_heading = "Requests")]
    pub body_idle_timeout: Period,
    /// Relay interim responses (102 and 103) to the client, over HTTP/1.1, where a component forwards the client's request. The component
    /// does not see them
    #[arg(long, env = "WASI_HTTP_HOST_RELAY_INTERIM_RESPONSES", help_heading = "Requests")]
    pub relay_interim_responses: bool,

    /// Maximum number of open connections. Further connections wait to be accepted
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_MAX_CONNECTIONS", default_value_t = ServerConfig::default().max_connections, help_heading = "Connections")]
    pub max_connections: NonZeroUsize,
    /// Timeout for a request's head, from its first byte
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_HEADER_TIMEOUT", default_value_t = ServerConfig::default().header_timeout, help_heading = "Connections")]
    pub header_timeout: Period,
    /// How long a connection without a request is kept open
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEEP_ALIVE_TIMEOUT", default_value_t = ServerConfig::default().keep_alive_timeout, help_heading = "Connections")]
    pub keep_alive_timeout: Period,
    /// Maximum size of a request's head. A larger head gets 431
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_HEADER_BYTES", default_value_t = ServerConfig::default().max_header_bytes, help_heading = "Connections")]
    pub max_header_bytes: ByteSize,
    /// Addresses of the proxies that may name the client. If unset, the client is the connection's peer. May be
    /// repeated
    #[arg(
        long,
        value_name = "CIDR",
        env = "WASI_HTTP_HOST_TRUSTED_PROXIES",
        value_delimiter = ',',
        help_heading = "Connections"
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which these proxies name the client
    #[arg(long, value_name = "HEADER", env = "WASI_HTTP_HOST_TRUSTED_PROXIES_HEADER", value_enum, default_value_t = ServerConfig::default().trusted_proxies_header, help_heading = "Connections")]
    pub trusted_proxies_header: ForwardedBy,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            tls: TlsConfig::default(),
            max_request_body: ByteSize::mib(10),
            body_idle_timeout: Period::secs(30),
            relay_interim_responses: false,
            max_connections: const { NonZeroUsize::new(8192).unwrap() },
            header_timeout: Period::secs(10),
            keep_alive_timeout: Period::secs(75),
            max_header_bytes: ByteSize::kib(32),
            trusted_proxies: Vec::new(),
            trusted_proxies_header: ForwardedBy::default(),
        }
    }
}

impl ServerConfig {
    /// The most bytes that one connection takes, besides the responses of its requests.
    #[must_use]
    pub fn most_connection_bytes(&self) -> u64 {
        buffers::most_bytes(self.max_header_bytes.as_usize())
    }

    /// The most bytes that one request takes on its connection: its head, as it is read and as the component sees it,
    /// and what waits for the client.
    #[must_use]
    pub fn most_request_bytes(&self) -> u64 {
        2 * self.max_header_bytes.get() + buffers::MOST_STREAM_BYTES
    }

    /// Checks the bounds that the types of the flags do not check, such as the smallest head limit that hyper
    /// supports.
    ///
    /// # Errors
    /// When a value is out of bounds. The error names the first such flag.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let check = |name, value| InvalidSetting::check_period(name, value, Period::millis(10));
        check("--header-timeout", self.header_timeout)?;
        check("--keep-alive-timeout", self.keep_alive_timeout)?;
        check("--body-idle-timeout", self.body_idle_timeout)?;
        self.tls.validate()?;
        if self.max_header_bytes < ByteSize::bytes(256) || self.max_header_bytes > ByteSize::mib(1) {
            return Err(InvalidSetting {
                name: "--max-header-bytes",
                reason: format!("{} is not between 256 and 1MiB", self.max_header_bytes),
            });
        }
        Ok(())
    }
}
