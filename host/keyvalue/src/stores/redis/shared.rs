//! What the connections of all threads have in common.

use std::sync::{Arc, atomic::AtomicBool};

use wasi_http_host_egress::Resolve;

use super::{address::RedisAddress, config::RedisConfig, stats::RedisStats, tls::Security};

pub(super) struct Shared {
    /// The name by which components open the store.
    pub(super) name: String,
    pub(super) address: RedisAddress,
    pub(super) config: RedisConfig,
    /// The largest cache of one thread, in bytes.
    pub(super) thread_cache_bytes: usize,
    /// `None` for a connection without TLS.
    pub(super) security: Option<Security>,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) stats: RedisStats,
    /// The log says already that the server sends no invalidation messages.
    pub(super) untracked_logged: AtomicBool,
}
