//! Outbound HTTP: one policy, one client, no way around them.
//!
//! ```text
//! guest ─▶ Client::send ─▶ Policy::decide (scheme, host, port against the allow-list)
//!                        │
//!                        ▼ pool (one a Client)      the addresses that a name resolves to
//!                    Transport ─▶ resolve ─▶ Policy::permits ─▶ TCP ─▶ (CONNECT) ─▶ TLS
//! ```
//!
//! [`Outbound`] holds what the process shares: limits, concurrency, TLS roots and sessions, the resolver. A
//! [`Client`] belongs to one component, because a pooled connection was opened under that component's policy, and
//! to one runtime, because the task that drives a connection lives on the runtime that opened it: with a runtime a
//! core, a client a core never waits for another core to be woken. Redirects are never followed here: a guest
//! that does so asks again, under the policy.

mod body;
mod client;
mod config;
mod direct;
mod error;
mod headers;
mod metrics;
mod shared;
mod span;
mod stats;
mod transport;

pub use client::Client;
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
