//! An image registry on this machine with TLS and a password, for a cluster whose node is this machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use cluster_e2e::{Namespace, fail};
use serde_json::{Value, json};
use testkit::paths;
use testkit::tls::Authority;

/// The directory where containerd looks up registries (`config_path`), if the cluster's node is this machine. `scripts/cluster` sets it.
const TRUSTED: &str = "CLUSTER_TEST_REGISTRIES";
const USER: &str = "node";
const PASSWORD: &str = "of-the-node";

/// A registry. It ends when this value is dropped, or with the test's process.
pub(crate) struct Registry {
    process: Child,
    address: String,
    directory: PathBuf,
    requests: Arc<Mutex<BTreeSet<String>>>,
}

impl Registry {
    /// A registry with a certificate of a new authority. `name` is unique among the tests. Returns `None`, and says why, where containerd
    /// cannot be told to trust the authority.
    pub(crate) fn start(name: &str) -> Option<Self> {
        if std::env::var_os(TRUSTED).is_none() {
            println!(
                "NOT RUN: {TRUSTED} is not set: the cluster's containerd cannot be told about a registry of the tests"
            );
            return None;
        }
        let directory = paths::scratch(&format!("registry-{name}"));
        let authority = Authority::new();
        let certificate = authority.issue("127.0.0.1");
        let file = |name: &str, content: &str| {
            let path = directory.join(name);
            fs::write(&path, content).unwrap();
            path
        };
        file("ca.pem", &authority.pem);
        let mut process = Command::new("registry")
            .arg("-certificate")
            .arg(file("server.pem", &certificate.pem))
            .arg("-key")
            .arg(file("server.key", &certificate.key))
            .args(["-user", USER])
            .env("REGISTRY_PASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| fail(format!("registry, which local-cluster/build makes: {error}")));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap_or_else(|| fail("the registry ended at its start")).unwrap();
        let requests = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).insert(line);
            }
        });
        file("config.json", &logins(&address, PASSWORD).to_string());
        Some(Self { process, address, directory, requests })
    }

    /// Tells containerd which authority to trust for this registry.
    pub(crate) fn trust(&self) {
        let ca = self.directory.join("ca.pem").canonicalize().unwrap();
        self.configure(&format!("ca = {ca:?}\n"));
    }

    /// Tells containerd to use TLS for this registry, and nothing about an authority. Without this, containerd would use plain HTTP, as for
    /// each address of loopback.
    pub(crate) fn trust_no_authority(&self) {
        self.configure("");
    }

    fn configure(&self, settings: &str) {
        let directory = self.trusted();
        fs::create_dir_all(&directory).unwrap();
        // Twice, because containerd 1.6 reads no file without a host, and asks the server where the host does not answer.
        let url = format!("https://{}", self.address);
        let hosts = format!("server = {url:?}\n{settings}[host.{url:?}]\n{settings}");
        fs::write(directory.join("hosts.toml"), hosts).unwrap();
    }

    fn trusted(&self) -> PathBuf {
        PathBuf::from(std::env::var_os(TRUSTED).unwrap()).join(&self.address)
    }

    /// The directory of the node's containerd.
    ///
    /// # Panics
    /// If the tests cannot configure containerd, where [`Registry::start`] returns `None`.
    pub(crate) fn node_directory() -> PathBuf {
        PathBuf::from(std::env::var_os(TRUSTED).unwrap()).parent().unwrap().to_owned()
    }

    /// The name of an image in this registry: a repository with a tag or a digest.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Whether the registry has sent this blob. A node that has a blob already does not ask for it.
    pub(crate) fn has_sent(&self, repository: &str, digest: &str) -> bool {
        let seen = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        // 206 is a part of the blob.
        ["200", "206"]
            .iter()
            .any(|status| seen.contains(&format!("GET /v2/{repository}/blobs/{digest} {status}")))
    }

    /// Creates a secret with the registry's user and a password, for `imagePullSecrets`.
    pub(crate) fn secret(&self, namespace: &Namespace, name: &str, password: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": { ".dockerconfigjson": logins(&self.address, password).to_string() }
        });
        namespace.apply(&secret.to_string());
    }

    /// The secret with the password that the registry knows.
    pub(crate) fn right_secret(&self, namespace: &Namespace, name: &str) {
        self.secret(namespace, name, PASSWORD);
    }

    /// Pushes the image of an OCI layout. Returns its digest.
    pub(crate) fn push(&self, layout: &Path, repository: &str) -> String {
        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let root = &index["manifests"][0];
        let tag = root["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
        let from = format!("{}:{tag}", layout.display());
        self.oras(
            ["cp", "--no-tty", "--from-oci-layout", &from, &self.image(&format!("{repository}:{tag}"))],
            "to-",
        );
        root["digest"].as_str().unwrap().to_owned()
    }

    /// Pushes a file as a blob.
    pub(crate) fn push_blob(&self, file: &Path, repository: &str) {
        self.oras(["blob", "push", "--no-tty", &self.image(repository), &file.to_string_lossy()], "");
    }

    /// Pushes a file as a manifest. `name` is the repository with a tag.
    pub(crate) fn push_manifest(&self, file: &Path, name: &str) {
        self.push_document(file, name, "application/vnd.oci.image.manifest.v1+json");
    }

    /// Pushes a file as a manifest or an index, by its media type.
    pub(crate) fn push_document(&self, file: &Path, name: &str, kind: &str) {
        let file = file.to_string_lossy();
        self.oras(["manifest", "push", "--media-type", kind, &self.image(name), &file], "");
    }

    /// A command that reaches the registry with its user: `DOCKER_CONFIG`, and the variables of `scripts/publish`.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("DOCKER_CONFIG", &self.directory)
            .env("HELM_REGISTRY_CONFIG", self.directory.join("config.json"))
            .env("REGISTRY_USERNAME", USER)
            .env("REGISTRY_PASSWORD", PASSWORD);
        command
    }

    /// The host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The certificate of the registry's authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The login, in the form of Docker's `config.json`.
    pub(crate) fn login(&self) -> PathBuf {
        self.directory.join("config.json")
    }

    /// The manifest with this name: a repository with a tag or a digest.
    pub(crate) fn manifest(&self, name: &str) -> String {
        self.oras(["manifest", "fetch", &self.image(name)], "")
    }

    /// Runs oras with the registry's user. `side` is the prefix of the flags for the registry of a command with two registries.
    fn oras<'a>(&self, arguments: impl IntoIterator<Item = &'a str>, side: &str) -> String {
        let mut command = Command::new("oras");
        command.args(arguments);
        for (flag, file) in [("ca-file", "ca.pem"), ("registry-config", "config.json")] {
            command.arg(format!("--{side}{flag}")).arg(self.directory.join(file));
        }
        let output = command.stdin(Stdio::null()).output();
        let output =
            output.unwrap_or_else(|error| fail(format!("oras, which local-cluster/build makes: {error}")));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(self.trusted());
    }
}

/// The logins of a registry as Docker's `config.json` has them.
fn logins(address: &str, password: &str) -> Value {
    json!({ "auths": { address: { "username": USER, "password": password } } })
}
