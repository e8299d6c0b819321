//! Stores in Redis. Each thread has one connection to each store, and each operation has limits of time and size.
//!
//! ```text
//! RedisStore ─▶ Cache: what this thread has read and Redis has not invalidated ─▶ an answer at once
//!      │
//!      └──────▶ ThreadClient: commands over the connection, within limits ─▶ ReplyLimit ─▶ Redis
//!                  ▲ Up, Connecting, Down (why)
//!               Supervisor: connects, drives the connection until it breaks, connects again after growing pauses
//! ```
//!
//! When Redis fails, the guest gets an error within the time limits, and metrics show it. The host's readiness does not depend on
//! Redis. Each write renews the key's time to live: Redis deletes what a process left behind when it died.

mod address;
mod cache;
mod client;
mod commands;
mod config;
mod connect;
mod reply_limit;
mod shared;
mod stats;
mod store;
mod supervisor;
mod tls;

pub use address::{InvalidAddress, RedisAddress};
pub use config::RedisConfig;
pub(super) use reply_limit::MAX_ALL_BYTES;
pub use store::RedisStore;
