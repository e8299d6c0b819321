//! Installs the containerd shim `wasi-http` on a node, and removes it.
//!
//! [`plan`] computes the changes from the node's files, and [`change`] applies them. Therefore:
//!
//! - a node with a configuration that the installer does not know stays unchanged;
//! - if containerd does not restart with the new configuration, the installer restores the old one;
//! - removal restores the configuration byte for byte, unless somebody else changed it in between.

pub mod change;
pub mod command;
pub mod configuration;
pub mod containerd;
pub mod distribution;
pub mod error;
pub mod install;
pub mod label;
pub mod node;
pub mod plan;
mod process;
pub mod runtime;
pub mod shims;
mod template;
