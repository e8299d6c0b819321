//! Outbound HTTP: one policy, one client, no way around them.
//!
//! ```text
//! guest ─▶ Hooks ─▶ Client::send ─▶ Policy::decide (scheme, host, port against the allow-list)
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

mod address;
mod allow;
mod body;
mod client;
mod direct;
mod error;
mod hooks;
mod policy;
mod proxy;
mod resolve;
mod stats;
mod target;
mod tls;
mod transport;

pub use address::Reach;
pub(crate) use allow::COMPONENTS;
pub(crate) use allow::without_password;
pub use allow::{AllowList, InvalidEntry};
pub use client::{Client, Limits, Outbound, OutboundSettings};
pub(crate) use direct::Direct;
pub(crate) use error::Failure;
pub use hooks::Hooks;
pub use policy::{Allowed, Denied, Policy, Prohibited};
pub use proxy::{InvalidProxy, Proxies};
pub use resolve::{Resolve, Resolving, SystemResolver};
pub use stats::{EntrySnapshot, Outcome, Stats};
pub use target::{InvalidTarget, Scheme, Target};
pub use tls::RootsError;
pub(crate) use tls::Tls;

#[cfg(test)]
mod tests;
