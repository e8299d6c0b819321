//! `wasi:keyvalue@0.2.0-draft2`: stores by name, and the functions that give a guest access to them.
//!
//! ```text
//! Stores (process: name → Store) ── grant(manifest's key_value_stores) ─▶ Access (component)
//!                                     ── Client::new(access, stats) ─▶ Client (instance, in its store data)
//! ```
//!
//! The interface is linked with synchronous host functions, because a [`Store`] answers from the process's own
//! memory: such a call costs no fiber switch and the other requests of the instance lose nothing. A store that has
//! to wait for a network would block its instance here; it needs a trait of its own whose functions are linked
//! with `func_wrap_async`, chosen where [`add_to_linker`] is called.

mod access;
mod client;
mod error;
mod link;
mod memory;
mod stats;
mod store;
mod window;

pub use access::{Access, DEFAULT_STORE, Stores, UnknownStore};
pub use client::{Client, MAX_BATCH_KEYS, MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use error::Error;
pub use link::add_to_linker;
pub use memory::{MemoryStore, PAGE_KEYS, Usage};
pub use stats::{LATENCY_SAMPLE, Operation, OperationSnapshot, Stats};
pub use store::{KeyPage, Snapshot, Store, Swap};
