//! Outbound HTTP. All requests of components go through one client under one policy.
//!
//! ```text
//! guest ─▶ Client::send ─▶ Policy::decide (scheme, host, port against the allow-list)
//!                        │
//!                        ▼ pool (one a Client)      the addresses that a name resolves to
//!                    Transport ─▶ resolve ─▶ Policy::permits ─▶ TCP ─▶ (CONNECT) ─▶ TLS
//! ```
//!
//! [`Outbound`] holds what the process shares: limits, concurrency, TLS root certificates, certificates and sessions,
//! and the resolver.
//!
//! A [`Client`] belongs to one component, because a pooled connection was opened under that component's policy. A
//! [`Client`] also belongs to one runtime, because the task that drives a connection runs on the runtime that
//! opened it. Each core has one runtime and so one client, and never waits for another core to wake up.
//!
//! The client does not follow redirects. A guest that follows a redirect sends a new request, which the policy
//! checks again.

mod body;
mod ceiling;
mod client;
mod config;
mod direct;
mod error;
mod headers;
mod metrics;
mod places;
mod shared;
mod span;
mod stats;
mod transport;

pub use ceiling::CidrCeiling;
pub use client::{Client, on_interim};
pub use config::OutboundConfig;
pub use direct::Direct;
pub use error::Failure;
pub use headers::is_forbidden;
pub use metrics::expose;
pub use shared::{Limits, Outbound, OutboundSettings};
pub use span::ClientSpan;
pub use stats::{EntrySnapshot, Outcome, Stats};

#[cfg(test)]
mod tests;
