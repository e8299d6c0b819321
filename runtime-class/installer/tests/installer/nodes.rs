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
    distribution::Restart,
    error::{Error, Result},
    install::Installation,
    node::Node,
    runtime::BIN_DIR,
};

pub(crate) const ETC: &str = "/etc/containerd/config.toml";
pub(crate) const K3S: &str = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
pub(crate) const RKE2: &str = "/var/lib/rancher/rke2/agent/etc/containerd/config.toml";
pub(crate) const MICROK8S: &str = "/var/snap/microk8s/current/args/containerd-template.toml";

/// A node's files: path and content.
pub(crate) type Files = BTreeMap<String, String>;

pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fake node, the programs to install, and a record of containerd's restarts.
pub(crate) struct TestNode {
    pub(crate) directory: TempDir,
    pub(crate) restarts: Rc<RefCell<Vec<Restart>>>,
    /// Number of the next restarts that fail.
    pub(crate) failures: Rc<RefCell<usize>>,
    /// The run is killed where it would restart containerd.
    pub(crate) dies: Rc<Cell<bool>>,
    pub(crate) bin_dir: PathBuf,
    pub(crate) config: Option<PathBuf>,
}

impl TestNode {
    /// A node with these files: path and content.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let node = Self {
            directory: tempfile::tempdir().expect("a directory"),
            restarts: Rc::default(),
            failures: Rc::default(),
            dies: Rc::default(),
            bin_dir: PathBuf::from(BIN_DIR),
            config: None,
        };
        for (path, content) in files {
            node.write(path, content);
        }
        for program in ["containerd-shim-wasi-http-v1", "wasi-http-host"] {
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

    /// All files of the node.
    pub(crate) fn files(&self) -> Files {
        let mut found = Files::new();
        let mut directories = vec![self.root()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let name = path.strip_prefix(self.root()).expect("below the root").display().to_string();
                    found.insert(format!("/{name}"), fs::read_to_string(path).expect("text"));
                }
            }
        }
        found
    }

    fn installation(&self) -> Installation {
        let (restarts, failures) = (Rc::clone(&self.restarts), Rc::clone(&self.failures));
        let dies = Rc::clone(&self.dies);
        Installation {
            node: Node::at(self.root()),
            programs: self.programs(),
            bin_dir: self.bin_dir.clone(),
            config: self.config.clone(),
            restart: Box::new(move |restart| {
                assert!(!dies.get(), "killed");
                restarts.borrow_mut().push(restart.clone());
                let mut left = failures.borrow_mut();
                if *left == 0 {
                    return Ok(());
                }
                *left -= 1;
                Err(Error::Command { command: "restart".into(), reason: "exit status: 1".into() })
            }),
            label: None,
            proc: self.proc(),
            say: |_| {},
        }
    }

    pub(crate) fn install(&self) -> Result<()> {
        self.installation().install()
    }

    pub(crate) fn remove(&self) -> Result<()> {
        self.installation().remove(std::time::Duration::ZERO)
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
