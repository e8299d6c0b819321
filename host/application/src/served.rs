//! The application as one thread serves it.

use std::sync::{Arc, Mutex};

use wasi_http_host_core::lock;
use wasi_http_host_outbound as outbound;
use wasi_http_host_runtime::{Dispatch, WorkerMetrics};

use super::{Deployment, Generation};

/// The application that a thread serves now. A reload replaces it.
#[derive(Default)]
pub struct Current(Mutex<Arc<ThreadApplication>>);

impl Current {
    /// The application at this moment.
    #[must_use]
    pub fn get(&self) -> Arc<ThreadApplication> {
        lock(&self.0).clone()
    }

    /// The component for a request to `path`. `None` if no route matches.
    pub fn find(&self, path: &str) -> Option<Arc<Served>> {
        lock(&self.0).find(path).cloned()
    }

    /// Replaces the application. The next request uses `application`.
    pub fn set(&self, application: Arc<ThreadApplication>) {
        let before = std::mem::replace(&mut *lock(&self.0), application);
        // Drop outside the lock: this may be the last reference.
        drop(before);
    }
}

/// All components as one thread serves them.
#[derive(Default)]
pub struct ThreadApplication {
    pub(super) generation: Arc<Generation>,
    pub(super) served: Vec<Arc<Served>>,
}

/// A component as one thread serves it.
pub struct Served {
    /// The part of the component that all threads share.
    pub deployment: Arc<Deployment>,
    /// The component's queue and instances on this thread.
    pub dispatch: Arc<Dispatch>,
    /// Counts the component's requests on this thread.
    pub metrics: Arc<WorkerMetrics>,
    /// The component's outbound client, whose connections belong to this thread.
    pub(super) outbound: outbound::Client,
}

impl ThreadApplication {
    /// The component for a request to `path`. `None` if no route matches.
    pub fn find(&self, path: &str) -> Option<&Arc<Served>> {
        let (_, component) = self.generation.manifest.routes.find(path)?;
        self.served.get(component)
    }

    /// The route that `path` takes, as the manifest writes it.
    pub fn route(&self, path: &str) -> Option<String> {
        self.generation.manifest.routes.find(path).map(|(route, _)| route.to_string())
    }

    /// The component with this ID.
    pub fn named(&self, name: &str) -> Option<&Arc<Served>> {
        self.served.iter().find(|served| *served.deployment.name == *name)
    }

    /// The generation that this thread serves.
    #[must_use]
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// The components, in the manifest's order.
    #[must_use]
    pub fn served(&self) -> &[Arc<Served>] {
        &self.served
    }

    /// The component for the host's own request to `path`: the only component, or the one that the routes select.
    pub fn component_for(&self, path: &str) -> Option<&Arc<Served>> {
        match &*self.served {
            [only] => Some(only),
            _ => self.find(path),
        }
    }
}

impl Served {
    /// Whether the component may call other components.
    pub fn chains(&self) -> bool {
        self.deployment.policy.chains()
    }
}
