//! What the cluster tests share: kubectl, namespaces that delete themselves, the gateway, load, a fake GitHub in the cluster, figures.
//! The tests run on each cluster that `KUBECONFIG` names: `make test-cluster`.
//!
//! A function that cannot go on panics and says why.

mod access;
mod cluster;
mod eventually;
mod fake;
mod figures;
mod gateway;
mod images;
mod kubectl;
mod kustomize;
mod load;
mod metrics;
mod namespace;
mod node;
mod overlay;
mod pods;
mod profile;
mod watch;
mod workload;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use testkit::paths;

pub use access::Access;
pub use cluster::Cluster;
pub use e2e::fake::{Call, Delivery, ScriptedResponse};
pub use eventually::{LONG, SHORT, eventually, eventually_within};
pub use fake::Fake;
pub use figures::{figure, milliseconds, percentile};
pub use gateway::{Gateway, await_route};
pub use images::image;
pub(crate) use images::tag;
pub use kubectl::{Kubectl, kubectl};
pub use kustomize::Kustomization;
pub use load::{Load, Tally, burst};
pub use metrics::scrape;
pub use namespace::Namespace;
pub use node::{Node, NodeState};
pub use pods::{Container, Pod, pods};
pub use profile::Profile;
pub use watch::{Milestones, PodWatch};
pub use workload::Deployment;

/// The directory for rendered manifests, figures, and the state behind a failure.
///
/// # Panics
/// If it cannot be created.
#[must_use]
pub fn output() -> PathBuf {
    made(&paths::target().join("cluster"))
}

/// Creates the directory if it does not exist; returns its path without symbolic links.
pub(crate) fn made(directory: &Path) -> PathBuf {
    let made = std::fs::create_dir_all(directory).and_then(|()| directory.canonicalize());
    made.unwrap_or_else(|error| fail(format!("{}: {error}", directory.display())))
}

/// Fails the test with this message.
///
/// # Panics
/// Always.
#[track_caller]
#[expect(clippy::panic, reason = "how a test fails")]
pub fn fail(message: impl Display) -> ! {
    panic!("{message}")
}
