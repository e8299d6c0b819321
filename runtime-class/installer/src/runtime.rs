//! What the node gets: the runtime's name in containerd, and the files that carry it out.

/// The name that the RuntimeClass's `handler` says.
pub const HANDLER: &str = "wasi-http";
/// containerd derives the shim's file name from it.
pub const RUNTIME_TYPE: &str = "io.containerd.wasi-http.v1";
/// The shim's file name.
pub const SHIM: &str = "containerd-shim-wasi-http-v1";
/// The host, which the shim looks for beside itself.
pub const HOST: &str = "wasi-http-host";
/// Set to `true` on nodes that are ready; the RuntimeClass selects them by it.
pub const LABEL: &str = "runtime.wasi-http/ready";
/// Where containerd finds a shim by its name alone, whatever started containerd.
pub const BIN_DIR: &str = "/usr/local/bin";
