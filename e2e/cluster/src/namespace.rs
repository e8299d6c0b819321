//! A namespace for one test, removed with everything in it when the test is over.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::{Cluster, LONG, eventually_within, kubectl, output};

/// Set to keep what the tests made, to look at it.
const KEEP: &str = "CLUSTER_TEST_KEEP";

/// A namespace that lives as long as this value does. When the test fails, what was in it is written to
/// `target/cluster/failed/`.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A label of every namespace that the tests made; its value is the run's prefix.
    pub const MARK: &str = "gists.test/run";

    /// Makes `e2e-{name}`, empty, under Pod Security `restricted`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::with_labels(name, &[("pod-security.kubernetes.io/enforce", "restricted")])
    }

    /// Makes `e2e-{name}`, empty, with these labels alone.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn with_labels(name: &str, labels: &[(&str, &str)]) -> Self {
        Self::exactly(&Cluster::namespace(name), labels)
    }

    /// Makes a namespace of exactly this name, as manifests that name theirs want it.
    ///
    /// # Panics
    /// When it cannot be made, or is there and somebody else's: these tests remove only what they made.
    #[must_use]
    pub fn exactly(name: &str, labels: &[(&str, &str)]) -> Self {
        Cluster::get();
        gone(name);
        let prefix = Cluster::prefix();
        let labels: BTreeMap<_, _> = labels.iter().copied().chain([(Self::MARK, prefix.as_str())]).collect();
        // With its mark from its first moment: what a run that is cut short leaves is known to the next.
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        kubectl(["create", "-f", "-"]).input(namespace.to_string()).must();
        Self { name: name.to_owned() }
    }

    /// Its name.
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
    /// When the cluster refuses one.
    #[track_caller]
    pub fn apply(&self, manifests: &str) {
        self.kubectl(["apply", "-f", "-"]).input(manifests).must();
    }

    /// Pods, events and the last lines of every container.
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
            // The next test need not wait for it; one that wants the same name does.
            let _ = kubectl(["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]).run();
        }
    }
}

/// Returns once there is no namespace of this name, left by a run that was cut short.
fn gone(name: &str) {
    if let Ok(found) = kubectl(["get", "namespace", name]).json() {
        let labels = found.pointer("/metadata/labels");
        let ours = labels.is_some_and(|labels| labels.get(Namespace::MARK).is_some());
        assert!(
            ours,
            "namespace {name} is in use: these tests need it for themselves, on a cluster that may lose it"
        );
    }
    let _ = kubectl(["delete", "namespace", name, "--wait=false", "--ignore-not-found"]).run();
    eventually_within(LONG, &format!("namespace {name} is gone"), || {
        let found = kubectl(["get", "namespace", name, "--ignore-not-found", "-o", "name"]).run()?;
        if found.trim().is_empty() { Ok(()) } else { Err("it is still there".to_owned()) }
    });
}
