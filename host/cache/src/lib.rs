//! A shared HTTP cache (RFC 9111): what may be stored, what may be reused, and the store, which is bounded in bytes.
//!
//! ```text
//! request ─▶ Space::ask ─┬▶ Answer                            the cache answers
//!                        ├▶ Refresh: an answer, and a Fetch   the cache answers; the host asks the component later
//!                        ├▶ Wait: a Flight                    another request is in flight: wait, and ask again
//!                        └▶ Fetch ─▶ the component ─▶ Fetch::received ─┬▶ Pass
//!                                                                      ├▶ Answer (a 304 of the component, or an error)
//!                                                                      └▶ Fill: the body goes through a Filling into the store
//! ```
//!
//! The crate has no sockets and no clock: the caller passes the time. A [`Space`] is one component's part of the store. A
//! response of one component never answers a request to another one.

mod ask;
mod asked;
mod budget;
mod cache;
pub mod conditional;
mod config;
pub mod date;
pub mod directives;
mod entry;
mod eviction;
mod fetch;
mod filling;
mod flight;
pub mod freshness;
pub mod groups;
mod key;
mod metrics;
mod purge;
pub mod range;
mod received;
mod shard;
mod space;
mod state;
pub mod status;
mod storable;
mod store;
pub mod targeted;
pub mod vary;

pub use ask::Ask;
pub use asked::Asked;
pub use cache::{Cache, Statistics};
pub use config::CacheConfig;
pub use entry::Answer;
pub use fetch::Fetch;
pub use filling::Filling;
pub use flight::{Flight, Turn};
pub use metrics::{Outcome, OutcomeCounters};
pub use purge::Purge;
pub use received::Received;
pub use space::Space;
pub use state::Settings;

#[cfg(test)]
mod tests;
