//! One state of the application.

use std::sync::Arc;

use wasi_http_host_cache::Space;
use wasi_http_host_egress::Policy;
use wasi_http_host_manifest::{Component, Manifest, Mount, Resolved};
use wasi_http_host_outbound as outbound;
use wasi_http_host_runtime::{Admission, ComponentMetrics, GuestOutput, Linked, OpenFiles};

use super::bounds::Bounds;

/// One state of the application. The host replaces a generation as a whole
/// (`docs/decisions/0034-an-application-is-replaced-whole.md`).
#[derive(Default)]
pub struct Generation {
    pub(super) manifest: Manifest,
    /// In the manifest's order. The routes refer to components by this order.
    pub(super) deployments: Vec<Arc<Deployment>>,
}

/// A component with everything that its instances share on all threads.
pub struct Deployment {
    /// The component's ID.
    pub name: Arc<str>,
    /// The component's metrics, over all generations.
    pub metrics: Arc<ComponentMetrics>,
    /// The component's admission, for the whole process.
    pub admission: Arc<Admission>,
    /// The component's limits: the host's flags, or the manifest's values where they are stricter.
    pub bounds: Bounds,
    /// Counts the component's outbound requests.
    pub outbound_stats: Arc<outbound::Stats>,
    /// The deployment's part of the response cache, which begins empty. `None`: the host has no cache, or the manifest says no.
    pub space: Option<Arc<Space>>,
    pub(super) code: Code,
    /// The component's section of the manifest.
    pub(super) component: Component,
    pub(super) resolved: Resolved,
    pub(super) stores: Vec<String>,
    pub(super) policy: Arc<Policy>,
    pub(super) mounts: Arc<[Mount]>,
    pub(super) files: Arc<OpenFiles>,
    pub(super) environment: Arc<[(String, String)]>,
    pub(super) output: Arc<GuestOutput>,
}

/// A component's code, linked and ready for instantiation.
#[derive(Clone)]
pub(super) struct Code {
    /// The SHA-256 of the binary.
    pub(super) digest: [u8; 32],
    /// Whether the code is linked for stores of which at least one is remote.
    pub(super) remote: bool,
    pub(super) linked: Arc<Linked>,
}

impl Generation {
    /// The components, in the manifest's order.
    #[must_use]
    pub fn deployments(&self) -> &[Arc<Deployment>] {
        &self.deployments
    }

    /// The component with this ID.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Deployment>> {
        self.deployments.iter().find(|deployment| *deployment.name == *name)
    }
}

impl Deployment {
    /// The most bytes that the component's instances take on this many threads.
    #[must_use]
    pub fn most_instance_bytes(&self, threads: usize) -> u64 {
        let linked = &self.code.linked;
        let instances = self.bounds.shared_instances(threads, linked.footprint().shares());
        let each = linked.most_instance_bytes(self.bounds.max_memory.as_usize());
        each.saturating_mul(u64::try_from(instances).unwrap_or(u64::MAX))
    }

    /// Whether instances of both deployments would be the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.code.digest == other.code.digest
            && self.component == other.component
            && self.resolved == other.resolved
    }
}
