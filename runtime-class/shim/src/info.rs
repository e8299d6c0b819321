//! `-info`: what containerd asks before there is any container.

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
/// Of the JSON that `runc features` prints.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
const INPUT_MAX: u64 = 1 << 20;

/// Prints the runtime's name and what `runc` can do.
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
