//! The `-info` flag: containerd asks for a description of the runtime before any container exists.

use std::io::{self, Read as _, Write as _};

use containerd_shim_protos::{
    protobuf::{Message as _, MessageField, well_known_types::any::Any},
    types::introspection::{RuntimeInfo, RuntimeVersion},
};

use crate::{
    error::{Context as _, Error, Result},
    options::Options,
    runc,
};

/// The runtime's name in containerd's configuration.
const NAME: &str = "io.containerd.wasi-http.v1";
/// Type URL of the JSON that `runc features` prints (OCI runtime specification, `features.md`).
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
/// Bytes that are read from standard input.
const INPUT_MAX: u64 = 1 << 20;

/// Prints `RuntimeInfo`: the runtime's name and version, and `runc`'s features. Standard input holds the runtime options.
///
/// # Errors
/// `InvalidArgument` when standard input is no `Any` with runtime options.
pub(crate) fn print() -> Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().take(INPUT_MAX).read_to_end(&mut input).context(|| "stdin")?;
    let options = Any::parse_from_bytes(&input).map_err(|error| Error::InvalidArgument(error.to_string()))?;
    let features = runc::features(&Options::read(Some(&options))?);
    let features = features.map(|value| Any { type_url: FEATURES.to_owned(), value, ..Any::default() });
    let info = RuntimeInfo {
        name: NAME.to_owned(),
        version: MessageField::some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..RuntimeVersion::default()
        }),
        features: MessageField::from_option(features),
        ..RuntimeInfo::default()
    };
    let reply = info.write_to_bytes().map_err(|error| Error::Other(error.to_string()))?;
    io::stdout().lock().write_all(&reply).context(|| "stdout")
}
