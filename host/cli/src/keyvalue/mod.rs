//! `wasi:keyvalue@0.2.0-draft2`: stores by name, and the functions that give a guest access to them.
//!
//! ```text
//! Stores (process: name → Store) ── grant(manifest's key_value_stores) ─▶ Access (component)
//!                                     ── Client::new(access, stats) ─▶ Client (instance, in its store data)
//! ```
//!
//! A [`Store`] answers from the process's own memory. Where a component is granted no other, the interface is linked
//! with synchronous host functions: such a call costs no fiber switch, and the other requests of the instance lose
//! nothing. A [`RemoteStore`] has to wait for a network, and with it the whole instance: it is linked with asynchronous
//! host functions, and the instance says that it stands still ([`OnWait`](client::OnWait)), so that others take over.

mod access;
mod backend;
mod client;
mod error;
mod link;
mod memory;
mod redis;
mod remote;
mod stats;
mod store;
mod window;

pub use self::redis::{
    CacheTotals, ClientCertificate, Failure, InvalidAddress, Password, RedisAddress, RedisSettings,
    RedisStore, RemoteSnapshot, RemoteStats,
};
pub use access::{Access, DEFAULT_STORE, Stores, UnknownStore};
pub(crate) use client::OnWait;
pub use client::{Client, MAX_BATCH_KEYS, MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use error::Error;
pub use link::add_to_linker;
pub use memory::{MemoryStore, PAGE_KEYS, Usage};
pub use remote::{Answer, RemoteStore};
pub use stats::{LATENCY_SAMPLE, Operation, OperationSnapshot, Stats};
pub use store::{KeyPage, Snapshot, Store, Swap};
