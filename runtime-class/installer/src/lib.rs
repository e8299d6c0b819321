//! Puts the containerd shim `wasi-http` on a node, and takes it off again.
//!
//! What may change on a node is planned first, from what is there ([`plan`]), and made then ([`change`]): a node that is
//! not understood stays untouched, and one whose containerd does not start again gets its configuration back.

pub mod change;
pub mod command;
pub mod configuration;
pub mod distribution;
pub mod error;
pub mod install;
pub mod label;
pub mod node;
pub mod plan;
pub mod runtime;
pub mod shims;
mod template;
