//! Deployments.

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value;

use crate::{LONG, Namespace, Pod, eventually_within, fail, pods};

/// How often [`Pod::hopeless`] must hold before the test fails: a first failure may be temporary.
const MAX_FAILED_CHECKS: u32 = 8;

/// A Deployment.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    namespace: &'a Namespace,
    name: &'a str,
}

impl<'a> Deployment<'a> {
    /// The Deployment with this name. Its pods have the label `app` with the same value.
    #[must_use]
    pub fn new(namespace: &'a Namespace, name: &'a str) -> Self {
        Self { namespace, name }
    }

    /// The Deployment of the API, `github-gists-api`.
    #[must_use]
    pub fn api(namespace: &'a Namespace) -> Self {
        Self::new(namespace, "github-gists-api")
    }

    /// Its pods, including those that are being deleted.
    ///
    /// # Panics
    /// If kubectl fails.
    #[track_caller]
    #[must_use]
    pub fn pods(&self) -> Vec<Pod> {
        pods(self.namespace.name(), &format!("app={}", self.name)).unwrap_or_else(|refusal| fail(refusal))
    }

    /// Its pods that are Ready.
    ///
    /// # Panics
    /// If kubectl fails.
    #[track_caller]
    #[must_use]
    pub fn ready_pods(&self) -> Vec<Pod> {
        self.pods().into_iter().filter(Pod::ready).collect()
    }

    /// The object of the API.
    ///
    /// # Errors
    /// kubectl's error.
    pub fn object(&self) -> Result<Value, String> {
        self.namespace.kubectl(["get", "deployment", self.name]).json()
    }

    /// Waits until all replicas have the last revision and are available, and no other pod is left. Returns the pods.
    ///
    /// # Panics
    /// If that does not happen in time, or a pod cannot start.
    #[track_caller]
    #[must_use]
    pub fn ready(&self) -> Vec<Pod> {
        self.ready_within(LONG)
    }

    /// As [`Deployment::ready`], with another time limit.
    ///
    /// # Panics
    /// If that does not happen in time, or a pod cannot start.
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
                    if hopeless.get() >= MAX_FAILED_CHECKS {
                        fail(reason);
                    }
                }
                Err(format!("wanted {wanted}; updated {updated}, available {available}, in all {all}"))
            },
        )
    }

    /// Sets the number of replicas.
    ///
    /// # Panics
    /// If kubectl fails.
    #[track_caller]
    pub fn scale(&self, replicas: usize) {
        let replicas = format!("--replicas={replicas}");
        self.namespace.kubectl(["scale", "deployment", self.name, &replicas]).must();
    }

    /// Starts a rolling restart.
    ///
    /// # Panics
    /// If kubectl fails.
    #[track_caller]
    pub fn restart(&self) {
        self.namespace.kubectl(["rollout", "restart", "deployment", self.name]).must();
    }
}
