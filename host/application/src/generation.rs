//! One state of the application.

use std::sync::Arc;

use wasi_http_host_egress::Policy;
use wasi_http_host_manifest::{Component, Manifest, Mount, Resolved};
use wasi_http_host_outbound as outbound;
use wasi_http_host_runtime::{Admission, ComponentMetrics, GuestOutput, Linked};

use super::bounds::Bounds;

/// One state of the application: it is served whole, or replaced.
#[derive(Default)]
pub struct Generation {
    pub(super) manifest: Manifest,
    /// In the manifest's order, which its routes count in.
    pub(super) deployments: Vec<Arc<Deployment>>,
}

/// A component with all that its instances are to have, on whatever thread.
pub struct Deployment {
    /// The component's ID.
    pub name: Arc<str>,
    /// What is counted of it, over all generations.
    pub metrics: Arc<ComponentMetrics>,
    /// The places that its requests have in the process.
    pub admission: Arc<Admission>,
    /// The host's flags, and its manifest where that is stricter.
    pub bounds: Bounds,
    /// What is counted of its outbound requests.
    pub outbound_stats: Arc<outbound::Stats>,
    pub(super) code: Code,
    /// As the manifest has it.
    pub(super) component: Component,
    pub(super) resolved: Resolved,
    pub(super) stores: Vec<String>,
    pub(super) policy: Arc<Policy>,
    pub(super) mounts: Arc<[Mount]>,
    pub(super) environment: Arc<[(String, String)]>,
    pub(super) output: Arc<GuestOutput>,
}

/// A component's code, ready to be instantiated.
#[derive(Clone)]
pub(super) struct Code {
    /// Of the binary.
    pub(super) digest: [u8; 32],
    /// It is linked for stores of which one is remote.
    pub(super) remote: bool,
    pub(super) linked: Arc<Linked>,
}

impl Generation {
    /// Its components, in the manifest's order.
    #[must_use]
    pub fn deployments(&self) -> &[Arc<Deployment>] {
        &self.deployments
    }

    /// The component of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Deployment>> {
        self.deployments.iter().find(|deployment| *deployment.name == *name)
    }
}

impl Deployment {
    /// Whether instances of `self` are what those of the other would be.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.code.digest == other.code.digest
            && self.component == other.component
            && self.resolved == other.resolved
    }
}
