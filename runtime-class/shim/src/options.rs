//! The runtime's options: the table `[…runtimes.wasi-http.options]` of containerd's configuration, or the flags of `ctr`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use containerd_shim_protos::{
    protobuf::{CodedInputStream, Message as _, well_known_types::any::Any},
    shim::oci::Options as RuncOptions,
};
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error, Result};

/// Default state directory of `runc`. It is the one of containerd's own shim, so that `runc --root` lists the containers
/// of both shims.
const DEFAULT_ROOT: &str = "/run/containerd/runc";
/// The file in the bundle that [`Options::save`] writes.
const FILE: &str = "wasi-http-options.json";

/// How the shim calls `runc`. The keys are those of containerd's shim for runc.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Options {
    /// Name or path of another `runc`; empty for `runc` on the PATH.
    pub(crate) binary_name: String,
    /// State directory of `runc` (`--root`); empty for the default.
    pub(crate) root: String,
    /// systemd manages the cgroups (`--systemd-cgroup`). A cgroup path of systemd's form has the same effect.
    pub(crate) systemd_cgroup: bool,
    /// `--no-pivot`, for a root file system on a ramdisk.
    pub(crate) no_pivot_root: bool,
    /// `--no-new-keyring`: the container shares the session keyring.
    pub(crate) no_new_keyring: bool,
}

impl Options {
    /// Saves the options in the bundle, for the clean-up after the shim's death.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save(&self, bundle: &Path) -> Result<()> {
        let path = bundle.join(FILE);
        let text = serde_json::to_vec(self).map_err(|error| Error::Other(error.to_string()))?;
        fs::write(&path, text).context(|| path.display())
    }

    /// Loads the options that [`Self::save`] wrote; the defaults if there are none.
    pub(crate) fn load(bundle: &Path) -> Self {
        let text = fs::read(bundle.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Decodes the options of containerd's request: `ctr` sends `containerd.runc.v1.Options`, CRI sends
    /// `runtimeoptions.v1.Options` with the configuration's TOML table.
    ///
    /// # Errors
    /// `InvalidArgument` when the message is of another type or cannot be decoded.
    pub(crate) fn read(any: Option<&Any>) -> Result<Self> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else { return Ok(Self::default()) };
        let invalid =
            |error: String| Error::InvalidArgument(format!("runtime options {}: {error}", any.type_url));
        match any.type_url.rsplit('/').next().unwrap_or_default() {
            "containerd.runc.v1.Options" => {
                let options =
                    RuncOptions::parse_from_bytes(&any.value).map_err(|e| invalid(e.to_string()))?;
                Ok(Self {
                    binary_name: options.binary_name,
                    root: options.root,
                    systemd_cgroup: options.systemd_cgroup,
                    no_pivot_root: options.no_pivot_root,
                    no_new_keyring: options.no_new_keyring,
                })
            }
            "runtimeoptions.v1.Options" => {
                let body = config_body(&any.value).map_err(|e| invalid(e.to_string()))?;
                toml::from_str(&body).map_err(|e| invalid(e.to_string()))
            }
            _ => Err(invalid("unknown type of message".to_owned())),
        }
    }

    /// Name or path of `runc`.
    pub(crate) fn binary(&self) -> &str {
        if self.binary_name.is_empty() { "runc" } else { &self.binary_name }
    }

    /// State directory of `runc` for the containers of `namespace`.
    pub(crate) fn root(&self, namespace: &str) -> PathBuf {
        let root = if self.root.is_empty() { DEFAULT_ROOT } else { &self.root };
        Path::new(root).join(namespace)
    }
}

/// Decodes `config_body`, field 3 of `runtimeoptions.v1.Options`: the table as TOML. `containerd-shim-protos` does not
/// contain the field.
fn config_body(message: &[u8]) -> std::result::Result<String, containerd_shim_protos::protobuf::Error> {
    const CONFIG_BODY: u32 = (3 << 3) | 2;
    let mut input = CodedInputStream::from_bytes(message);
    let mut body = String::new();
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        match (tag, tag & 7) {
            (CONFIG_BODY, _) => body = String::from_utf8_lossy(&input.read_bytes()?).into_owned(),
            (_, 0) => drop(input.read_uint64()?),
            (_, 1) => drop(input.read_fixed64()?),
            (_, 2) => drop(input.read_bytes()?),
            _ => drop(input.read_fixed32()?),
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(type_url: &str, value: Vec<u8>) -> Any {
        Any { type_url: type_url.to_owned(), value, ..Any::default() }
    }

    #[test]
    fn without_options_the_defaults_hold() {
        let options = Options::read(None).unwrap();
        assert_eq!(options.binary(), "runc");
        assert_eq!(options.root("k8s.io").to_str(), Some("/run/containerd/runc/k8s.io"));
    }

    #[test]
    fn the_table_of_containerds_configuration() {
        let body =
            b"SystemdCgroup = true\nBinaryName = \"/opt/runc\"\nRoot = \"/run/r\"\nShimCgroup = \"\"\n";
        let mut message = vec![10, 3, b'a', b'b', b'c', 26, u8::try_from(body.len()).unwrap()];
        message.extend_from_slice(body);
        let options = Options::read(Some(&any("runtimeoptions.v1.Options", message))).unwrap();
        assert!(options.systemd_cgroup);
        assert_eq!(options.binary(), "/opt/runc");
        assert_eq!(options.root("a").to_str(), Some("/run/r/a"));
    }

    #[test]
    fn the_message_of_ctr() {
        let mut sent = RuncOptions::new();
        sent.systemd_cgroup = true;
        let message = any("containerd.runc.v1.Options", sent.write_to_bytes().unwrap());
        assert!(Options::read(Some(&message)).unwrap().systemd_cgroup);
    }

    #[test]
    fn an_error_names_the_unknown_message() {
        let error = Options::read(Some(&any("some.Options", Vec::new()))).unwrap_err();
        assert!(error.to_string().contains("some.Options"), "{error}");
    }
}
