//! The ingress gateway, as this machine reaches it.

use std::net::SocketAddr;

use crate::{eventually, fail, kubectl};
use testkit::http::Request;
use testkit::http::blocking::Client;
use testkit::tls::Trust;

/// The variables, and the addresses in the test cluster and in the Kind configuration.
const HTTP: (&str, &str) = ("GATEWAY_HTTP", "127.0.0.1:30080");
const HTTPS: (&str, &str) = ("GATEWAY_HTTPS", "127.0.0.1:30443");

/// The two addresses of the gateway.
#[derive(Debug, Clone, Copy)]
pub struct Gateway {
    /// The address without TLS.
    pub http: SocketAddr,
    /// The address with TLS.
    pub https: SocketAddr,
}

impl Gateway {
    /// Reads the addresses from the environment.
    ///
    /// # Panics
    /// If a variable holds no address.
    #[must_use]
    pub fn get() -> Self {
        Self { http: address(HTTP), https: address(HTTPS) }
    }

    /// A client of this host name, without TLS.
    #[must_use]
    pub fn http(self, host: &str) -> Client {
        Client::http(self.http, host)
    }

    /// A client of this host name, with TLS. It trusts the authority that signed `gists-tls-secret` in `istio-system`.
    ///
    /// # Panics
    /// If there is no such secret.
    #[track_caller]
    #[must_use]
    pub fn https(self, host: &str) -> Client {
        // The authority if the secret has one. A self-signed certificate is its own authority.
        let authority =
            "go-template={{or (index .data \"ca.crt\") (index .data \"tls.crt\") | base64decode}}";
        let trust =
            kubectl(["-n", "istio-system", "get", "secret", "gists-tls-secret", "-o", authority]).must();
        Client::https(self.https, host, Trust::pem(&trust))
    }
}

/// Waits until the gateway answers `request` with 200: it gets the route of new objects some time after they are applied.
#[track_caller]
pub fn await_route(client: &Client, request: &Request) {
    eventually("the gateway knows the route", || match client.send(request) {
        Ok(response) if response.status == 200 => Ok(()),
        Ok(response) => Err(format!("{}: {}", response.status, response.text())),
        Err(error) => Err(error.to_string()),
    });
}

fn address((variable, default): (&str, &str)) -> SocketAddr {
    let given = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    given.parse().unwrap_or_else(|error| fail(format!("{variable}={given}: {error}")))
}
