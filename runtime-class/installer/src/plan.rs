//! Computes the changes to the node's files. An installation changes as few files as possible; a removal restores them
//! byte for byte.

use std::path::{Path, PathBuf};

use crate::{
    change::Change,
    configuration::{Configuration, RuntimeOptions, drop_in},
    containerd::DEFAULT_CONFIG,
    distribution::{Distribution, Source},
    error::{Error, Result},
    node::Node,
    runtime::RUNTIME_TYPE,
    template,
};

const DROP_IN: &str = "wasi-http.toml";
const DROP_IN_HEAD: &str = "# Written by wasi-http-installer.\n";
const BACKUP: &str = ".before-wasi-http";
const PENDING: &str = ".pending-wasi-http";
/// The configuration for a node without one. Every containerd reads version 2.
const SKELETON: &str = "# Written by wasi-http-installer: there was no configuration.\nversion = 2\n";

/// The changes that add the runtime to containerd's configuration. Empty if the configuration already has the runtime.
///
/// `runtime_path` is the shim's path, if the shim lies outside containerd's search path.
///
/// # Errors
/// When the configuration cannot be read or extended, or has another runtime of the name `wasi-http`.
pub fn install(node: &Node, distribution: &Distribution, runtime_path: Option<&str>) -> Result<Vec<Change>> {
    let path = &distribution.config;
    let before = node.read(path)?;
    if before.is_none() && distribution.source != Source::File {
        let reason = format!("{0} has not generated it yet: start {0} once", distribution.name);
        return Err(Error::Configuration { path: path.clone(), reason });
    }
    if distribution.source == Source::File && path.starts_with("/usr") {
        let reason = format!(
            "a file of the operating system, which an upgrade replaces: copy it to {DEFAULT_CONFIG}, and let the \
             service of containerd read the copy (on Flatcar: Environment=CONTAINERD_CONFIG={DEFAULT_CONFIG})"
        );
        return Err(Error::Configuration { path: path.clone(), reason });
    }
    let text = before.clone().unwrap_or_else(|| SKELETON.to_owned());
    let configuration = read(path, &text)?;
    let runtime_path = runtime_path.map(str::to_owned);
    let options = RuntimeOptions { runtime_path, ..configuration.default_runtime_options() };

    for directory in drop_in_directories(distribution, &configuration) {
        let path = directory.join(DROP_IN);
        let before = node.read(&path)?;
        let after = format!("{DROP_IN_HEAD}{}", drop_in(configuration.schema(), &options));
        if before.is_some() || needs_runtime(&distribution.config, &configuration)? {
            return Ok(change(path, before, Some(after)));
        }
    }
    if distribution.source == Source::Template {
        return install_in_template(node, path, &configuration, &options);
    }
    if !needs_runtime(path, &configuration)? {
        return Ok(Vec::new());
    }
    let after = configuration.with_runtime(&options).map_err(configuration_error(path))?;
    let mut changes = Vec::new();
    if before.is_some() {
        let backup = backup_of(path);
        changes.extend(change(backup.clone(), node.read(&backup)?, before.clone()));
    }
    changes.extend(change(path.clone(), before, Some(after)));
    Ok(changes)
}

/// Directories whose files are merged into the configuration: by the distribution, or by containerd.
fn drop_in_directories(distribution: &Distribution, configuration: &Configuration) -> Vec<PathBuf> {
    match &distribution.source {
        Source::Directory(directory) => vec![directory.clone()],
        Source::File | Source::Template => {
            configuration.drop_in_directories().into_iter().map(PathBuf::from).collect()
        }
    }
}

/// The changes to the template from which the distribution generates the configuration.
fn install_in_template(
    node: &Node,
    config: &Path,
    configuration: &Configuration,
    options: &RuntimeOptions,
) -> Result<Vec<Change>> {
    let schema = configuration.schema();
    let path = config.with_file_name(template::file_name(schema));
    let before = node.read(&path)?;
    let ours = before.as_deref().is_some_and(|text| template::without_block(text).is_some());
    if !ours && !needs_runtime(config, configuration)? {
        return Ok(Vec::new());
    }
    let after = template::with_block(before.as_deref(), schema, options);
    let mut changes = Vec::new();
    if !ours && before.is_some() {
        let backup = backup_of(&path);
        changes.extend(change(backup.clone(), node.read(&backup)?, before.clone()));
    }
    changes.extend(change(path, before, Some(after)));
    Ok(changes)
}

/// The changes that restore the configuration from before the installation. Changes that others made since then stay.
///
/// # Errors
/// When the configuration cannot be read.
pub fn remove(node: &Node, distribution: &Distribution) -> Result<Vec<Change>> {
    let path = &distribution.config;
    let mut changes = Vec::new();
    if let Some(text) = node.read(path)? {
        let configuration = read(path, &text)?;
        for directory in drop_in_directories(distribution, &configuration) {
            let path = directory.join(DROP_IN);
            let before = node.read(&path)?;
            changes.extend(change(path, before, None));
        }
        let ours = configuration.installed_type().is_some_and(|kind| kind == RUNTIME_TYPE);
        let is_file = distribution.source == Source::File;
        if ours && is_file {
            let without = configuration.without_runtime();
            // Adding and removing the runtime may move blank lines, so the backup makes the same round trip.
            let is_original = |backup: &str| {
                let with = Configuration::read(backup).ok()?.with_runtime(&RuntimeOptions::default()).ok()?;
                Some(Configuration::read(&with).ok()?.without_runtime() == without)
            };
            let is_skeleton = is_original(SKELETON) == Some(true);
            changes.extend(restore(node, path, text, without.clone(), &is_original, is_skeleton)?);
        } else if is_file {
            // Somebody replaced the configuration: the backup is out of date.
            let backup = backup_of(path);
            let before = node.read(&backup)?;
            changes.extend(change(backup, before, None));
        }
    }
    if distribution.source == Source::Template {
        for name in template::FILE_NAMES {
            let path = path.with_file_name(name);
            let Some(text) = node.read(&path)? else { continue };
            let Some(without) = template::without_block(&text) else { continue };
            let is_original = |backup: &str| Some(with_newline(backup) == without);
            let is_base = template::is_base(&without);
            changes.extend(restore(node, &path, text, without.clone(), &is_original, is_base)?);
        }
    }
    Ok(changes)
}

/// Path of the pending marker. The marker exists from before the configuration changes until containerd was restarted.
#[must_use]
pub fn pending_marker(distribution: &Distribution) -> PathBuf {
    beside(&distribution.config, PENDING)
}

/// The changes that restore a file from `without`, its text without the runtime:
///
/// - to the backup, if nothing else was changed since;
/// - to no file, if there is no backup and the installer created the whole file (`is_new`);
/// - otherwise to `without`.
fn restore(
    node: &Node,
    path: &Path,
    text: String,
    without: String,
    is_original: &dyn Fn(&str) -> Option<bool>,
    is_new: bool,
) -> Result<Vec<Change>> {
    let backup_path = backup_of(path);
    let backup = node.read(&backup_path)?;
    let after = match &backup {
        Some(backup) if is_original(backup) == Some(true) => Some(backup.clone()),
        None if is_new => None,
        _ => Some(without),
    };
    let mut changes = change(path.to_owned(), Some(text), after);
    changes.extend(change(backup_path, backup, None));
    Ok(changes)
}

/// Whether the configuration lacks the runtime.
///
/// # Errors
/// When the configuration has a runtime `wasi-http` of another type.
fn needs_runtime(path: &Path, configuration: &Configuration) -> Result<bool> {
    match configuration.installed_type() {
        None => Ok(true),
        Some(kind) if kind == RUNTIME_TYPE => Ok(false),
        Some(kind) => {
            let reason = format!(
                "its runtime wasi-http has the type {kind:?} instead of {RUNTIME_TYPE:?}: remove or rename it"
            );
            Err(Error::Configuration { path: path.to_owned(), reason })
        }
    }
}

/// A change of one file; nothing if the content stays the same.
fn change(path: PathBuf, before: Option<String>, after: Option<String>) -> Vec<Change> {
    if before == after { Vec::new() } else { vec![Change { path, before, after }] }
}

fn read(path: &Path, text: &str) -> Result<Configuration> {
    Configuration::read(text).map_err(configuration_error(path))
}

fn configuration_error(path: &Path) -> impl FnOnce(String) -> Error {
    let path = path.to_owned();
    move |reason| Error::Configuration { path, reason }
}

fn backup_of(path: &Path) -> PathBuf {
    beside(path, BACKUP)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn with_newline(text: &str) -> String {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{newline}")
}
