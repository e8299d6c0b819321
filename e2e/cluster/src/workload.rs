//! A Deployment of a test.

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value;

use crate::{LONG, Namespace, Pod, eventually_within, fail, pods};

/// How often a pod may be seen without hope before it is taken at its word: a first failure passes at times.
const HOPELESS: u32 = 8;

/// A Deployment.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    namespace: &'a Namespace,
    name: &'a str,
}

impl<'a> Deployment<'a> {
    /// The Deployment of this name, whose pods carry the label `app` with the same value.
    #[must_use]
    pub fn new(namespace: &'a Namespace, name: &'a str) -> Self {
        Self { namespace, name }
    }

    /// The API's, `github-gists-api`.
    #[must_use]
    pub fn api(namespace: &'a Namespace) -> Self {
        Self::new(namespace, "github-gists-api")
    }

    /// Its pods, those that are being deleted included.
    ///
    /// # Panics
    /// When kubectl refuses.
    #[track_caller]
    #[must_use]
    pub fn pods(&self) -> Vec<Pod> {
        pods(self.namespace.name(), &format!("app={}", self.name)).unwrap_or_else(|refusal| fail(refusal))
    }

    /// Its pods that are Ready.
    ///
    /// # Panics
    /// When kubectl refuses.
    #[track_caller]
    #[must_use]
    pub fn ready_pods(&self) -> Vec<Pod> {
        self.pods().into_iter().filter(Pod::ready).collect()
    }

    /// The object.
    ///
    /// # Errors
    /// kubectl's refusal.
    pub fn object(&self) -> Result<Value, String> {
        self.namespace.kubectl(["get", "deployment", self.name]).json()
    }

    /// Waits until all wanted replicas are of the last revision, available, and alone; gives its pods.
    ///
    /// # Panics
    /// When they are not in time, or a pod cannot start.
    #[track_caller]
    #[must_use]
    pub fn ready(&self) -> Vec<Pod> {
        self.ready_within(LONG)
    }

    /// As [`Deployment::ready`], with a limit of the test's own.
    ///
    /// # Panics
    /// When they are not in time, or a pod cannot start.
    #[track_caller]
    #[must_use]
    pub fn ready_within(&self, limit: Duration) -> Vec<Pod> {
        let hopeless = Cell::new(0);
        eventually_within(
            limit,
            &format!("deployment {}/{} is rolled out", self.namespace.name(), self.name),
            || {
                let object = self.object()?;
                let number = |pointer| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
                let wanted = number("/spec/replicas");
                let (updated, available, all) = (
                    number("/status/updatedReplicas"),
                    number("/status/availableReplicas"),
                    number("/status/replicas"),
                );
                let seen = number("/status/observedGeneration") >= number("/metadata/generation");
                if seen && [updated, available, all].iter().all(|count| *count == wanted) {
                    return Ok(self.ready_pods());
                }
                if let Some(reason) = self.pods().iter().find_map(Pod::hopeless) {
                    hopeless.set(hopeless.get() + 1);
                    if hopeless.get() >= HOPELESS {
                        fail(reason);
                    }
                }
                Err(format!("wanted {wanted}; updated {updated}, available {available}, in all {all}"))
            },
        )
    }

    /// Asks for so many replicas.
    ///
    /// # Panics
    /// When kubectl refuses.
    #[track_caller]
    pub fn scale(&self, replicas: usize) {
        let replicas = format!("--replicas={replicas}");
        self.namespace.kubectl(["scale", "deployment", self.name, &replicas]).must();
    }

    /// Begins a rolling update that changes nothing but the pods.
    ///
    /// # Panics
    /// When kubectl refuses.
    #[track_caller]
    pub fn restart(&self) {
        self.namespace.kubectl(["rollout", "restart", "deployment", self.name]).must();
    }
}
