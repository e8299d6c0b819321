//! The cache's entry for a page of a user's gists.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};

/// A page of gists, in the format of the response.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The JSON object without its last member, `cache`, and without the closing brace.
    pub(crate) body: Bytes,
    /// A weak entity tag of the body, in quotes.
    pub(crate) etag: String,
    pub(crate) has_next: bool,
    /// Seconds since the epoch.
    pub(crate) stored_at: u64,
    /// Seconds since the epoch.
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

    /// Returns the complete body, with the member `cache`.
    pub(crate) fn whole(&self, hit: bool, ttl: u64) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.body.len() + 64);
        whole.put_slice(&self.body);
        let last = format!(",\"cache\":{{\"hit\":{hit},\"ttl_seconds\":{ttl}}}}}");
        whole.put_slice(last.as_bytes());
        whole.freeze()
    }
}

/// Returns the seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the same key as the component's, without the generation. A cache in the process can be emptied without one.
pub(crate) fn key(username: &str, page: u8, per_page: u8) -> String {
    format!("gists:{}:page{page}:per_page{per_page}", username.to_ascii_lowercase())
}
