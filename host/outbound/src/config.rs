//! The flags of outbound requests.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;
use wasi_http_host_core::{ByteSize, InvalidSetting, Period, Redacted};
use wasi_http_host_egress::{
    AuthoritySetting, ClientCertificateSetting, Identities, InvalidIdentity, without_password,
};
use wasi_http_host_manifest::settings::Template;

use super::{CidrCeiling, Limits, client::most_connection_bytes};

/// Where components may send requests, and the limits of these requests.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Outbound")]
pub struct OutboundConfig {
    /// URLs that components may send requests to, in addition to allowed_outbound_hosts in the manifest. The syntax
    /// is the same and includes {{ variables }}. May be repeated
    #[arg(
        long = "allowed-outbound-host",
        value_name = "URL",
        env = "WASI_HTTP_HOST_ALLOWED_OUTBOUND_HOST",
        value_delimiter = ',',
        hide_env_values = true,
        value_parser = Redacted::<Template>::but(without_password)
    )]
    pub allowed_outbound_hosts: Vec<Template>,
    /// Private addresses that listed names may resolve to, such as the cluster's. May be repeated
    #[arg(long, value_name = "CIDR", env = "WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR", value_delimiter = ',')]
    pub outbound_allow_cidr: Vec<ipnet::IpNet>,
    /// Ranges, with commas between them, that contain every --outbound-allow-cidr; `none` for no range at all. The operator of a
    /// node sets them for all pods
    #[arg(long, value_name = "CIDRS", env = "WASI_HTTP_HOST_OUTBOUND_CIDR_CEILING")]
    pub outbound_cidr_ceiling: Option<CidrCeiling>,
    /// Timeout for opening a connection, name resolution and TLS included
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_CONNECT_TIMEOUT", default_value_t = OutboundConfig::default().outbound_connect_timeout)]
    pub outbound_connect_timeout: Period,
    /// Timeout from a request to the head of its response
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_FIRST_BYTE_TIMEOUT", default_value_t = OutboundConfig::default().outbound_first_byte_timeout)]
    pub outbound_first_byte_timeout: Period,
    /// Timeout for a whole exchange, bodies included
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_TOTAL_TIMEOUT", default_value_t = OutboundConfig::default().outbound_total_timeout)]
    pub outbound_total_timeout: Period,
    /// Maximum size of a response's body
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_OUTBOUND_RESPONSE_BODY", default_value_t = OutboundConfig::default().max_outbound_response_body)]
    pub max_outbound_response_body: ByteSize,
    /// Maximum number of a component's outbound requests in flight
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_OUTBOUND_MAX_CONCURRENCY", default_value_t = OutboundConfig::default().outbound_max_concurrency)]
    pub outbound_max_concurrency: NonZeroUsize,
    /// PEM file of certificates to trust in addition to the system's. Proxies are set by HTTPS_PROXY, HTTP_PROXY
    /// and NO_PROXY
    #[arg(long, value_name = "FILE", env = "WASI_HTTP_HOST_OUTBOUND_CA_FILE")]
    pub outbound_ca_file: Option<PathBuf>,
    /// Certificate and key (PEM) that the host shows to the https servers of a pattern, which has the syntax of
    /// allowed_outbound_hosts. The closest pattern counts. The files are read again when they change. May be repeated;
    /// in the variable, `;` separates the values
    #[arg(
        long,
        value_name = "PATTERN=CERT,KEY",
        env = "WASI_HTTP_HOST_OUTBOUND_CLIENT_CERT",
        value_delimiter = ';'
    )]
    pub outbound_client_cert: Vec<ClientCertificateSetting>,
    /// PEM file of the only certificates to trust for the https servers of a pattern, in place of the system's and of
    /// --outbound-ca-file. The closest pattern counts. The file is read again when it changes. May be repeated; in the
    /// variable, `;` separates the values
    #[arg(long, value_name = "PATTERN=FILE", env = "WASI_HTTP_HOST_OUTBOUND_CA", value_delimiter = ';')]
    pub outbound_ca: Vec<AuthoritySetting>,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            allowed_outbound_hosts: Vec::new(),
            outbound_allow_cidr: Vec::new(),
            outbound_cidr_ceiling: None,
            outbound_connect_timeout: Period::secs(5),
            outbound_first_byte_timeout: Period::secs(30),
            outbound_total_timeout: Period::secs(60),
            max_outbound_response_body: ByteSize::mib(64),
            outbound_max_concurrency: const { NonZeroUsize::new(256).unwrap() },
            outbound_ca_file: None,
            outbound_client_cert: Vec::new(),
            outbound_ca: Vec::new(),
        }
    }
}

impl OutboundConfig {
    /// Checks the bounds that the types of the flags do not check.
    ///
    /// # Errors
    /// When a timeout is shorter than 1 ms, or a private range is not within the ceiling. The error names the flag.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let check = |name, value| InvalidSetting::check_period(name, value, Period::millis(1));
        check("--outbound-connect-timeout", self.outbound_connect_timeout)?;
        check("--outbound-first-byte-timeout", self.outbound_first_byte_timeout)?;
        check("--outbound-total-timeout", self.outbound_total_timeout)?;
        let Some(ceiling) = &self.outbound_cidr_ceiling else { return Ok(()) };
        match ceiling.exceeded_by(&self.outbound_allow_cidr) {
            None => Ok(()),
            Some(range) => Err(InvalidSetting {
                name: "--outbound-allow-cidr",
                reason: format!("{range} is not within --outbound-cidr-ceiling {ceiling}"),
            }),
        }
    }

    /// Reads the certificates and authorities of the patterns.
    ///
    /// # Errors
    /// When a file cannot be used, or a pattern has two values. The error names the flag, the pattern and the file.
    pub fn identities(&self) -> Result<Identities, InvalidSetting> {
        let named = |name| move |error: InvalidIdentity| InvalidSetting { name, reason: error.to_string() };
        Identities::default()
            .with_certificates(&self.outbound_client_cert)
            .map_err(named("--outbound-client-cert"))?
            .with_authorities(&self.outbound_ca)
            .map_err(named("--outbound-ca"))
    }

    /// The most bytes that a component's outbound requests take, besides what the component hands over.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        let each = most_connection_bytes(Limits::default().max_response_head);
        (self.outbound_max_concurrency.get() as u64).saturating_mul(each)
    }

    /// Returns the limits of outbound requests. `max_open` is the maximum number of open connections of all
    /// components together.
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
