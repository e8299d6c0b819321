//! Installs the containerd shim `wasi-http` on a node, and removes it.
//!
//! [`plan`] computes the changes from the node's files, and [`change`] applies them. Therefore:
//!
//! - a node with a configuration that the installer does not know stays unchanged;
//! - one node changes at a time ([`lease`]), and a node is labelled when it has run a pod of the class;
//! - if containerd does not restart with the new configuration, the installer restores the old one;
//! - removal restores the configuration byte for byte, unless somebody else changed it in between.

pub mod api;
pub mod change;
pub mod cluster;
pub mod command;
pub mod configuration;
pub mod containerd;
pub mod distribution;
pub mod error;
pub mod exporter;
pub mod install;
mod json;
mod label;
pub mod lease;
pub mod node;
mod os;
pub mod plan;
mod process;
mod proof;
pub mod runtime;
mod selinux;
pub mod shims;
mod template;
mod time;
mod verification;
pub mod watch;
