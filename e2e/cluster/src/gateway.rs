//! The ingress gateway, as it is reached from here.

use std::net::SocketAddr;

use crate::http::{Client, Trust};
use crate::{fail, kubectl};

/// Where the test cluster and the Kind configuration offer it.
const HTTP: (&str, &str) = ("GATEWAY_HTTP", "127.0.0.1:30080");
const HTTPS: (&str, &str) = ("GATEWAY_HTTPS", "127.0.0.1:30443");

/// The gateway's two ports: `GATEWAY_HTTP` and `GATEWAY_HTTPS`, or the node ports that Istio's gateway has in our clusters.
#[derive(Debug, Clone, Copy)]
pub struct Gateway {
    /// In the clear.
    pub http: SocketAddr,
    /// TLS.
    pub https: SocketAddr,
}

impl Gateway {
    /// Reads where it is.
    ///
    /// # Panics
    /// When a variable holds no address.
    #[must_use]
    pub fn get() -> Self {
        Self { http: address(HTTP), https: address(HTTPS) }
    }

    /// A client of this host name, in the clear.
    #[must_use]
    pub fn http(self, host: &str) -> Client {
        Client::http(self.http, host)
    }

    /// A client of this host name, over TLS, that trusts what `gists-tls-secret` in `istio-system` was signed by.
    ///
    /// # Panics
    /// When there is no such secret.
    #[track_caller]
    #[must_use]
    pub fn https(self, host: &str) -> Client {
        // The authority where the secret names one; a certificate that signed itself is its own.
        let authority =
            "go-template={{or (index .data \"ca.crt\") (index .data \"tls.crt\") | base64decode}}";
        let trust =
            kubectl(["-n", "istio-system", "get", "secret", "gists-tls-secret", "-o", authority]).must();
        Client::https(self.https, host, Trust::pem(&trust))
    }
}

fn address((variable, default): (&str, &str)) -> SocketAddr {
    let given = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    given.parse().unwrap_or_else(|error| fail(format!("{variable}={given}: {error}")))
}
