//! Sets the node's label through the Kubernetes API server, with the pod's service account.

use std::{fs, io, path::Path, thread, time::Duration};

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::{
    error::{Error, Result},
    runtime::LABEL,
};

/// Where the kubelet mounts a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Requests before giving up. The pause after request N is N seconds.
const ATTEMPTS: u32 = 5;
/// Time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of the Kubernetes API server.
#[derive(Debug)]
pub struct Api {
    url: String,
    token: String,
    agent: ureq::Agent,
}

impl Api {
    /// A client with the pod's service account.
    ///
    /// # Errors
    /// As [`Self::at`].
    pub fn of_pod(host: &str, port: &str) -> Result<Self> {
        Self::at(host, port, Path::new(SERVICE_ACCOUNT))
    }

    /// A client with the service account in the directory `account`: the files `token` and `ca.crt`.
    ///
    /// # Errors
    /// When a file cannot be read, or `ca.crt` holds an invalid certificate.
    pub fn at(host: &str, port: &str, account: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = account.join(name);
            fs::read_to_string(&path).map_err(Error::file(path))
        };
        let token = read("token")?.trim().to_owned();
        // During a rotation of the cluster's certificate authority, the file holds two certificates.
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
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .proxy(None)
            .build();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Self { url: format!("https://{host}:{port}"), token, agent: config.into() })
    }

    /// Sets the label `runtime.wasi-http/ready=true` on a node, or removes the label.
    ///
    /// # Errors
    /// [`Error::Label`] when the server refuses (no retry), its certificate is not trusted (no retry), or five requests
    /// failed.
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
                // The request is wrong or forbidden: a retry would get the same response.
                Err(error @ ureq::Error::StatusCode(400..=428)) => return Err(self.error(node, &error)),
                // rustls reports an untrusted certificate as an I/O error of this kind.
                Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(self.error(node, &ureq::Error::Io(error)));
                }
                Err(error) if attempt == ATTEMPTS => return Err(self.error(node, &error)),
                Err(_) => thread::sleep(Duration::from_secs(u64::from(attempt))),
            }
        }
    }

    fn error(&self, node: &str, error: &ureq::Error) -> Error {
        Error::Label { node: node.to_owned(), reason: format!("{}: {error}", self.url) }
    }
}
