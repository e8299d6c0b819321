//! Paths and ids that a WebAssembly container and its compilation share.

/// Directory in the container for everything that the shim adds.
pub(super) const DIRECTORY: &str = "/.wasi-http";
/// The host, which serves the component.
pub(super) const HOST: &str = "/.wasi-http/wasi-http-host";
/// Directory with the compiled code of this container's components.
pub(super) const CODE: &str = "/.wasi-http/cache";
/// The component, if the image is a WebAssembly artifact.
pub(super) const ARTIFACT: &str = "/.wasi-http/app.wasm";

/// User ids and group ids of the compilers, one for each that runs on the node at the same time. A pod may run as one of these
/// users too (`runAsUser`). It sees neither the compiler's processes nor its files, and no limit counts by user.
pub(super) const COMPILER_USERS: [u32; 4] = [64_996, 64_997, 64_998, 64_999];
