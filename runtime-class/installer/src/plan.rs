//! Which files change: as few as can be, and on removal back to the byte.

use std::path::{Path, PathBuf};

use crate::{
    change::Change,
    configuration::{Configuration, Options, drop_in},
    distribution::Distribution,
    error::{Error, Result},
    node::Node,
    runtime::RUNTIME_TYPE,
    template,
};

const DROP_IN: &str = "wasi-http.toml";
const DROP_IN_HEAD: &str = "# Written by wasi-http-installer.\n";
const BACKUP: &str = ".before-wasi-http";
const PENDING: &str = ".pending-wasi-http";
/// For a node that ran containerd on its defaults; each containerd reads version 2.
const SKELETON: &str = "# Written by wasi-http-installer: there was no configuration.\nversion = 2\n";

/// What makes the runtime known to containerd: nothing where it already is.
///
/// # Errors
/// For a configuration that cannot be read, or that has another runtime under our name.
pub fn install(node: &Node, distribution: &Distribution, runtime_path: Option<&str>) -> Result<Vec<Change>> {
    let path = &distribution.config;
    let before = node.read(path)?;
    if before.is_none() && distribution.generated {
        let reason = format!("{} has not written it yet: start it once", distribution.name);
        return Err(Error::Configuration { path: path.clone(), reason });
    }
    let text = before.clone().unwrap_or_else(|| SKELETON.to_owned());
    let configuration = read(path, &text)?;
    let options = Options { runtime_path: runtime_path.map(str::to_owned), ..configuration.options() };

    for directory in configuration.drop_in_directories() {
        let path = Path::new(&directory).join(DROP_IN);
        let before = node.read(&path)?;
        let after = format!("{DROP_IN_HEAD}{}", drop_in(configuration.schema(), &options));
        if before.is_some() || unknown(&distribution.config, &configuration)? {
            return Ok(changed(path, before, Some(after)));
        }
    }
    if distribution.generated {
        return generated(node, path, &configuration, &options);
    }
    if !unknown(path, &configuration)? {
        return Ok(Vec::new());
    }
    let after = configuration.with_runtime(&options).map_err(unfit(path))?;
    let mut changes = Vec::new();
    if before.is_some() {
        let backup = backup_of(path);
        changes.extend(changed(backup.clone(), node.read(&backup)?, before.clone()));
    }
    changes.extend(changed(path.clone(), before, Some(after)));
    Ok(changes)
}

fn generated(
    node: &Node,
    config: &Path,
    configuration: &Configuration,
    options: &Options,
) -> Result<Vec<Change>> {
    let schema = configuration.schema();
    let path = config.with_file_name(template::file_name(schema));
    let before = node.read(&path)?;
    let ours = before.as_deref().is_some_and(|text| template::without_block(text).is_some());
    if !ours && !unknown(config, configuration)? {
        return Ok(Vec::new());
    }
    let after = template::with_block(before.as_deref(), schema, options);
    let mut changes = Vec::new();
    if !ours && before.is_some() {
        let backup = backup_of(&path);
        changes.extend(changed(backup.clone(), node.read(&backup)?, before.clone()));
    }
    changes.extend(changed(path, before, Some(after)));
    Ok(changes)
}

/// What brings back the configuration as it was before the installation; what others changed since then stays.
///
/// # Errors
/// For a configuration that cannot be read.
pub fn remove(node: &Node, distribution: &Distribution) -> Result<Vec<Change>> {
    let path = &distribution.config;
    let mut changes = Vec::new();
    if let Some(text) = node.read(path)? {
        let configuration = read(path, &text)?;
        for directory in configuration.drop_in_directories() {
            let path = Path::new(&directory).join(DROP_IN);
            let before = node.read(&path)?;
            changes.extend(changed(path, before, None));
        }
        let ours = configuration.installed().is_some_and(|kind| kind == RUNTIME_TYPE);
        if ours && !distribution.generated {
            let without = configuration.without_runtime();
            let original = |backup: &str| {
                let with = Configuration::read(backup).ok()?.with_runtime(&Options::default()).ok()?;
                Some(Configuration::read(&with).ok()?.without_runtime() == without)
            };
            let skeleton = original(SKELETON) == Some(true);
            changes.extend(restored(node, path, text, without.clone(), &original, skeleton)?);
        } else if !distribution.generated {
            // Somebody wrote the configuration anew.
            let backup = backup_of(path);
            let before = node.read(&backup)?;
            changes.extend(changed(backup, before, None));
        }
    }
    if distribution.generated {
        for name in template::FILE_NAMES {
            let path = path.with_file_name(name);
            let Some(text) = node.read(&path)? else { continue };
            let Some(without) = template::without_block(&text) else { continue };
            let original = |backup: &str| Some(with_newline(backup) == without);
            let base = template::is_ours_alone(&without);
            changes.extend(restored(node, &path, text, without.clone(), &original, base)?);
        }
    }
    Ok(changes)
}

/// Lies beside the configuration from before it changes until containerd has been restarted.
#[must_use]
pub fn pending(distribution: &Distribution) -> PathBuf {
    beside(&distribution.config, PENDING)
}

/// A file of which we are taken out: the backup where nothing else changed, no file where there was none, else the rest.
fn restored(
    node: &Node,
    path: &Path,
    text: String,
    without: String,
    is_original: &dyn Fn(&str) -> Option<bool>,
    nothing_else: bool,
) -> Result<Vec<Change>> {
    let backup_path = backup_of(path);
    let backup = node.read(&backup_path)?;
    let after = match &backup {
        Some(backup) if is_original(backup) == Some(true) => Some(backup.clone()),
        None if nothing_else => None,
        _ => Some(without),
    };
    let mut changes = changed(path.to_owned(), Some(text), after);
    changes.extend(changed(backup_path, backup, None));
    Ok(changes)
}

/// Our runtime is not in the configuration; that another is, under our name, is an error.
fn unknown(path: &Path, configuration: &Configuration) -> Result<bool> {
    match configuration.installed() {
        None => Ok(true),
        Some(kind) if kind == RUNTIME_TYPE => Ok(false),
        Some(kind) => {
            let reason = format!(
                "its runtime wasi-http has the type {kind:?}, not {RUNTIME_TYPE:?}: remove or rename it"
            );
            Err(Error::Configuration { path: path.to_owned(), reason })
        }
    }
}

fn changed(path: PathBuf, before: Option<String>, after: Option<String>) -> Vec<Change> {
    if before == after { Vec::new() } else { vec![Change { path, before, after }] }
}

fn read(path: &Path, text: &str) -> Result<Configuration> {
    Configuration::read(text).map_err(unfit(path))
}

fn unfit(path: &Path) -> impl FnOnce(String) -> Error {
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
