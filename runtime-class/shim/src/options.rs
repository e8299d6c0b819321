//! The runtime's options: `[…runtimes.wasi-http.options]` of containerd's configuration, or the flags of `ctr`.

use containerd_shim_protos::{
    protobuf::{CodedInputStream, Message as _, well_known_types::any::Any},
    shim::oci::Options as RuncOptions,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where `runc` keeps its state when no other place is asked for: containerd's own place, so that
/// `runc --root` shows these containers among the others.
const DEFAULT_ROOT: &str = "/run/containerd/runc";

/// How to call `runc`. The names are those of containerd's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Options {
    /// Another `runc`, or a program with its command line.
    pub(crate) binary_name: String,
    /// Where it keeps its state.
    pub(crate) root: String,
    /// Whether systemd manages cgroups. A cgroup path of systemd's form says so too.
    pub(crate) systemd_cgroup: bool,
    /// For a root file system on a ramdisk.
    pub(crate) no_pivot_root: bool,
    /// Share the session keyring.
    pub(crate) no_new_keyring: bool,
}

impl Options {
    /// Reads what containerd sends with a container: `ctr` sends runc's own message, CRI the TOML table.
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
            _ => Err(invalid("unknown".to_owned())),
        }
    }

    /// The program.
    pub(crate) fn binary(&self) -> &str {
        if self.binary_name.is_empty() { "runc" } else { &self.binary_name }
    }

    /// Where it keeps the state of `namespace`.
    pub(crate) fn root(&self, namespace: &str) -> std::path::PathBuf {
        let root = if self.root.is_empty() { DEFAULT_ROOT } else { &self.root };
        std::path::Path::new(root).join(namespace)
    }
}

/// Field 3 of `runtimeoptions.v1.Options`, which the generated messages lack: the table as TOML.
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
    fn nothing_is_the_default() {
        let options = Options::read(None).unwrap();
        assert_eq!(options.binary(), "runc");
        assert_eq!(options.root("k8s.io").to_str(), Some("/run/containerd/runc/k8s.io"));
    }

    #[test]
    fn a_table_of_the_configuration() {
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
    fn runc_s_own_message() {
        let mut sent = RuncOptions::new();
        sent.systemd_cgroup = true;
        let message = any("containerd.runc.v1.Options", sent.write_to_bytes().unwrap());
        assert!(Options::read(Some(&message)).unwrap().systemd_cgroup);
    }

    #[test]
    fn an_unknown_message_is_named() {
        let error = Options::read(Some(&any("some.Options", Vec::new()))).unwrap_err();
        assert!(error.to_string().contains("some.Options"), "{error}");
    }
}
