//! A fake registry with TLS, which answers from a table.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use testkit::tls::Authority;
use wasi_http_image_verifier::{bundle::MEDIA_TYPE, digest::Digest};

/// An answer: the status line's code and reason, header lines, and the body.
#[derive(Clone)]
pub(crate) struct Answer {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: "200 OK", headers: String::new(), body: body.into() }
    }

    pub(crate) fn refused(status: &'static str, headers: &str) -> Self {
        Self { status, headers: headers.to_owned(), body: Vec::new() }
    }
}

/// What the registry requires before it answers.
#[derive(Clone)]
pub(crate) enum Login {
    Nobody,
    /// The value of `Authorization`, and the challenge without it.
    Header(&'static str, String),
}

/// A registry on loopback. Its thread ends with the test's process.
pub(crate) struct FakeRegistry {
    pub(crate) host: String,
    pub(crate) authority: String,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    login: Arc<Mutex<Login>>,
}

impl FakeRegistry {
    pub(crate) fn start() -> Self {
        Self::named("127.0.0.1")
    }

    /// A registry that is reached by this name or address of loopback.
    pub(crate) fn named(name: &str) -> Self {
        let authority = Authority::new();
        let certificate = authority.issue(name);
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("{name}:{}", listener.local_addr().unwrap().port());
        let answers = Arc::new(Mutex::new(BTreeMap::new()));
        let login = Arc::new(Mutex::new(Login::Nobody));
        let (table, wanted) = (Arc::clone(&answers), Arc::clone(&login));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, table, wanted) = (Arc::clone(&config), Arc::clone(&table), Arc::clone(&wanted));
                thread::spawn(move || serve(stream, config, &table, &wanted));
            }
        });
        Self { host, authority: authority.pem, answers, login }
    }

    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(crate) fn require(&self, login: Login) {
        *self.login.lock().unwrap() = login;
    }

    /// Attaches bundles to an image: by the referrers API, or by the tag in its place.
    pub(crate) fn attach(&self, repository: &str, image: &Digest, bundles: &[Vec<u8>], api: bool) {
        let mut manifests =
            vec![json!({ "mediaType": "x", "artifactType": "application/spdx+json", "digest": "sha256:0" })];
        for bundle in bundles {
            let blob = Digest::of(bundle);
            let layer = json!({ "mediaType": MEDIA_TYPE, "digest": blob.to_string(), "size": bundle.len() });
            let manifest =
                json!({ "schemaVersion": 2, "artifactType": MEDIA_TYPE, "layers": [layer] }).to_string();
            let digest = Digest::of(manifest.as_bytes());
            self.answer(&format!("/v2/{repository}/blobs/{blob}"), Answer::ok(bundle.clone()));
            self.answer(&format!("/v2/{repository}/manifests/{digest}"), Answer::ok(manifest));
            manifests.push(json!({ "artifactType": MEDIA_TYPE, "digest": digest.to_string() }));
        }
        let tag = image.to_string().replace(':', "-");
        let path = if api { format!("referrers/{image}") } else { format!("manifests/{tag}") };
        self.answer(
            &format!("/v2/{repository}/{path}"),
            Answer::ok(json!({ "manifests": manifests }).to_string()),
        );
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answers: &Mutex<BTreeMap<String, Answer>>,
    login: &Mutex<Login>,
) {
    let Ok(connection) = ServerConnection::new(config) else { return };
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            // A client that does not trust the certificate has gone.
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push(line.trim().to_owned()),
            }
        }
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        let sent = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
        });
        let answer = match &*login.lock().unwrap() {
            Login::Header(wanted, challenge)
                if path.starts_with("/v2/") && sent.as_deref() != Some(*wanted) =>
            {
                Answer::refused("401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n"))
            }
            _ => {
                let known = answers.lock().unwrap().get(&path).cloned();
                known.unwrap_or_else(|| Answer::refused("404 Not Found", ""))
            }
        };
        let head = format!(
            "HTTP/1.1 {}\r\n{}Content-Length: {}\r\n\r\n",
            answer.status,
            answer.headers,
            answer.body.len()
        );
        let written = reader
            .get_mut()
            .write_all(head.as_bytes())
            .and_then(|()| reader.get_mut().write_all(&answer.body));
        if written.and_then(|()| reader.get_mut().flush()).is_err() {
            return;
        }
    }
}
