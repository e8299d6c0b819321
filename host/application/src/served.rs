//! The application as one thread serves it.

use std::sync::{Arc, Mutex};

use wasi_http_host_core::lock;
use wasi_http_host_outbound as outbound;
use wasi_http_host_runtime::{Dispatch, WorkerMetrics};

use super::{Deployment, Generation};

/// What a thread serves now.
#[derive(Default)]
pub struct Current(Mutex<Arc<ThreadApplication>>);

impl Current {
    /// What is served at this moment.
    #[must_use]
    pub fn get(&self) -> Arc<ThreadApplication> {
        lock(&self.0).clone()
    }

    /// The component that a request for `path` is for.
    pub fn find(&self, path: &str) -> Option<Arc<Served>> {
        lock(&self.0).find(path).cloned()
    }

    /// Serves `application` from the next request on.
    pub fn set(&self, application: Arc<ThreadApplication>) {
        let before = std::mem::replace(&mut *lock(&self.0), application);
        // Not under the lock: it may be the last of its kind.
        drop(before);
    }
}

/// All components as one thread serves them. Requests find theirs here.
#[derive(Default)]
pub struct ThreadApplication {
    pub(super) generation: Arc<Generation>,
    pub(super) served: Vec<Arc<Served>>,
}

/// A component as one thread serves it.
pub struct Served {
    /// What it has on all threads.
    pub deployment: Arc<Deployment>,
    /// Its queue and instances on this thread.
    pub dispatch: Arc<Dispatch>,
    /// What is counted of its requests on this thread.
    pub metrics: Arc<WorkerMetrics>,
    /// Its connections live on the thread.
    pub(super) outbound: outbound::Client,
}

impl ThreadApplication {
    /// The component that a request for `path` is for.
    pub fn find(&self, path: &str) -> Option<&Arc<Served>> {
        let (_, component) = self.generation.manifest.routes.find(path)?;
        self.served.get(component)
    }

    /// The route that it takes, as the manifest has it.
    pub fn route(&self, path: &str) -> Option<String> {
        self.generation.manifest.routes.find(path).map(|(route, _)| route.to_string())
    }

    /// The component of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Served>> {
        self.served.iter().find(|served| *served.deployment.name == *name)
    }

    /// The state that it serves.
    #[must_use]
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Its components, in the manifest's order.
    #[must_use]
    pub fn served(&self) -> &[Arc<Served>] {
        &self.served
    }

    /// The component that the host asks for `path` on its own behalf: the only one, or the one that is routed there.
    pub fn asked(&self, path: &str) -> Option<&Arc<Served>> {
        match &*self.served {
            [only] => Some(only),
            _ => self.find(path),
        }
    }
}

impl Served {
    /// Whether it may ask other components.
    pub fn chains(&self) -> bool {
        self.deployment.policy.chains()
    }
}
