//! A container's OCI runtime specification: the bundle's `config.json`.
//!
//! The shim keeps the file as plain JSON, so that fields that it does not know survive a rewrite.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::error::{Context as _, Error, Result};

const FILE: &str = "config.json";

/// An OCI runtime specification (`config.md`). A missing or mistyped field reads as absent: `runc` reports it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec(Value);

impl Spec {
    /// Reads the bundle's specification.
    ///
    /// # Errors
    /// When the file cannot be read; `InvalidArgument` when it is no JSON.
    pub(crate) fn read(bundle: &Path) -> Result<Self> {
        let path = bundle.join(FILE);
        let text = fs::read(&path).context(|| path.display())?;
        let value = serde_json::from_slice(&text)
            .map_err(|error| Error::InvalidArgument(format!("{}: {error}", path.display())))?;
        Ok(Self(value))
    }

    /// Replaces the bundle's specification by renaming, so that `runc` never reads a partial file.
    pub(crate) fn write(&self, bundle: &Path) -> Result<()> {
        let path = bundle.join(FILE);
        let temporary = bundle.join("config.json.new");
        fs::write(&temporary, self.0.to_string()).context(|| temporary.display())?;
        fs::rename(&temporary, &path).context(|| path.display())
    }

    #[cfg(test)]
    pub(crate) fn from_value(value: Value) -> Self {
        Self(value)
    }

    #[cfg(test)]
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// `root.path`, resolved against the bundle.
    pub(crate) fn root(&self, bundle: &Path) -> Option<PathBuf> {
        self.0.pointer("/root/path").and_then(Value::as_str).map(|path| bundle.join(path))
    }

    /// The value of the annotation `key`.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.0.get("annotations")?.get(key)?.as_str()
    }

    /// The name of the container's image, for a message.
    pub(crate) fn image(&self) -> &str {
        self.annotation("io.kubernetes.cri.image-name").unwrap_or("of this container")
    }

    /// The place in the container of the file that the kubelet mounts for the termination message
    /// (`terminationMessagePath`). On the node, the file is `…/pods/UID/containers/NAME/` and eight hexadecimal digits.
    pub(crate) fn termination_log(&self) -> Option<&str> {
        let name = self.annotation("io.kubernetes.cri.container-name")?;
        let is_of_kubelet = |source: &str| {
            let mut parts = source.rsplit('/');
            let file = parts.next().unwrap_or_default();
            file.len() == 8
                && file.chars().all(|c| c.is_ascii_hexdigit())
                && parts.next() == Some(name)
                && parts.next() == Some("containers")
        };
        let mounts = self.0.get("mounts")?.as_array()?;
        let mount = mounts.iter().find(|mount| mount["source"].as_str().is_some_and(is_of_kubelet))?;
        mount["destination"].as_str()
    }

    /// Whether `linux.cgroupsPath` has systemd's form, `slice:prefix:name`.
    pub(crate) fn systemd_cgroup(&self) -> bool {
        let path = self.0.pointer("/linux/cgroupsPath").and_then(Value::as_str).unwrap_or_default();
        !path.starts_with('/') && path.split(':').count() == 3
    }

    /// Whether the container has no pid namespace of its own. The kernel then does not kill the other processes when the
    /// init process exits (`pid_namespaces(7)`).
    pub(crate) fn shares_pid_namespace(&self) -> bool {
        let namespaces = self.0.pointer("/linux/namespaces").and_then(Value::as_array);
        let own = |namespace: &Value| {
            namespace.get("type").and_then(Value::as_str) == Some("pid")
                && namespace.get("path").and_then(Value::as_str).is_none_or(str::is_empty)
        };
        !namespaces.is_some_and(|namespaces| namespaces.iter().any(own))
    }

    /// `process.args`: the program and its arguments.
    pub(crate) fn args(&self) -> Vec<&str> {
        let args = self.0.pointer("/process/args").and_then(Value::as_array);
        args.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// `process.cwd`: the program's working directory.
    pub(crate) fn cwd(&self) -> &str {
        self.0.pointer("/process/cwd").and_then(Value::as_str).unwrap_or("/")
    }

    /// `process.env`: the environment as `NAME=VALUE`.
    pub(crate) fn env(&self) -> Vec<&str> {
        let env = self.0.pointer("/process/env").and_then(Value::as_array);
        env.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The value of an environment variable. If the name occurs twice, the last one counts, as in most programs.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.env().into_iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// Replaces the program and its arguments.
    pub(crate) fn set_args(&mut self, args: Vec<String>) {
        if let Some(process) = self.process() {
            process.insert("args".to_owned(), args.into());
        }
    }

    /// Adds an environment variable.
    pub(crate) fn add_variable(&mut self, name: &str, value: &str) {
        let Some(process) = self.process() else { return };
        let env = process.entry("env").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(env) = env.as_array_mut() {
            env.push(format!("{name}={value}").into());
        }
    }

    /// Adds a read-only bind mount of `source`, a file or directory of the node, at `destination` in the container.
    pub(crate) fn add_mount(&mut self, source: &str, destination: &str) {
        let Some(spec) = self.0.as_object_mut() else { return };
        let mounts = spec.entry("mounts").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(mounts) = mounts.as_array_mut() {
            mounts.push(serde_json::json!({
                "destination": destination,
                "type": "bind",
                "source": source,
                "options": ["bind", "ro", "nosuid", "nodev"],
            }));
        }
    }

    fn process(&mut self) -> Option<&mut Map<String, Value>> {
        self.0.get_mut("process")?.as_object_mut()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_termination_log_is_the_file_that_the_kubelet_mounts() {
        let with = |name: &str, source: &str| {
            Spec::from_value(json!({
                "annotations": {"io.kubernetes.cri.container-name": name},
                "mounts": [
                    {"destination": "/proc", "type": "proc", "source": "proc"},
                    {"destination": "/why", "type": "bind", "source": source},
                ],
            }))
        };
        let pod = "/var/lib/kubelet/pods/3c1b/";
        assert_eq!(with("api", &format!("{pod}containers/api/0a1b2c3d")).termination_log(), Some("/why"));
        for source in
            ["containers/other/0a1b2c3d", "containers/api/file.txt", "volumes/api/0a1b2c3d", "api/0a1b2c3d"]
        {
            assert_eq!(with("api", &format!("{pod}{source}")).termination_log(), None, "{source}");
        }
    }
}
