//! The flags of TLS on the main listener.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;

use wasi_http_host_core::{InvalidSetting, Period};

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
            _ if self.handshake_timeout < Period::millis(10) => Err(InvalidSetting {
                name: "--tls-handshake-timeout",
                reason: format!("{} is less than 10ms", self.handshake_timeout),
            }),
            _ => Ok(()),
        }
    }
}
