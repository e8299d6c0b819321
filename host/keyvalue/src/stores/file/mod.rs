//! A store in memory that a file keeps: what it holds survives the process.
//!
//! ```text
//! operations ─▶ MemoryStore: answers, bounded in bytes
//!                  │ the keys that have changed or were evicted
//!                  ▼
//!               writer thread ─▶ one durable transaction at most every FLUSH_EVERY ─▶ Database (redb)
//! ```
//!
//! - A change is durable [`writer::FLUSH_EVERY`] and the time of two transactions after it was acknowledged, at the latest. With
//!   [`FileSync::Always`], a change is durable before it is acknowledged.
//! - A transaction is complete or absent after a crash, and holds all that was acknowledged before it began.
//! - When the file cannot be written, for example on a full disk, the store goes on in memory and tries again every
//!   [`writer::RETRY_EVERY`].
//! - A file that is corrupt, or is not such a database, is renamed to `PATH.corrupt-…`. The store begins with an empty one.
//! - `PATH.lock` is locked for as long as the store lives: only one process may have it open.

mod database;
mod lock_file;
mod stats;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub(super) use store::FileStore;
pub use store::FileSync;
