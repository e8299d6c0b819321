//! The signatures of an image in its registry, by the OCI distribution specification 1.1: the referrers API, or, if the registry lacks
//! this API, the tag in its place.

use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use ureq::{
    http::{HeaderMap, Request, StatusCode, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
    unversioned::transport::DefaultConnector,
};

use crate::{
    bundle,
    digest::Digest,
    error::{Error, Result, short},
    policy::{Access, Login},
    reference::Reference,
    resolver::Names,
};

/// Bytes of an answer. A bundle with a transparency log's entry has about 10 kB, and a referrer takes 300 bytes of an index.
const ANSWER_MAX: u64 = 1 << 20;
/// Bundles of an image that are read. Whoever may push can attach more than these, and so can only refuse an image.
const BUNDLES_MAX: usize = 32;
/// Redirects of a request: a registry sends the reader of a blob to its storage.
const REDIRECTS_MAX: u32 = 3;
/// Bytes of a token of the registry's authorization server.
const TOKEN_MAX: usize = 16 << 10;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's name of its registry, and the registry's own.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    digest: String,
}

/// An answer that the registry did not refuse.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    challenge: Option<String>,
}

/// The repository of an image, for the time of one decision.
pub struct Registry {
    base: String,
    repository: String,
    login: Option<Login>,
    agent: ureq::Agent,
    deadline: Instant,
}

impl Registry {
    /// The repository of `image`. All requests end at the deadline.
    ///
    /// # Errors
    /// When the certificates to trust cannot be read.
    pub fn of(image: &Reference, access: Option<&Access>, deadline: Instant) -> Result<Self> {
        let (name, real) = DOCKER;
        let host = if image.registry == name { real } else { &image.registry };
        let base = format!("https://{host}");
        let roots = match access.and_then(|access| access.authorities.as_deref()) {
            Some(pem) => certificates(pem),
            None => system_certificates(),
        };
        let roots = roots.map_err(|reason| Error::Registry { url: base.clone(), reason })?;
        let config = ureq::Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::from(roots)).build())
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(REDIRECTS_MAX)
            .build();
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Names);
        let login = access.and_then(|access| access.login.clone());
        Ok(Self { base, repository: image.repository.clone(), login, agent, deadline })
    }

    /// The manifests of bundles that refer to the image.
    ///
    /// # Errors
    /// When the registry cannot be asked, or answers with anything but an index.
    pub fn bundles(&self, image: &Digest) -> Result<Vec<Digest>> {
        // The specification's tag for registries without the API: the digest with a hyphen.
        let tag = image.to_string().replace(':', "-");
        let paths = [format!("referrers/{image}"), format!("manifests/{tag}")];
        for path in paths {
            let Some(body) = self.get(&path, INDEX)? else { continue };
            let index: Index = self.parsed(&path, &body)?;
            // The registry need not filter by type, and an index by tag has all types.
            let bundles = index.manifests.iter().filter(|one| one.artifact_type == bundle::MEDIA_TYPE);
            return bundles.take(BUNDLES_MAX).map(|one| Ok(one.digest.parse()?)).collect();
        }
        Ok(Vec::new())
    }

    /// The bundle in a manifest.
    ///
    /// # Errors
    /// When the registry cannot be asked, or the manifest holds no bundle.
    pub fn bundle(&self, manifest: &Digest) -> Result<Vec<u8>> {
        let path = format!("manifests/{manifest}");
        let body =
            self.get(&path, MANIFEST)?.ok_or_else(|| self.failed(&path, "404 Not Found".to_owned()))?;
        let parsed: Manifest = self.parsed(&path, &body)?;
        let layer = parsed.layers.iter().find(|layer| layer.media_type == bundle::MEDIA_TYPE);
        let layer = layer
            .ok_or_else(|| self.failed(&path, format!("no layer of the type {}", bundle::MEDIA_TYPE)))?;
        let path = format!("blobs/{}", layer.digest.parse::<Digest>()?);
        self.get(&path, "*/*")?.ok_or_else(|| self.failed(&path, "404 Not Found".to_owned()))
    }

    /// Gets what is at a path of the repository; `None` if there is nothing.
    fn get(&self, path: &str, accept: &str) -> Result<Option<Vec<u8>>> {
        let url = self.url(path);
        let mut answer = self.send(&url, accept, None)?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let challenge = answer.challenge.as_deref().unwrap_or_default();
            let authorization = self.authorization(challenge)?.ok_or_else(|| {
                let reason =
                    "401 Unauthorized: the node's policy has no login for this registry, which needs one";
                Error::Registry { url: url.clone(), reason: reason.to_owned() }
            })?;
            answer = self.send(&url, accept, Some(&authorization))?;
        }
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => Ok(Some(answer.body)),
            status => Err(Error::Registry { url, reason: status.to_string() }),
        }
    }

    /// The header by which the registry's challenge (RFC 9110, section 11) is met; `None` without a login for it.
    fn authorization(&self, challenge: &str) -> Result<Option<String>> {
        let basic = self.login.as_ref().map(|login| {
            format!(
                "Basic {}",
                Base64::encode_string(format!("{}:{}", login.user, login.password).as_bytes())
            )
        });
        let Some((scheme, parameters)) = challenge.split_once(' ') else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(basic);
        }
        let failed = |reason: &str| Error::Registry { url: self.base.clone(), reason: reason.to_owned() };
        let realm = parameter(parameters, "realm").ok_or_else(|| failed("a challenge without a realm"))?;
        let mut url = ureq::http::Uri::try_from(realm)
            .map_err(|_| failed("a challenge whose realm is no URL"))?
            .to_string();
        let scope = format!("repository:{}:pull", self.repository);
        for (name, value) in
            [("service", parameter(parameters, "service").unwrap_or_default()), ("scope", &scope)]
        {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!("{name}={}", encoded(value)));
        }
        let answer = self.send(&url, "application/json", basic.as_deref())?;
        if answer.status != StatusCode::OK {
            return Err(Error::Registry { url, reason: format!("{}: no token", answer.status) });
        }
        let token: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token =
            token.get("token").or_else(|| token.get("access_token")).and_then(serde_json::Value::as_str);
        match token.filter(|token| token.len() <= TOKEN_MAX) {
            Some(token) => Ok(Some(format!("Bearer {token}"))),
            None => Err(Error::Registry { url, reason: "an answer without a token".to_owned() }),
        }
    }

    fn send(&self, url: &str, accept: &str, authorization: Option<&str>) -> Result<Answer> {
        let failed = |reason: String| Error::Registry { url: url.to_owned(), reason };
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(failed("no time is left: the registry answers too slowly".to_owned()));
        }
        let mut request = Request::get(url).header(header::ACCEPT, accept);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(()).map_err(|error| failed(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(left)).build();
        let mut response = self.agent.run(request).map_err(|error| failed(error.to_string()))?;
        let challenge = challenge(response.headers());
        let body = response.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
        Ok(Answer {
            status: response.status(),
            body: body.map_err(|error| failed(error.to_string()))?,
            challenge,
        })
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|error| {
            self.failed(path, format!("not the JSON that was expected: {}", short(&error.to_string())))
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.base, self.repository)
    }

    fn failed(&self, path: &str, reason: String) -> Error {
        Error::Registry { url: self.url(path), reason }
    }
}

fn challenge(headers: &HeaderMap) -> Option<String> {
    headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A quoted parameter of a challenge.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let rest = parameters.split(',').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix("=\""))?;
    rest.strip_suffix('"')
}

/// A value in a query: everything but unreserved characters (RFC 3986) is percent-encoded.
fn encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

fn certificates(pem: &str) -> std::result::Result<Vec<Certificate<'static>>, String> {
    let found = parse_pem(pem.as_bytes()).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error.to_string())),
    });
    let found = found.collect::<std::result::Result<Vec<_>, _>>()?;
    if found.is_empty() { Err("its `authorities` hold no certificate".to_owned()) } else { Ok(found) }
}

fn system_certificates() -> std::result::Result<Vec<Certificate<'static>>, String> {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(
            "the system has no certificates: name a file of them as the registry's `authorities`".to_owned()
        );
    }
    Ok(found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_challenge_are_read() {
        let challenge =
            r#"realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:pull""#;
        assert_eq!(parameter(challenge, "realm"), Some("https://auth.docker.io/token"));
        assert_eq!(parameter(challenge, "service"), Some("registry.docker.io"));
        assert_eq!(parameter(challenge, "error"), None);
        assert_eq!(parameter("realm=unquoted", "realm"), None);
        assert_eq!(encoded("repository:a/b-c:pull"), "repository%3Aa%2Fb-c%3Apull");
    }

    #[test]
    fn authorities_without_a_certificate_are_refused() {
        assert!(certificates("").is_err());
        assert!(
            certificates("-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n").is_err()
        );
    }
}
