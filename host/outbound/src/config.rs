//! The flags of outbound requests.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;
use wasi_http_host_core::{ByteSize, InvalidSetting, Period, Redacted};
use wasi_http_host_egress::without_password;
use wasi_http_host_manifest::settings::Template;

use super::Limits;

/// Where components may send requests, and within which bounds.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Outbound")]
pub struct OutboundConfig {
    /// Where the component may send requests, beside its manifest's allowed_outbound_hosts and in the same syntax,
    /// {{ variables }} included; may be repeated
    #[arg(
        long = "allowed-outbound-host",
        value_name = "URL",
        env = "WASI_HTTP_HOST_ALLOWED_OUTBOUND_HOST",
        value_delimiter = ',',
        hide_env_values = true,
        value_parser = Redacted::<Template>::but(without_password)
    )]
    pub allowed_outbound_hosts: Vec<Template>,
    /// Addresses that listed names may resolve to although they are private, such as the cluster's; may be repeated
    #[arg(long, value_name = "CIDR", env = "WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR", value_delimiter = ',')]
    pub outbound_allow_cidr: Vec<ipnet::IpNet>,
    /// For a connection to be made, name resolution and TLS included
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_CONNECT_TIMEOUT", default_value_t = OutboundConfig::default().outbound_connect_timeout)]
    pub outbound_connect_timeout: Period,
    /// From a request to the head of its response
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_FIRST_BYTE_TIMEOUT", default_value_t = OutboundConfig::default().outbound_first_byte_timeout)]
    pub outbound_first_byte_timeout: Period,
    /// For a whole exchange, bodies included
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_TOTAL_TIMEOUT", default_value_t = OutboundConfig::default().outbound_total_timeout)]
    pub outbound_total_timeout: Period,
    /// Bytes of a response's body
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_OUTBOUND_RESPONSE_BODY", default_value_t = OutboundConfig::default().max_outbound_response_body)]
    pub max_outbound_response_body: ByteSize,
    /// Outbound requests of a component that are in flight at once
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_OUTBOUND_MAX_CONCURRENCY", default_value_t = OutboundConfig::default().outbound_max_concurrency)]
    pub outbound_max_concurrency: NonZeroUsize,
    /// Certificates (PEM) to trust beside the system's; proxies are taken from HTTPS_PROXY, HTTP_PROXY, NO_PROXY
    #[arg(long, value_name = "FILE", env = "WASI_HTTP_HOST_OUTBOUND_CA_FILE")]
    pub outbound_ca_file: Option<PathBuf>,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            allowed_outbound_hosts: Vec::new(),
            outbound_allow_cidr: Vec::new(),
            outbound_connect_timeout: Period::secs(5),
            outbound_first_byte_timeout: Period::secs(30),
            outbound_total_timeout: Period::secs(60),
            max_outbound_response_body: ByteSize::mib(64),
            outbound_max_concurrency: const { NonZeroUsize::new(256).unwrap() },
            outbound_ca_file: None,
        }
    }
}

impl OutboundConfig {
    /// What no single value shows.
    ///
    /// # Errors
    /// Names the first setting that cannot be.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let check = |name, value| InvalidSetting::check_period(name, value, Period::millis(1));
        check("--outbound-connect-timeout", self.outbound_connect_timeout)?;
        check("--outbound-first-byte-timeout", self.outbound_first_byte_timeout)?;
        check("--outbound-total-timeout", self.outbound_total_timeout)
    }

    /// The bounds of outbound requests, `max_open` connections of all components together included.
    #[must_use]
    pub fn limits(&self, max_open: usize) -> Limits {
        Limits {
            connect: self.outbound_connect_timeout.get(),
            first_byte: self.outbound_first_byte_timeout.get(),
            total: self.outbound_total_timeout.get(),
            max_response_body: self.max_outbound_response_body.get(),
            max_concurrent: self.outbound_max_concurrency.get(),
            max_open,
            ..Limits::default()
        }
    }
}
