//! Key-value stores of components, by name: in the process's memory, and in Redis.
//!
//! ```text
//! Stores (process: name → store) ── grant(manifest's key_value_stores) ─▶ Access (component) ─▶ Backend (bucket)
//! ```
//!
//! A [`Store`] answers from the process's own memory, and never waits. A [`RemoteStore`] has to wait for a network, and with
//! it the whole instance that asks. How instances reach both, by `wasi:keyvalue@0.2.0-draft2`, is the runtime's affair.

mod access;
mod backend;
mod config;
mod error;
mod memory;
mod metrics;
mod redis;
mod remote;
mod span;
mod stats;
mod store;
mod window;

pub use self::redis::{
    CacheTotals, ClientCertificate, Failure, InvalidAddress, Password, RedisAddress, RedisSettings,
    RedisStore, RemoteSnapshot, RemoteStats,
};
pub use access::{Access, Stores, UnknownStore};
pub use backend::Backend;
pub use config::{KeyValueConfig, StoreSetting};
pub use error::Error;
pub use memory::{MemoryStore, PAGE_KEYS, Usage};
pub use metrics::{expose_memory, expose_operations, expose_remote};
pub use remote::{Answer, RemoteStore};
pub use span::KeyValueSpan;
pub use stats::{LATENCY_SAMPLE, Operation, OperationSnapshot, Stats};
pub use store::{KeyPage, Snapshot, Store, Swap};

/// Longest key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 << 20;
