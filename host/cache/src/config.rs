//! The flags of the cache.

use clap::Args;
use wasi_http_host_core::{ByteSize, InvalidSetting};

use crate::state::Settings;

/// The least capacity. The largest response of such a cache has 64 KiB.
const LEAST_CAPACITY: ByteSize = ByteSize::mib(1);
/// The most bytes that the cache takes beside its capacity: addresses that it remembers without a response, and tables.
const OVERHEAD_BYTES: u64 = 4 << 20;

/// The flags of the response cache.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Response cache")]
pub struct CacheConfig {
    /// Cache the responses that components mark as cacheable (RFC 9111), in at most this many bytes of memory [default: no
    /// cache]
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_RESPONSE_CACHE")]
    pub response_cache: Option<ByteSize>,
    /// Follow the Cache-Control and Pragma of requests. A client can then have each of its requests go to the component
    #[arg(long, env = "WASI_HTTP_HOST_RESPONSE_CACHE_REQUEST_DIRECTIVES")]
    pub response_cache_request_directives: bool,
    /// Also cache responses with Set-Cookie that have a lifetime, and neither public nor s-maxage nor CDN-Cache-Control
    #[arg(long, env = "WASI_HTTP_HOST_RESPONSE_CACHE_SET_COOKIE")]
    pub response_cache_set_cookie: bool,
}

impl CacheConfig {
    /// Checks the combinations of values that clap cannot check.
    ///
    /// # Errors
    /// Names the first setting that is not valid.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        match self.response_cache {
            Some(capacity) if capacity < LEAST_CAPACITY => Err(InvalidSetting {
                name: "--response-cache",
                reason: format!("{capacity} is less than {LEAST_CAPACITY}"),
            }),
            _ => Ok(()),
        }
    }

    /// The settings of the cache. `None`: there is none.
    #[must_use]
    pub fn settings(&self) -> Option<Settings> {
        self.response_cache.map(|capacity| Settings {
            capacity: capacity.as_usize(),
            request_directives: self.response_cache_request_directives,
            set_cookie: self.response_cache_set_cookie,
        })
    }

    /// The most bytes that the cache takes.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.response_cache.map_or(0, |capacity| capacity.get().saturating_add(OVERHEAD_BYTES))
    }
}
