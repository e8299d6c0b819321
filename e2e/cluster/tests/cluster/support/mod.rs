//! What the tests of ingress and mesh share.

mod envoy;
mod fault;
mod jwt;
mod site;

pub(crate) use envoy::{hosts, proxy};
pub(crate) use fault::FaultPod;
pub(crate) use jwt::Issuer;
pub(crate) use site::{Site, tls_secret};
