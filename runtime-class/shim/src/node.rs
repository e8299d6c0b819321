//! Settings and services of the node that all containers of the pod share.

use std::{env, path::PathBuf, sync::Arc};

use crate::{
    error::{Error, Result},
    events::Events,
    reaper::Reaper,
};

/// Environment variable of containerd that names the cache directory for compiled code.
const CACHE_DIR: &str = "WASI_HTTP_SHIM_CACHE_DIR";
/// Environment variable of containerd with the bound of the cache in bytes.
pub(crate) const CACHE_MAX_BYTES: &str = "WASI_HTTP_SHIM_CACHE_MAX_BYTES";
/// Environment variable of containerd with the widest private address ranges that pods may open.
pub(crate) const OUTBOUND_CIDR_CEILING: &str = "WASI_HTTP_SHIM_OUTBOUND_CIDR_CEILING";
/// The variables of containerd that the shim's process needs.
pub(crate) const VARIABLES: [&str; 4] = ["PATH", CACHE_DIR, CACHE_MAX_BYTES, OUTBOUND_CIDR_CEILING];
/// Cache directory if containerd's environment names none.
const DEFAULT_CACHE: &str = "/var/lib/wasi-http/cache";
/// The cache's bound if containerd's environment names none.
const DEFAULT_CACHE_BYTES: u64 = 4 << 30;

/// Passed to everything that creates containers.
pub(crate) struct Node {
    /// containerd's namespace of the pod, such as `k8s.io`.
    pub(crate) namespace: String,
    /// Path of containerd's gRPC socket.
    pub(crate) address: String,
    pub(crate) events: Events,
    pub(crate) reaper: Arc<Reaper>,
    /// Path of `wasi-http-host`, the program that serves components. It lies beside the shim.
    pub(crate) host: PathBuf,
    pub(crate) cache: Cache,
    /// The value of [`OUTBOUND_CIDR_CEILING`]. The host parses it. `None` if it is not set.
    pub(crate) outbound_cidr_ceiling: Option<String>,
}

/// The value of [`OUTBOUND_CIDR_CEILING`]. An empty text counts as none.
pub(crate) fn outbound_cidr_ceiling() -> Option<String> {
    let value = env::var_os(OUTBOUND_CIDR_CEILING)?;
    Some(value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

/// The node's cache of compiled code. Its operations are in `wasm::cache`.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    pub(crate) directory: PathBuf,
    /// Bytes of all entries. What is being written, and what running containers have mapped of removed entries, is not in it.
    pub(crate) max_bytes: u64,
}

impl Cache {
    /// The cache that containerd's environment describes.
    ///
    /// # Errors
    /// `InvalidArgument` when the bound is no positive number.
    pub(crate) fn from_environment() -> Result<Self> {
        let directory = env::var_os(CACHE_DIR).map_or_else(|| PathBuf::from(DEFAULT_CACHE), PathBuf::from);
        let max_bytes = env::var_os(CACHE_MAX_BYTES).unwrap_or_default();
        Ok(Self { directory, max_bytes: max_bytes_of(&max_bytes.to_string_lossy())? })
    }
}

/// Parses the value of [`CACHE_MAX_BYTES`]. An empty text stands for the default.
fn max_bytes_of(text: &str) -> Result<u64> {
    if text.is_empty() {
        return Ok(DEFAULT_CACHE_BYTES);
    }
    text.parse().ok().filter(|bytes| *bytes > 0).ok_or_else(|| {
        Error::InvalidArgument(format!("{CACHE_MAX_BYTES}={text}: expected a number of bytes above 0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_the_cache_is_a_number_of_bytes() {
        assert_eq!(max_bytes_of("").unwrap(), 4 << 30);
        assert_eq!(max_bytes_of("1000").unwrap(), 1000);
        for text in ["0", "4Gi", "-1"] {
            let error = max_bytes_of(text).unwrap_err().to_string();
            assert!(error.contains(CACHE_MAX_BYTES) && error.contains(text), "{error}");
        }
    }
}
