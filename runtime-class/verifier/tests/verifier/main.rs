//! The verifier with policies in directories, bundles of its own making, and a fake registry. The real registry, cosign and containerd are
//! part of the cluster tests (`e2e/cluster/tests/cluster/signatures.rs`).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod bundles;
mod policies;
mod program;
mod pulls;
mod registry;
mod signing;
