//! Key-value stores of components.
//!
//! ```text
//! KeyValueConfig ── open, by the URL's scheme ─▶ Stores (of the process, by name)
//!                                                  │ on (a thread)
//!                                                  └─ grant (the manifest's key_value_stores) ─▶ Access (of a component) ─▶ Store
//! ```
//!
//! All stores implement one trait, [`Store`]. Its operations answer at once when they can, and later when another process has to be
//! asked. The runtime links `wasi:keyvalue@0.2.0-draft2` to them. The kinds of stores are listed in `stores/mod.rs`.

mod access;
mod error;
mod metrics;
mod scope;
mod span;
mod stats;
mod store;
mod stores;

pub use access::{Access, Stores, UnknownStore};
pub use error::Error;
pub use metrics::{Samples, expose_operations};
pub use scope::DefaultScope;
pub use span::KeyValueSpan;
pub use stats::{LATENCY_SAMPLE, Operation, OperationSnapshot, Running, Stats};
pub use store::{Answer, AnswerFuture, KeyPage, PAGE_KEYS, Snapshot, Store, Swap};
pub use stores::{
    FileSync, InvalidAddress, KeyValueConfig, MemoryStore, OpenError, RedisAddress, RedisConfig, RedisStore,
    StoreSetting, Usage,
};

/// Longest key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 << 20;
