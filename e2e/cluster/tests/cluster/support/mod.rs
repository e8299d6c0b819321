//! What the tests of ingress and mesh share, and an image registry.

mod envoy;
mod fault;
mod jwt;
mod registry;
mod site;

pub(crate) use envoy::{hosts, proxy};
pub(crate) use fault::FaultPod;
pub(crate) use jwt::Issuer;
pub(crate) use registry::Registry;
pub(crate) use site::{Site, tls_secret};
