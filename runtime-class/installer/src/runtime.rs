//! Names of the runtime, its programs and its label.

/// The runtime's name in containerd's configuration, and the RuntimeClass's `handler`.
pub const HANDLER: &str = "wasi-http";
/// The runtime's `runtime_type`. containerd derives the shim's file name from it.
pub const RUNTIME_TYPE: &str = "io.containerd.wasi-http.v1";
/// File name of the shim.
pub const SHIM: &str = "containerd-shim-wasi-http-v1";
/// File name of the host. The shim expects the host in its own directory.
pub const HOST: &str = "wasi-http-host";
/// File name of the program that verifies images, and of the link by which containerd finds it.
pub const VERIFIER: &str = "wasi-http-image-verifier";
/// Label that is `true` on nodes with the shim. The RuntimeClass selects nodes by it.
pub const LABEL: &str = "runtime.wasi-http/ready";
/// Default directory of the programs. containerd finds a shim there by its name, whatever PATH it was started with.
pub const BIN_DIR: &str = "/usr/local/bin";
/// Taint of autoscaled nodes, which the installer removes when the node is proved.
pub const STARTUP_TAINT: &str = "runtime.wasi-http/not-ready";
/// RuntimeClass of the probe pod, and the pod's label `app`: the same handler as `wasi-http`, without the node selector.
pub const PROBE_CLASS: &str = "wasi-http-probe";
/// The probe's component in the installer's image.
pub const PROBE: &str = "/probe.wasm";
/// What the shim keeps on a node: compiled code.
pub const STATE: &str = "/var/lib/wasi-http";
