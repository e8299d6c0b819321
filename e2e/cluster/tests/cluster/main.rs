//! What the cluster must show, asked of a real one: one file a subject. Run by `make test-cluster`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod backup;
mod canary;
mod churn;
mod density;
mod deploy;
mod egress;
mod gateway_api;
mod harness;
mod helm;
mod ingress;
mod installer;
mod mesh;
mod network_policy;
mod policy;
mod production;
mod prometheus;
mod pull;
mod redis;
mod rollout;
mod runtime;
mod scaling;
mod services;
mod signatures;
mod start_errors;
mod support;
mod upgrade;
