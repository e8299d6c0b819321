//! A namespace for one test, deleted at the end of the test.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::{Access, Cluster, LONG, eventually_within, kubectl, output};

/// If this variable is set, namespaces are not deleted, for inspection.
const KEEP: &str = "CLUSTER_TEST_KEEP";

/// A namespace that is deleted when this value is dropped. If the test fails, the state of the namespace is written to
/// `target/cluster/failed/`.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A label of each namespace that the tests create. Its value is the run's prefix.
    pub const MARK: &str = "gists.test/run";

    /// Creates `e2e-{name}` with Pod Security `restricted`.
    ///
    /// # Panics
    /// If it cannot be created.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::with_labels(name, &[("pod-security.kubernetes.io/enforce", "restricted")])
    }

    /// Creates `e2e-{name}` with these labels.
    ///
    /// # Panics
    /// If it cannot be created.
    #[must_use]
    pub fn with_labels(name: &str, labels: &[(&str, &str)]) -> Self {
        Self::exactly(&Cluster::namespace(name), labels)
    }

    /// Creates a namespace with exactly this name, for manifests that name their namespace.
    ///
    /// # Panics
    /// If the test has no [`Access`], or the namespace cannot be created, or exists and does not belong to the tests: the tests delete
    /// only what they created.
    #[must_use]
    pub fn exactly(name: &str, labels: &[(&str, &str)]) -> Self {
        Access::require();
        Cluster::get();
        gone(name);
        let prefix = Cluster::prefix();
        let labels: BTreeMap<_, _> = labels.iter().copied().chain([(Self::MARK, prefix.as_str())]).collect();
        // With its mark from the start: the next run recognises what an aborted run left.
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        kubectl(["create", "-f", "-"]).input(namespace.to_string()).must();
        Self { name: name.to_owned() }
    }

    /// A namespace that several tests share, and that is not deleted. Created if it does not exist.
    ///
    /// # Panics
    /// If it cannot be created.
    pub(crate) fn shared(name: &str, level: &str) -> String {
        Cluster::get();
        let name = Cluster::namespace(name);
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": {
                Self::MARK: Cluster::prefix(), "pod-security.kubernetes.io/enforce": level,
            } }
        });
        kubectl(["apply", "-f", "-"]).input(namespace.to_string()).must();
        name
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `kubectl -n NAME` with these arguments.
    #[must_use]
    pub fn kubectl<'a, I: IntoIterator<Item = &'a str>>(&'a self, arguments: I) -> crate::Kubectl {
        kubectl(["-n", &self.name].into_iter().chain(arguments))
    }

    /// Applies manifests, YAML or JSON.
    ///
    /// # Panics
    /// If the cluster refuses one.
    #[track_caller]
    pub fn apply(&self, manifests: &str) {
        self.kubectl(["apply", "-f", "-"]).input(manifests).must();
    }

    /// Objects, events, pods and the last log lines of each container, as text.
    #[must_use]
    pub fn state(&self) -> String {
        let mut state = String::new();
        let mut add = |what: &str, said: Result<String, String>| {
            let _ = writeln!(state, "--- {what}\n{}", said.unwrap_or_else(|refusal| refusal));
        };
        add("objects", self.kubectl(["get", "deployments,services,hpa,pods", "-o", "wide"]).run());
        add("events", self.kubectl(["get", "events", "--sort-by=.lastTimestamp"]).run());
        add("pods", self.kubectl(["describe", "pods"]).run());
        let names = self.kubectl(["get", "pods", "-o", "name"]).run().unwrap_or_default();
        for pod in names.lines().take(12) {
            add(pod, self.kubectl(["logs", pod, "--all-containers", "--prefix", "--tail=60"]).run());
        }
        state
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = crate::made(&output().join("failed")).join(format!("{}.txt", self.name));
            if std::fs::write(&path, self.state()).is_ok() {
                eprintln!("what was in namespace {}: {}", self.name, path.display());
            }
        }
        if std::env::var_os(KEEP).is_none() {
            // Only a test that needs the same name waits for the end of the deletion.
            let _ = kubectl(["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]).run();
        }
    }
}

/// Deletes a namespace that an aborted run left, and waits until it is gone.
fn gone(name: &str) {
    if let Ok(found) = kubectl(["get", "namespace", name]).json() {
        let labels = found.pointer("/metadata/labels");
        let ours = labels.is_some_and(|labels| labels.get(Namespace::MARK).is_some());
        assert!(
            ours,
            "namespace {name} is in use: these tests need the namespace exclusively, on a cluster for tests"
        );
    }
    let _ = kubectl(["delete", "namespace", name, "--wait=false", "--ignore-not-found"]).run();
    eventually_within(LONG, &format!("namespace {name} is gone"), || {
        let found = kubectl(["get", "namespace", name, "--ignore-not-found", "-o", "name"]).run()?;
        if found.trim().is_empty() { Ok(()) } else { Err("it is still there".to_owned()) }
    });
}
