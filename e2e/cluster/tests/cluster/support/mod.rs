//! What the tests of ingress, mesh and services share, and an image registry.

mod client;
mod envoy;
mod fault;
mod jwt;
mod kyverno;
pub(crate) mod layouts;
mod registry;
mod release;
mod services;
mod site;

pub(crate) use client::{ask, client, client_as};
pub(crate) use envoy::{hosts, proxy};
pub(crate) use fault::FaultPod;
pub(crate) use jwt::Issuer;
pub(crate) use kyverno::Kyverno;
pub(crate) use registry::Registry;
pub(crate) use release::Release;
pub(crate) use services::{answered, authorize_gateway, expose, let_gateway_in, local};
pub(crate) use site::{Site, tls_secret, to_the_fake};
