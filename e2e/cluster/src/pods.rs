//! Pods and their containers, from the API.

use serde_json::Value;

use crate::kubectl;

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// The object of the API.
    pub object: Value,
}

/// A container's status.
#[derive(Debug, Clone)]
pub struct Container {
    /// The name.
    pub name: String,
    /// The number of restarts.
    pub restarts: u64,
    /// Whether its readiness probe succeeds.
    pub ready: bool,
    /// The object of the API.
    pub status: Value,
}

/// The pods of a namespace that a selector such as `app=github-gists-api` matches, those that are being deleted included.
///
/// # Errors
/// kubectl's error.
pub fn pods(namespace: &str, selector: &str) -> Result<Vec<Pod>, String> {
    let mut list = kubectl(["-n", namespace, "get", "pods", "-l", selector]).json()?;
    let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    Ok(items.into_iter().map(Pod::from).collect())
}

impl From<Value> for Pod {
    fn from(object: Value) -> Self {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { name: text("/metadata/name"), namespace: text("/metadata/namespace"), object }
    }
}

impl Pod {
    /// A text of the object, by JSON pointer; empty if there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The UID, which is a part of the names of the pod's cgroups.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn deleting(&self) -> bool {
        self.object.pointer("/metadata/deletionTimestamp").is_some()
    }

    /// Whether it is Ready, and not being deleted.
    #[must_use]
    pub fn ready(&self) -> bool {
        !self.deleting() && self.condition("Ready")
    }

    /// Whether a condition holds.
    #[must_use]
    pub fn condition(&self, kind: &str) -> bool {
        let conditions = self.object.pointer("/status/conditions").and_then(Value::as_array);
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["status"] == "True"))
    }

    /// The statuses of its containers without init containers.
    #[must_use]
    pub fn containers(&self) -> Vec<Container> {
        self.statuses("/status/containerStatuses").collect()
    }

    /// The status of the container with this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<Container> {
        self.statuses("/status/containerStatuses").find(|container| container.name == name)
    }

    /// The restarts of all its containers.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.containers().iter().map(|container| container.restarts).sum()
    }

    /// Why the pod cannot start, if that is so: no image, a refused configuration, or repeated crashes.
    #[must_use]
    pub fn hopeless(&self) -> Option<String> {
        const REASONS: [&str; 8] = [
            "ErrImageNeverPull",
            "ErrImagePull",
            "ImagePullBackOff",
            "InvalidImageName",
            "CreateContainerConfigError",
            "CreateContainerError",
            "RunContainerError",
            "CrashLoopBackOff",
        ];
        let all =
            self.statuses("/status/containerStatuses").chain(self.statuses("/status/initContainerStatuses"));
        all.filter(|container| {
            container.restarts >= 3 || !container.has("/state/waiting", "CrashLoopBackOff")
        })
        .filter_map(|container| {
            let waiting = container.status.pointer("/state/waiting")?;
            let reason = waiting["reason"].as_str().filter(|reason| REASONS.contains(reason))?;
            let message = waiting["message"].as_str().unwrap_or_default();
            let image = container.status.get("image").and_then(Value::as_str).unwrap_or_default();
            Some(format!(
                "pod {}/{}: container {} ({image}): {reason}: {message}",
                self.namespace, self.name, container.name
            ))
        })
        .next()
    }

    fn statuses<'a>(&'a self, pointer: &str) -> impl Iterator<Item = Container> + use<'a> {
        self.object.pointer(pointer).and_then(Value::as_array).into_iter().flatten().map(|status| Container {
            name: status["name"].as_str().unwrap_or_default().to_owned(),
            restarts: status["restartCount"].as_u64().unwrap_or_default(),
            ready: status["ready"].as_bool().unwrap_or_default(),
            status: status.clone(),
        })
    }
}

impl Container {
    /// Whether the state at this pointer has this reason.
    #[must_use]
    pub fn has(&self, state: &str, reason: &str) -> bool {
        self.status.pointer(state).is_some_and(|state| state["reason"] == reason)
    }

    /// Whether the container is in this state: `running`, `waiting` or `terminated`.
    #[must_use]
    pub fn has_state(&self, state: &str) -> bool {
        self.status.pointer(&format!("/state/{state}")).is_some()
    }

    /// The exit code of the ended container, or of its last run.
    #[must_use]
    pub fn exit_code(&self) -> Option<i64> {
        ["/state/terminated/exitCode", "/lastState/terminated/exitCode"]
            .iter()
            .find_map(|pointer| self.status.pointer(pointer).and_then(Value::as_i64))
    }
}
