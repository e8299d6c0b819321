//! What the tests of the gists API share: a fake GitHub that can be told how to misbehave, and the real component in the real host.

pub mod fake;
mod service;

pub use service::{Instances, Service, TIMEOUT, component, fake, manifest, options};
