//! A fake API server with TLS. It holds objects, compares resource versions, and applies merge patches, as the real one does.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use wasi_http_installer::{api::Api, cluster::Cluster};

pub(crate) const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/wasi-http/leases/wasi-http-installer";
pub(crate) const PODS: &str = "/api/v1/namespaces/wasi-http/pods";

/// Called with the state before each request is answered: it stands for the kubelet, and for other clients.
type Hook = Box<dyn FnMut(&mut State, &Request) + Send>;

/// What the server holds, and what it was asked.
#[derive(Default)]
pub(crate) struct State {
    /// The objects by their paths.
    pub(crate) objects: BTreeMap<String, Value>,
    /// The requests that changed something, or tried to.
    pub(crate) changes: Vec<String>,
    /// Statuses for the next requests, in place of answers.
    pub(crate) refusals: VecDeque<&'static str>,
    pub(crate) requests: Vec<Request>,
    version: u64,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// A running server.
pub(crate) struct Server {
    port: String,
    pub(crate) account: TempDir,
    state: Arc<Mutex<State>>,
    hook: Arc<Mutex<Hook>>,
}

impl State {
    pub(crate) fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object);
    }

    pub(crate) fn change(&mut self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.objects[path].clone();
        change(&mut object);
        self.put(path, object);
    }

    pub(crate) fn node(&self, name: &str) -> &Value {
        &self.objects[&format!("/api/v1/nodes/{name}")]
    }

    fn answer(&mut self, request: &Request) -> (&'static str, Value) {
        let Request { method, path, body, .. } = request;
        if method != "GET" {
            self.changes.push(format!("{method} {path} {body}"));
        }
        if let Some(status) = self.refusals.pop_front() {
            return (status, json!({ "message": "because" }));
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        if method == "POST" {
            let path = format!("{path}/{}", body["metadata"]["name"].as_str().expect("a name"));
            if self.objects.contains_key(&path) {
                return ("409 Conflict", Value::Null);
            }
            self.put(&path, body.clone());
            return ("201 Created", self.objects[&path].clone());
        }
        if method == "GET" && !self.objects.contains_key(path) && path.ends_with('s') {
            return ("200 OK", self.list(path, query));
        }
        let Some(present) = self.objects.get(path).cloned() else { return ("404 Not Found", Value::Null) };
        let version = &body["metadata"]["resourceVersion"];
        if !version.is_null() && *version != present["metadata"]["resourceVersion"] {
            return ("409 Conflict", Value::Null);
        }
        match method.as_str() {
            "PUT" => self.put(path, body.clone()),
            "PATCH" => self.change(path, |object| merge(object, body)),
            "DELETE" => {
                self.objects.remove(path);
            }
            _ => {}
        }
        ("200 OK", self.objects.get(path).cloned().unwrap_or_default())
    }

    /// A page of a list has two objects; `continue` is the number of those before.
    fn list(&self, path: &str, query: &str) -> Value {
        let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        let is_selected = |object: &Value| {
            parameter("labelSelector").is_none_or(|selector| {
                let selector = selector.replace("%3D", "=").replace("%2F", "/");
                let (key, value) = selector.split_once('=').expect("key=value");
                object["metadata"]["labels"][key] == value
            })
        };
        let objects = self
            .objects
            .iter()
            .filter(|(at, _)| at.rsplit_once('/').is_some_and(|(parent, _)| parent == path));
        let objects: Vec<_> =
            objects.map(|(_, object)| object).filter(|object| is_selected(object)).collect();
        let from = parameter("continue").map_or(0, |from| from.parse::<usize>().expect("a number"));
        let page: Vec<_> = objects.iter().skip(from).take(2).collect();
        let next = if from + 2 < objects.len() { (from + 2).to_string() } else { String::new() };
        json!({ "metadata": { "continue": next }, "items": page })
    }
}

fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

impl Server {
    /// A server that holds the lease, the node `node-1`, and the installer's pod on it.
    pub(crate) fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let account = tempfile::tempdir().expect("a directory");
        fs::write(account.path().join("token"), "secret\n").expect("a token");
        let older =
            generate_simple_self_signed(["older.example.com".to_owned()]).expect("a certificate").cert;
        fs::write(account.path().join("ca.crt"), older.pem() + &cert.pem()).expect("authorities");
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port().to_string();
        let server =
            Self { port, account, state: Arc::default(), hook: Arc::new(Mutex::new(Box::new(|_, _| {}))) };
        let (state, hook, config) = (Arc::clone(&server.state), Arc::clone(&server.hook), Arc::new(config));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (state, hook, config) = (Arc::clone(&state), Arc::clone(&hook), Arc::clone(&config));
                thread::spawn(move || {
                    let tls = ServerConnection::new(config).expect("a session");
                    serve(&mut BufReader::new(StreamOwned::new(tls, socket)), &state, &hook);
                });
            }
        });
        server.state().put(LEASE, json!({ "metadata": { "name": "wasi-http-installer" } }));
        server.add_node("node-1");
        server
    }

    /// Adds a node whose kubelet lists the handler `runc`, with an installer's pod.
    pub(crate) fn add_node(&self, name: &str) {
        let mut state = self.state();
        state.put(
            &format!("/api/v1/nodes/{name}"),
            json!({
                "metadata": { "name": name, "labels": { "kubernetes.io/os": "linux" } },
                "status": {
                    "runtimeHandlers": [{ "name": "runc" }], "conditions": [{ "type": "Ready", "status": "True" }],
                },
            }),
        );
        state.put(
            &format!("{PODS}/on-{name}"),
            json!({
                "metadata": { "name": format!("on-{name}"), "uid": "1-2-3", "labels": { "app": "wasi-http-installer" } },
                "spec": {
                    "nodeName": name, "imagePullSecrets": [{ "name": "registry" }],
                    "containers": [{ "image": "registry.example.com/wasi-http-installer:9" }],
                },
            }),
        );
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for a closure that outlives the borrow of the server.
    pub(crate) fn shared(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.state)
    }

    pub(crate) fn hook(&self, hook: impl FnMut(&mut State, &Request) + Send + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(hook);
    }

    /// A kubelet that makes each probe pod ready.
    pub(crate) fn with_kubelet(self) -> Self {
        self.hook(|state, request| {
            if request.method == "GET"
                && request.path.ends_with("-probe")
                && state.objects.contains_key(&request.path)
            {
                state.change(&request.path, |pod| {
                    pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
                });
            }
        });
        self
    }

    pub(crate) fn api(&self) -> Api {
        self.api_with(&self.account)
    }

    /// A client with another account.
    pub(crate) fn api_with(&self, account: &TempDir) -> Api {
        Api::at("127.0.0.1", &self.port, account.path()).expect("an API server")
    }

    /// The cluster, as the installer's pod on a node sees it. What does not happen at once does not happen.
    pub(crate) fn cluster(&self, node: &str) -> Cluster {
        Cluster {
            api: self.api(),
            node: node.to_owned(),
            namespace: "wasi-http".to_owned(),
            pod: Some(format!("on-{node}")),
            poll: Duration::from_millis(1),
            patience: Duration::ZERO,
        }
    }

    /// The changes that the server was asked for, without their bodies.
    pub(crate) fn changes(&self) -> Vec<String> {
        let state = self.state();
        state.changes.iter().map(|change| change.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }
}

fn serve(
    stream: &mut BufReader<StreamOwned<ServerConnection, std::net::TcpStream>>,
    state: &Mutex<State>,
    hook: &Mutex<Hook>,
) {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let mut words = head.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).expect("a body");
        let request = Request { method, path, head, body: serde_json::from_slice(&body).unwrap_or_default() };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests.push(request.clone());
        hook.lock().unwrap_or_else(PoisonError::into_inner)(&mut state, &request);
        let (status, object) = state.answer(&request);
        drop(state);
        let object = object.to_string();
        let response = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{object}", object.len());
        if stream.get_mut().write_all(response.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}
