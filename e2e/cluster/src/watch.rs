//! When a pod got how far, to the millisecond: the API's own timestamps know seconds only.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Deserializer, Value};

use crate::kubectl::Kubectl;
use crate::{Namespace, Pod, eventually_within, fail};

/// Looks at the pods of a namespace that a selector matches, from when it is made.
pub struct PodWatch {
    kubectl: Child,
    reader: Option<JoinHandle<()>>,
    seen: Arc<Mutex<BTreeMap<String, Milestones>>>,
}

/// When a pod was first seen, and first seen so.
#[derive(Debug, Clone, Copy)]
pub struct Milestones {
    /// It exists.
    pub created: Instant,
    /// All its containers run.
    pub running: Option<Instant>,
    /// It is Ready.
    pub ready: Option<Instant>,
}

impl Milestones {
    /// From its making to Ready.
    #[must_use]
    pub fn to_ready(&self) -> Option<Duration> {
        self.ready.map(|ready| ready - self.created)
    }

    /// From its making to all its containers running.
    #[must_use]
    pub fn to_running(&self) -> Option<Duration> {
        self.running.map(|running| running - self.created)
    }
}

impl PodWatch {
    /// Begins to look.
    ///
    /// # Panics
    /// When kubectl cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(namespace: &Namespace, selector: &str) -> Self {
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

    /// Waits until so many pods were seen Ready; gives their milestones in the order of their making.
    ///
    /// # Panics
    /// When there are fewer within `limit`.
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
        // It may have ended by itself.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
