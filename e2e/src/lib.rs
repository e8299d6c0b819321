//! What the tests of components share: the real component in the real host, and a fake GitHub that can be told how to misbehave.

pub mod fake;
pub mod imports;
mod service;

pub use service::{Instances, Service, TIMEOUT, component, fake, manifest, options, serving, system};
