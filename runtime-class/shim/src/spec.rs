//! The bundle's `config.json`: read and written as plain JSON, so that nothing in it that we do not know is lost.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::error::{Context as _, Error, Result};

const FILE: &str = "config.json";

/// A container's specification (OCI).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec(Value);

impl Spec {
    /// That of `bundle`.
    pub(crate) fn read(bundle: &Path) -> Result<Self> {
        let path = bundle.join(FILE);
        let text = fs::read(&path).context(|| path.display())?;
        let value = serde_json::from_slice(&text)
            .map_err(|error| Error::InvalidArgument(format!("{}: {error}", path.display())))?;
        Ok(Self(value))
    }

    /// Replaces that of `bundle`.
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

    /// As JSON.
    #[cfg(test)]
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// The root file system's directory.
    pub(crate) fn root(&self, bundle: &Path) -> Option<PathBuf> {
        self.0.pointer("/root/path").and_then(Value::as_str).map(|path| bundle.join(path))
    }

    /// An annotation's text.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.0.get("annotations")?.get(key)?.as_str()
    }

    /// Whether the cgroup's path has systemd's form, `slice:prefix:name`.
    pub(crate) fn systemd_cgroup(&self) -> bool {
        let path = self.0.pointer("/linux/cgroupsPath").and_then(Value::as_str).unwrap_or_default();
        !path.starts_with('/') && path.split(':').count() == 3
    }

    /// Whether the container shares its process numbers with others, so that its processes outlive its first one.
    pub(crate) fn shares_processes(&self) -> bool {
        let namespaces = self.0.pointer("/linux/namespaces").and_then(Value::as_array);
        let own = |namespace: &Value| {
            namespace.get("type").and_then(Value::as_str) == Some("pid")
                && namespace.get("path").and_then(Value::as_str).is_none_or(str::is_empty)
        };
        !namespaces.is_some_and(|namespaces| namespaces.iter().any(own))
    }

    /// The program and its arguments.
    pub(crate) fn args(&self) -> Vec<&str> {
        let args = self.0.pointer("/process/args").and_then(Value::as_array);
        args.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Where the program starts.
    pub(crate) fn cwd(&self) -> &str {
        self.0.pointer("/process/cwd").and_then(Value::as_str).unwrap_or("/")
    }

    /// The environment, as `NAME=VALUE`.
    pub(crate) fn env(&self) -> Vec<&str> {
        let env = self.0.pointer("/process/env").and_then(Value::as_array);
        env.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// A variable's value; the last one counts, as for most programs.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.env().into_iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// Sets another program.
    pub(crate) fn set_args(&mut self, args: Vec<String>) {
        if let Some(process) = self.process() {
            process.insert("args".to_owned(), args.into());
        }
    }

    /// Adds a variable.
    pub(crate) fn add_variable(&mut self, name: &str, value: &str) {
        let Some(process) = self.process() else { return };
        let env = process.entry("env").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(env) = env.as_array_mut() {
            env.push(format!("{name}={value}").into());
        }
    }

    /// Shows `source`, a file or directory of the node, read-only at `destination`.
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
