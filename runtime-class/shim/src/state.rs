//! What the bundle remembers for a clean-up after the shim's death.

use std::{fs, path::Path};

use crate::{
    error::{Context as _, Error, Result},
    options::Options,
};

const FILE: &str = "wasi-http-options.json";

/// Notes how `runc` is called.
pub(crate) fn write(bundle: &Path, options: &Options) -> Result<()> {
    let path = bundle.join(FILE);
    let text = serde_json::to_vec(options).map_err(|error| Error::Other(error.to_string()))?;
    fs::write(&path, text).context(|| path.display())
}

/// How it was called; the default if that was never noted.
pub(crate) fn read(bundle: &Path) -> Options {
    let text = fs::read(bundle.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
