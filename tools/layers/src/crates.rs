//! The second rule: a crate uses only those crates of ours that the list allows, and never what the list forbids.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::Deserialize;

use crate::config::Config;

/// What `cargo metadata` says, as far as this lint reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// All packages, those of others included unless it was asked without dependencies.
    pub(crate) packages: Vec<Package>,
    /// The ids of the workspace's own packages.
    pub(crate) workspace_members: Vec<String>,
    /// Which package uses which; absent when it was asked without dependencies.
    pub(crate) resolve: Option<Resolve>,
}

/// A package.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Cargo's name for this version of it.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// What its `Cargo.toml` asks for.
    pub(crate) dependencies: Vec<Dependency>,
    /// Its crates.
    pub(crate) targets: Vec<CargoTarget>,
}

/// A dependency as `Cargo.toml` has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package.
    pub(crate) name: String,
    /// `None` for ordinary ones, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Where it lies, if it is no package of a registry.
    pub(crate) path: Option<PathBuf>,
}

/// A library, a program, an example, a test.
#[derive(Debug, Deserialize)]
pub(crate) struct CargoTarget {
    /// What it is, in Cargo's words: `lib`, `bin`, `test`, …
    pub(crate) kind: Vec<String>,
    /// Its root file.
    pub(crate) src_path: PathBuf,
}

/// The graph of packages.
#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    nodes: Vec<Resolved>,
}

#[derive(Debug, Deserialize)]
struct Resolved {
    id: String,
    deps: Vec<ResolvedDependency>,
}

#[derive(Debug, Deserialize)]
struct ResolvedDependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    /// The workspace's own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The names of all packages that this one needs when it is built, itself included; nothing for its tests.
    fn needs(&self, package: &Package) -> BTreeSet<&str> {
        let Some(resolve) = &self.resolve else { return BTreeSet::new() };
        let nodes: BTreeMap<&str, &Resolved> =
            resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut ids = BTreeSet::from([package.id.as_str()]);
        let mut waiting = vec![package.id.as_str()];
        while let Some(node) = waiting.pop().and_then(|id| nodes.get(id)) {
            for dependency in &node.deps {
                let is_needed = dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
                if is_needed && ids.insert(&dependency.pkg) {
                    waiting.push(&dependency.pkg);
                }
            }
        }
        self.packages
            .iter()
            .filter(|package| ids.contains(package.id.as_str()))
            .map(|p| p.name.as_str())
            .collect()
    }
}

/// Says each dependency that the list does not allow, and each entry of the list that nothing needs.
pub(crate) fn check(workspaces: &[Metadata], config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let ours: BTreeSet<&str> =
        workspaces.iter().flat_map(Metadata::members).map(|p| p.name.as_str()).collect();
    for workspace in workspaces {
        for package in workspace.members() {
            wrong.extend(check_uses(package, config));
            let needs = workspace.needs(package);
            for forbidden in config.never.get(&package.name).into_iter().flatten() {
                if needs.contains(forbidden.as_str()) {
                    wrong.push(format!(
                        "{}: depends on {forbidden}, which it must not: `cargo tree --package {} --invert {forbidden}` shows how",
                        package.name, package.name
                    ));
                }
            }
        }
    }
    for (section, table) in [("crates", &config.crates), ("tests", &config.tests), ("never", &config.never)] {
        for name in table.keys().filter(|name| !ours.contains(name.as_str())) {
            wrong.push(format!("[{section}] has {name}, which is no crate of ours: remove it"));
        }
    }
    for exception in &config.exceptions {
        if !ours.contains(exception.package.as_str()) {
            wrong.push(format!(
                "an exception is for {}, which is no crate of ours: remove it",
                exception.package
            ));
        }
        if exception.reason.trim().is_empty() {
            wrong.push(format!(
                "the exception {} -> {} has no reason: write it",
                exception.from, exception.to
            ));
        }
    }
    wrong
}

/// Compares a crate's dependencies on crates of ours with its entries in the list, in both directions.
fn check_uses(package: &Package, config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = &package.name;
    let Some(listed) = config.crates.get(name) else {
        return vec![format!(
            "{name}: [crates] does not have it: add it, with the crates of ours that it may use"
        )];
    };
    let nothing = BTreeSet::new();
    let listed_for_tests = config.tests.get(name).unwrap_or(&nothing);
    let uses = |for_tests: bool| -> BTreeSet<&String> {
        let is_wanted = |dependency: &&Dependency| (dependency.kind.as_deref() == Some("dev")) == for_tests;
        package.dependencies.iter().filter(|d| d.path.is_some()).filter(is_wanted).map(|d| &d.name).collect()
    };
    for (section, listed, uses) in [("crates", listed, uses(false)), ("tests", listed_for_tests, uses(true))]
    {
        for used in &uses {
            if !listed.contains(*used) {
                wrong.push(format!("{name}: uses {used}, which [{section}] does not allow"));
            }
        }
        for entry in listed.iter().filter(|entry| !uses.contains(entry)) {
            wrong
                .push(format!("{name}: [{section}] allows {entry}, which it does not use: remove the entry"));
        }
    }
    wrong
}
