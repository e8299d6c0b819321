//! What the cache holds for a user's page.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};

/// An answer of GitHub, in the shape in which it goes out.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The JSON object up to its last member, `cache`.
    pub(crate) body: Bytes,
    /// Of `data` and `pagination`, weak and quoted.
    pub(crate) etag: String,
    pub(crate) has_next: bool,
    /// Seconds since the epoch.
    pub(crate) stored_at: u64,
    pub(crate) fresh_until: u64,
}

impl Entry {
    pub(crate) fn new(body: Bytes, has_next: bool, ttl: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let stored_at = now();
        let etag = format!("W/\"{:016x}\"", hasher.finish());
        Self { body, etag, has_next, stored_at, fresh_until: stored_at + ttl }
    }

    /// The whole body, with what is true of the cache now.
    pub(crate) fn whole(&self, hit: bool, ttl: u64) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.body.len() + 64);
        whole.put_slice(&self.body);
        let last = format!(",\"cache\":{{\"hit\":{hit},\"ttl_seconds\":{ttl}}}}}");
        whole.put_slice(last.as_bytes());
        whole.freeze()
    }
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The same key as the component's, less its generation: emptying an in-process cache needs none.
pub(crate) fn key(username: &str, page: u8, per_page: u8) -> String {
    format!("gists:{}:page{page}:per_page{per_page}", username.to_ascii_lowercase())
}
