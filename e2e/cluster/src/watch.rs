//! The start of pods in milliseconds: the API's timestamps have a resolution of a second.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Deserializer, Value};

use crate::kubectl::Kubectl;
use crate::{Access, Namespace, Pod, eventually_within, fail};

/// Watches the pods of a namespace that a selector matches.
pub struct PodWatch {
    kubectl: Child,
    reader: Option<JoinHandle<()>>,
    seen: Arc<Mutex<BTreeMap<String, Milestones>>>,
}

/// When the watch first saw a pod, and first saw it in each state.
#[derive(Debug, Clone, Copy)]
pub struct Milestones {
    /// The pod exists.
    pub created: Instant,
    /// All containers run.
    pub running: Option<Instant>,
    /// The pod is Ready.
    pub ready: Option<Instant>,
}

impl Milestones {
    /// The time from its creation to Ready.
    #[must_use]
    pub fn to_ready(&self) -> Option<Duration> {
        self.ready.map(|ready| ready - self.created)
    }

    /// The time from its creation until all containers run.
    #[must_use]
    pub fn to_running(&self) -> Option<Duration> {
        self.running.map(|running| running - self.created)
    }
}

impl PodWatch {
    /// Starts the watch.
    ///
    /// # Panics
    /// If the test has no exclusive [`Access`], or kubectl does not start.
    #[track_caller]
    #[must_use]
    pub fn start(namespace: &Namespace, selector: &str) -> Self {
        Access::require_exclusive("a measurement");
        let arguments = ["-n", namespace.name(), "get", "pods", "-l", selector, "--watch", "-o", "json"];
        let mut kubectl = Kubectl::command(&arguments)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap_or_else(|error| fail(format!("kubectl: {error}")));
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let reader = kubectl.stdout.take().map(|output| {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                for object in Deserializer::from_reader(std::io::BufReader::new(output)).into_iter::<Value>()
                {
                    let Ok(object) = object else { return };
                    note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), &Pod::from(object));
                }
            })
        });
        Self { kubectl, reader, seen }
    }

    /// Waits until this number of pods has been Ready; returns their milestones in the order of creation.
    ///
    /// # Panics
    /// If there are fewer within `limit`.
    #[track_caller]
    #[must_use]
    pub fn ready(&self, count: usize, limit: Duration) -> Vec<Milestones> {
        eventually_within(limit, &format!("{count} pods are seen Ready"), || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let mut ready: Vec<_> = seen.values().filter(|pod| pod.ready.is_some()).copied().collect();
            ready.sort_by_key(|pod| pod.created);
            if ready.len() >= count { Ok(ready) } else { Err(format!("{} of {}", ready.len(), seen.len())) }
        })
    }
}

fn note(seen: &mut BTreeMap<String, Milestones>, pod: &Pod) {
    let now = Instant::now();
    let milestones =
        seen.entry(pod.uid().to_owned()).or_insert(Milestones { created: now, running: None, ready: None });
    let containers = pod.containers();
    let runs = |container: &crate::Container| container.status.pointer("/state/running").is_some();
    if !containers.is_empty() && containers.iter().all(runs) {
        milestones.running.get_or_insert(now);
    }
    if pod.ready() {
        milestones.ready.get_or_insert(now);
    }
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        // kubectl may have ended by itself.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
