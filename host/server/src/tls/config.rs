//! The flags of TLS on the main listener.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;

use wasi_http_host_core::{InvalidSetting, Period};

use super::client_auth::ClientAuth;

/// The certificate and key of the main listener, and the limits of handshakes. Without a certificate, the listener
/// speaks plain HTTP.
#[derive(Args, Clone, Debug)]
pub struct TlsConfig {
    /// Certificate (PEM), followed by its chain. The main listener then speaks only TLS. The file is read again
    /// when it changes
    #[arg(long = "tls-cert", value_name = "FILE", env = "WASI_HTTP_HOST_TLS_CERT", help_heading = "TLS")]
    pub cert: Option<PathBuf>,
    /// Private key of the certificate (PEM: PKCS#8, SEC1 or PKCS#1, without a passphrase)
    #[arg(long = "tls-key", value_name = "FILE", env = "WASI_HTTP_HOST_TLS_KEY", help_heading = "TLS")]
    pub key: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that sign clients' certificates. A client's verified certificate is in
    /// the access log, and components get it in Client-Cert. The file is read again when it changes
    #[arg(
        long = "tls-client-ca",
        value_name = "FILE",
        env = "WASI_HTTP_HOST_TLS_CLIENT_CA",
        help_heading = "TLS"
    )]
    pub client_ca: Option<PathBuf>,
    /// Whether a client needs a certificate of these authorities [default: required, with --tls-client-ca]
    #[arg(
        long = "tls-client-auth",
        value_name = "WHEN",
        env = "WASI_HTTP_HOST_TLS_CLIENT_AUTH",
        value_enum,
        help_heading = "TLS"
    )]
    pub client_auth: Option<ClientAuth>,
    /// Timeout from the connection to the end of the TLS handshake
    #[arg(long = "tls-handshake-timeout", value_name = "DUR", env = "WASI_HTTP_HOST_TLS_HANDSHAKE_TIMEOUT", default_value_t = TlsConfig::default().handshake_timeout, help_heading = "TLS")]
    pub handshake_timeout: Period,
    /// Maximum number of concurrent TLS handshakes. Further handshakes wait within the same timeout
    #[arg(long = "tls-max-handshakes", value_name = "N", env = "WASI_HTTP_HOST_TLS_MAX_HANDSHAKES", default_value_t = TlsConfig::default().max_handshakes, help_heading = "TLS")]
    pub max_handshakes: NonZeroUsize,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            cert: None,
            key: None,
            client_ca: None,
            client_auth: None,
            handshake_timeout: Period::secs(10),
            max_handshakes: const { NonZeroUsize::new(1024).unwrap() },
        }
    }
}

impl TlsConfig {
    /// Checks the flags that depend on each other, and the minimum of the timeout.
    ///
    /// # Errors
    /// When only one of certificate and key is set, or the timeout is too short. The error names the flag.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let missing = |name, other: &str| {
            Err(InvalidSetting { name, reason: format!("it is required together with {other}") })
        };
        match (&self.cert, &self.key) {
            (Some(_), None) => missing("--tls-key", "--tls-cert"),
            (None, Some(_)) => missing("--tls-cert", "--tls-key"),
            (None, None) if self.client_ca.is_some() => missing("--tls-cert", "--tls-client-ca"),
            _ if self.client_auth.is_some() && self.client_ca.is_none() => {
                missing("--tls-client-ca", "--tls-client-auth")
            }
            _ if self.handshake_timeout < Period::millis(10) => Err(InvalidSetting {
                name: "--tls-handshake-timeout",
                reason: format!("{} is less than 10ms", self.handshake_timeout),
            }),
            _ => Ok(()),
        }
    }
}
