//! A small client of the Kubernetes API server, with the pod's service account.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::Value;
use ureq::{
    http::{Method, Request, StatusCode},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::{
    error::{Error, Result},
    json::text,
};

/// Where the kubelet mounts a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Requests before giving up. A restart of k3s or RKE2 on a server restarts the API server, too: together, the pauses take over two
/// minutes.
const ATTEMPTS: u32 = 20;
/// The longest pause between two requests. The pause after request N is N seconds otherwise.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a response. A node with many images has 50 KiB, and a page of a list has 100 nodes.
const RESPONSE_MAX: u64 = 16 << 20;

/// A change of an object, by its media type.
#[derive(Clone, Copy, Debug)]
enum Body<'a> {
    Json(&'a Value),
    MergePatch(&'a Value),
}

/// The response to a request that the server did not refuse.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The object after the request.
    Object(Value),
    /// There is no such object (404).
    Missing,
    /// Somebody else has changed or created the object (409).
    Conflict,
}

/// A client of the Kubernetes API server.
#[derive(Debug)]
pub struct Api {
    url: String,
    account: PathBuf,
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
        let path = account.join("ca.crt");
        // During a rotation of the cluster's certificate authority, the file holds two certificates.
        let authorities = parse_pem(read(&path)?.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| Error::Configuration { path, reason: error.to_string() })?;
        read(&account.join("token"))?;
        let tls = TlsConfig::builder().root_certs(RootCerts::from(authorities)).build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Self { url: format!("https://{host}:{port}"), account: account.to_owned(), agent: config.into() })
    }

    /// Reads an object or a list; `None` if there is no such object. `path` begins with `/api`.
    ///
    /// # Errors
    /// [`Error::Api`] when the server refuses (no retry), its certificate is not trusted (no retry), or the last attempt failed. The
    /// other requests fail alike.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Value>> {
        match self.request(&Method::GET, path, None)? {
            Reply::Object(object) => Ok(Some(object)),
            Reply::Missing | Reply::Conflict => Ok(None),
        }
    }

    /// Creates an object in the collection at `path`.
    pub(crate) fn create(&self, path: &str, object: &Value) -> Result<Reply> {
        self.request(&Method::POST, path, Some(Body::Json(object)))
    }

    /// Replaces an object. The server compares `metadata.resourceVersion`.
    pub(crate) fn replace(&self, path: &str, object: &Value) -> Result<Reply> {
        self.request(&Method::PUT, path, Some(Body::Json(object)))
    }

    /// Changes an object by a merge patch (RFC 7396). With `metadata.resourceVersion`, the server compares it.
    pub(crate) fn patch(&self, path: &str, patch: &Value) -> Result<Reply> {
        self.request(&Method::PATCH, path, Some(Body::MergePatch(patch)))
    }

    /// Deletes an object. A missing object is no error.
    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        self.request(&Method::DELETE, path, None).map(|_| ())
    }

    fn request(&self, method: &Method, path: &str, body: Option<Body<'_>>) -> Result<Reply> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (last, reason) = match self.send(method, path, body) {
                Ok((StatusCode::NOT_FOUND, _)) => return Ok(Reply::Missing),
                Ok((StatusCode::CONFLICT, _)) => return Ok(Reply::Conflict),
                Ok((status, object)) if status.is_success() => return Ok(Reply::Object(object)),
                Ok((status, refusal)) => {
                    // The request is wrong or forbidden: a retry would get the same response.
                    let last = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
                    (last, format!("{status}: {}", text(&refusal, "/message")))
                }
                // rustls reports an untrusted certificate as an I/O error of this kind.
                Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    (true, error.to_string())
                }
                Err(error) => (false, error.to_string()),
            };
            if last || attempt == ATTEMPTS {
                return Err(Error::Api { request: format!("{method} {}{path}", self.url), reason });
            }
            thread::sleep(PAUSE_MAX.min(Duration::from_secs(u64::from(attempt))));
        }
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<Body<'_>>,
    ) -> std::result::Result<(StatusCode, Value), ureq::Error> {
        // Read for each request: the kubelet renews the file, and an installer may wait for hours.
        let token = fs::read_to_string(self.account.join("token")).map_err(ureq::Error::Io)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {}", token.trim()))
            .header("Accept", "application/json");
        let mut response = match body {
            None => self.agent.run(request.body(())?)?,
            Some(body) => {
                let (kind, object) = match body {
                    Body::Json(object) => ("application/json", object),
                    Body::MergePatch(object) => ("application/merge-patch+json", object),
                };
                self.agent.run(request.header("Content-Type", kind).body(object.to_string())?)?
            }
        };
        let read = response.body_mut().with_config().limit(RESPONSE_MAX).read_to_string()?;
        // A proxy in front of the server answers with text: the status says enough then.
        Ok((response.status(), serde_json::from_str(&read).unwrap_or_default()))
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::file(path))
}
