//! The node's label, set through the API server with the pod's own service account.

use std::{fs, io, path::Path, thread, time::Duration};

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::{
    error::{Error, Result},
    runtime::LABEL,
};

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ATTEMPTS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(10);

/// The API server, as a pod sees it.
#[derive(Debug)]
pub struct Api {
    url: String,
    token: String,
    agent: ureq::Agent,
}

impl Api {
    /// From what the kubelet gives every pod: the address in the environment, the token and the authority in files.
    ///
    /// # Errors
    /// When there is none, or the authority's certificate is none.
    pub fn of_pod(host: &str, port: &str) -> Result<Self> {
        Self::at(host, port, Path::new(SERVICE_ACCOUNT))
    }

    /// The same with the service account's files elsewhere.
    ///
    /// # Errors
    /// When they are missing, or the authority's certificate is none.
    pub fn at(host: &str, port: &str, account: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = account.join(name);
            fs::read_to_string(&path).map_err(Error::file(path))
        };
        let token = read("token")?.trim().to_owned();
        // While an authority is being exchanged there are two.
        let authorities = parse_pem(read("ca.crt")?.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| Error::Configuration {
                path: account.join("ca.crt"),
                reason: error.to_string(),
            })?;
        let tls = TlsConfig::builder().root_certs(RootCerts::from(authorities)).build();
        let config =
            ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(PATIENCE)).proxy(None).build();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Self { url: format!("https://{host}:{port}"), token, agent: config.into() })
    }

    /// Sets the label of a node, or takes it off.
    ///
    /// # Errors
    /// When the server refuses, or does not answer after some attempts.
    pub fn label(&self, node: &str, ready: bool) -> Result<()> {
        let value = ready.then_some("true");
        let body = serde_json::json!({ "metadata": { "labels": { LABEL: value } } }).to_string();
        let url = format!("{}/api/v1/nodes/{node}", self.url);
        let mut attempt = 0;
        loop {
            let sent = self
                .agent
                .patch(&url)
                .header("Authorization", format!("Bearer {}", self.token))
                .header("Content-Type", "application/merge-patch+json")
                .send(&body);
            attempt += 1;
            match sent {
                Ok(_) => return Ok(()),
                // Our fault, not the server's: it would say the same again.
                Err(error @ ureq::Error::StatusCode(400..=428)) => return Err(self.refused(node, &error)),
                // rustls puts a certificate that it does not trust into an I/O error of this kind.
                Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(self.refused(node, &ureq::Error::Io(error)));
                }
                Err(error) if attempt == ATTEMPTS => return Err(self.refused(node, &error)),
                Err(_) => thread::sleep(Duration::from_secs(u64::from(attempt))),
            }
        }
    }

    fn refused(&self, node: &str, error: &ureq::Error) -> Error {
        Error::Label { node: node.to_owned(), reason: format!("{}: {error}", self.url) }
    }
}
