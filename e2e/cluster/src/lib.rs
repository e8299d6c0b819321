//! What the cluster tests stand on: kubectl, namespaces that clean up after themselves, HTTP through the gateway, load, a fake
//! GitHub in the cluster, figures. Any cluster that `KUBECONFIG` names will do; `make test-cluster` runs the tests.
//!
//! It serves tests alone: what cannot go on panics, and says what it was about.

mod cluster;
mod eventually;
mod fake;
mod figures;
mod gateway;
pub mod http;
mod kubectl;
mod kustomize;
mod load;
mod metrics;
mod namespace;
mod node;
mod pods;
mod watch;
mod workload;

use std::fmt::Display;
use std::path::{Path, PathBuf};

pub(crate) use cluster::tag;
pub use cluster::{Cluster, image};
pub use e2e::fake::{Answer, Call, Delivery};
pub use e2e::harness::{Sample, Samples};
pub use eventually::{LONG, SHORT, eventually, eventually_within};
pub use fake::Fake;
pub use figures::{figure, milliseconds, percentile};
pub use gateway::Gateway;
pub use kubectl::{Kubectl, kubectl};
pub use kustomize::Kustomization;
pub use load::{Load, Tally, burst};
pub use metrics::scrape;
pub use namespace::Namespace;
pub use node::Node;
pub use pods::{Container, Pod, pods};
pub use watch::{Milestones, PodWatch};
pub use workload::Deployment;

/// The repository.
#[must_use]
pub fn workspace() -> PathBuf {
    e2e::harness::workspace()
}

/// Where the tests put what they write: rendered manifests, figures, what a failure left.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn output() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    made(&workspace().join(target).join("cluster"))
}

/// The directory, made where it lacks, without symbolic links in its path.
pub(crate) fn made(directory: &Path) -> PathBuf {
    let made = std::fs::create_dir_all(directory).and_then(|()| directory.canonicalize());
    made.unwrap_or_else(|error| fail(format!("{}: {error}", directory.display())))
}

/// Ends the test.
///
/// # Panics
/// Always: that is how a test fails.
#[track_caller]
#[expect(clippy::panic, reason = "how a test fails")]
pub fn fail(message: impl Display) -> ! {
    panic!("{message}")
}
