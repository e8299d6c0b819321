//! Fake nodes: a temporary directory stands for the node's file system.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    rc::Rc,
};

use tempfile::TempDir;
use wasi_http_installer::{
    cluster::Cluster,
    command::Outcome,
    error::Result,
    install::{Installation, Restart},
    node::Node,
    runtime::BIN_DIR,
};

pub(crate) const ETC: &str = "/etc/containerd/config.toml";
pub(crate) const K3S: &str = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
pub(crate) const RKE2: &str = "/var/lib/rancher/rke2/agent/etc/containerd/config.toml";
pub(crate) const K0S_GENERATED: &str = "/run/k0s/containerd-cri.toml";
pub(crate) const MICROK8S: &str = "/var/snap/microk8s/current/args/containerd-template.toml";

/// Called when something happens.
type Callback = Box<dyn Fn()>;
/// A node's files: path and content.
pub(crate) type Files = BTreeMap<String, String>;

pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The containerd of each distribution: its configuration, its command line and its service.
const CONTAINERDS: [(&str, &str, &str); 4] = [
    (ETC, "/usr/bin/containerd", "containerd.service"),
    (K3S, "containerd -c /var/lib/rancher/k3s/agent/etc/containerd/config.toml", "k3s.service"),
    (RKE2, "containerd -c /var/lib/rancher/rke2/agent/etc/containerd/config.toml", "rke2-server.service"),
    (
        MICROK8S,
        "/snap/microk8s/7180/bin/containerd --config /var/snap/microk8s/7180/args/containerd.toml --root /r",
        "snap.microk8s.daemon-containerd.service",
    ),
];

/// A fake node, the programs to install, its processes and services, and a record of containerd's restarts.
pub(crate) struct TestNode {
    pub(crate) directory: TempDir,
    /// The commands that restarted a service.
    pub(crate) restarts: Rc<RefCell<Vec<String>>>,
    /// The state of each service, as `systemctl is-active` prints it. Other services are `inactive`.
    services: Rc<RefCell<BTreeMap<String, String>>>,
    /// Called at each restart of a service.
    pub(crate) on_restart: Rc<RefCell<Option<Callback>>>,
    /// Number of the next restarts that fail.
    pub(crate) failures: Rc<RefCell<usize>>,
    /// The run is killed where it would restart containerd.
    pub(crate) dies: Rc<Cell<bool>>,
    pub(crate) bin_dir: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) image_policy: Option<PathBuf>,
}

impl TestNode {
    /// A node with these files, path and content, on which the containerd of one of these configurations runs. Without any, it is
    /// a containerd on its defaults.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let node = Self::bare(files);
        let [etc, ..] = CONTAINERDS;
        let known = CONTAINERDS.iter().find(|(config, ..)| files.iter().any(|(path, _)| path == config));
        let (_, line, service) = known.copied().unwrap_or(etc);
        node.service(service, "active");
        node.process("500", line, &format!("/system.slice/{service}"));
        node
    }

    /// A node with these files, on which nothing runs.
    pub(crate) fn bare(files: &[(&str, &str)]) -> Self {
        let node = Self {
            directory: tempfile::tempdir().expect("a directory"),
            restarts: Rc::default(),
            services: Rc::default(),
            on_restart: Rc::default(),
            failures: Rc::default(),
            dies: Rc::default(),
            bin_dir: PathBuf::from(BIN_DIR),
            config: None,
            image_policy: None,
        };
        for (path, content) in files {
            node.write(path, content);
        }
        for program in ["containerd-shim-wasi-http-v1", "wasi-http-host", "wasi-http-image-verifier"] {
            let path = node.programs().join(program);
            fs::create_dir_all(node.programs()).and_then(|()| fs::write(path, program)).expect("a program");
        }
        fs::create_dir_all(node.proc()).expect("a directory");
        node
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn programs(&self) -> PathBuf {
        self.directory.path().join("programs")
    }

    pub(crate) fn proc(&self) -> PathBuf {
        self.directory.path().join("proc")
    }

    pub(crate) fn here(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.here(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.here(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// All files of the node. The content of a symbolic link is its target.
    pub(crate) fn files(&self) -> Files {
        let mut found = Files::new();
        let mut directories = vec![self.root()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(self.root()).expect("below the root").display().to_string();
                if let Ok(target) = fs::read_link(&path) {
                    found.insert(format!("/{name}"), format!("-> {}", target.display()));
                } else if path.is_dir() {
                    directories.push(path);
                } else {
                    found.insert(format!("/{name}"), fs::read_to_string(path).expect("text"));
                }
            }
        }
        found
    }

    /// Sets the state of a service.
    pub(crate) fn service(&self, name: &str, state: &str) {
        self.services.borrow_mut().insert(name.to_owned(), state.to_owned());
    }

    /// Starts a process with this command line and this cgroup, or replaces it.
    pub(crate) fn process(&self, id: &str, line: &str, cgroup: &str) {
        let directory = self.proc().join(id);
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(directory.join("cmdline"), line.replace(' ', "\0") + "\0"))
            .and_then(|()| fs::write(directory.join("cgroup"), format!("0::{cgroup}\n")))
            .expect("a process");
    }

    /// A fake systemctl.
    fn systemctl(&self) -> impl Fn(&Node, &[&str]) -> Result<Outcome> + 'static {
        let (restarts, failures) = (Rc::clone(&self.restarts), Rc::clone(&self.failures));
        let (services, dies) = (Rc::clone(&self.services), Rc::clone(&self.dies));
        let on_restart = Rc::clone(&self.on_restart);
        move |_, command| {
            let ended = |failure: Option<&str>, stdout: String| {
                Ok(Outcome { failure: failure.map(str::to_owned), stdout, stderr: String::new() })
            };
            let ["systemctl", verb, service] = command else { panic!("{command:?}") };
            let state = services.borrow().get(*service).cloned().unwrap_or_else(|| "inactive".to_owned());
            if *verb == "is-active" {
                return ended((state != "active").then_some("exit status: 3"), format!("{state}\n"));
            }
            assert!(!dies.get(), "killed");
            restarts.borrow_mut().push(command.join(" "));
            if let Some(on_restart) = &*on_restart.borrow() {
                on_restart();
            }
            let mut left = failures.borrow_mut();
            let fails = *left > 0;
            *left = left.saturating_sub(1);
            ended(fails.then_some("exit status: 1"), String::new())
        }
    }

    pub(crate) fn installation(&self, cluster: Option<Cluster>) -> Installation {
        Installation {
            node: Node::at(self.root()),
            programs: self.programs(),
            bin_dir: self.bin_dir.clone(),
            config: self.config.clone(),
            restart: Restart::Service,
            run: Box::new(self.systemctl()),
            image_policy: self.image_policy.clone(),
            cluster,
            proc: self.proc(),
            say: |_| {},
        }
    }

    pub(crate) fn install(&self) -> Result<()> {
        self.installation(None).install()
    }

    pub(crate) fn remove(&self) -> Result<()> {
        self.installation(None).remove(std::time::Duration::ZERO)
    }

    /// Kills a run where it would restart containerd. A panic stands for the kill: the run restores nothing.
    pub(crate) fn killed(&self, run: fn(&Self) -> Result<()>) {
        self.dies.set(true);
        catch_unwind(AssertUnwindSafe(|| run(self))).expect_err("it dies");
        self.dies.set(false);
    }

    pub(crate) fn restarted(&self) -> usize {
        self.restarts.borrow().len()
    }
}
