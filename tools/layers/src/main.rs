//! The lint of layers: which crates may use each other, and no cycle between the modules of a crate.
//!
//! `layers LIST WORKSPACE…` reads the list of what is allowed, and the workspaces with these `Cargo.toml` files. It prints all findings and
//! fails when there are any. The list of this repository is `layers.toml`.
//!
//! # Modules
//!
//! At each level of a crate's module tree, the modules form layers: there is an order in which each module uses only modules before it.
//!
//! - A level is a module and its submodules. Each submodule is one node, together with everything inside it. The module's own code, which is
//!   the text in its own file, is one more node.
//! - A node uses another node when its text names an item that the other node defines: in a `use`, in a path, in the arguments of a macro or
//!   an attribute. A re-exported name counts for the module that defines the item.
//! - A cycle of two or more nodes is an error.
//! - A module may use items of its submodules, or define items that its submodules use (`super::Error`), but not both. To have both, move the
//!   shared items into a submodule and re-export them.
//! - `mod inner;` and a re-export of an item inside the module (`pub use inner::Item`) are not uses. A method call is not a use, because its
//!   text does not name the type.
//! - Code that is compiled only for tests is not checked: `#[cfg(test)]` and the targets in `tests/`.
//!
//! An exception in the list allows one node to use another one, and has a reason. An exception that breaks no cycle is an error.
//!
//! # Crates
//!
//! The list has the crates of ours that each crate uses, and those that only its tests use. A dependency that is not in the list is an error,
//! and so is an entry that is not a dependency. `never` lists packages that a crate must not depend on, directly or through others.

mod cfg;
mod config;
mod crates;
mod graph;
mod module;
mod modules;
mod references;
mod source;
#[cfg(test)]
mod tests;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use config::{Config, Exception};
use crates::{CargoTarget, Metadata};
use module::Tree;

/// The dependencies that count are those of a node's programs.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What keeps the lint from running.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("usage: layers LIST WORKSPACE…")]
    Usage,
    #[error("cannot read {0}: {1}")]
    List(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    Syntax(PathBuf, Box<toml::de::Error>),
    #[error("cannot run cargo: {0}")]
    Cargo(std::io::Error),
    #[error("`cargo metadata` failed for {0}")]
    Metadata(PathBuf),
    #[error("`cargo metadata` printed what this lint cannot read: {0}")]
    Unknown(#[from] serde_json::Error),
    #[error(transparent)]
    Source(#[from] source::SourceError),
}

fn main() -> ExitCode {
    match run() {
        Ok((crates, wrong)) if wrong.is_empty() => {
            println!("layers: {crates} crates, no cycle");
            ExitCode::SUCCESS
        }
        Ok((_, wrong)) => {
            for text in &wrong {
                println!("{text}");
            }
            println!("layers: {} failed; tools/layers/src/main.rs has the rules", wrong.len());
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("layers: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many crates it looked at, and what is wrong.
fn run() -> Result<(usize, Vec<String>), Failure> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let Some((list, manifests @ [_, ..])) = arguments.split_first() else { return Err(Failure::Usage) };
    let text = fs::read_to_string(list).map_err(|error| Failure::List(list.clone(), error))?;
    let config: Config =
        toml::from_str(&text).map_err(|error| Failure::Syntax(list.clone(), Box::new(error)))?;
    // What forbids packages of others needs to know all of them; the other workspaces have their own tool chains and are not fetched.
    let workspaces: Vec<Metadata> = manifests
        .iter()
        .enumerate()
        .map(|(at, manifest)| metadata(manifest, at == 0))
        .collect::<Result<_, _>>()?;
    let mut wrong = crates::check(&workspaces, &config);
    let mut count = 0_usize;
    let root = env::current_dir().unwrap_or_default();
    for package in workspaces.iter().flat_map(Metadata::members) {
        let of_package: Vec<Exception> =
            config.exceptions.iter().filter(|exception| exception.package == package.name).cloned().collect();
        let targets: Vec<&CargoTarget> = package.targets.iter().filter(|target| is_checked(target)).collect();
        count = count.saturating_add(targets.len());
        let trees: Vec<Tree> = targets
            .iter()
            .map(|target| source::read(&source::Disk, &target.src_path))
            .collect::<Result<_, _>>()?;
        wrong.extend(modules::check(&package.name, &trees, &of_package, &root));
    }
    Ok((count, wrong))
}

/// Tests may be written as they are best read.
fn is_checked(target: &CargoTarget) -> bool {
    !target.kind.iter().any(|kind| kind == "test" || kind == "bench" || kind == "custom-build")
}

fn metadata(manifest: &Path, with_dependencies: bool) -> Result<Metadata, Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            PLATFORM,
            "--manifest-path",
        ])
        .arg(manifest);
    if !with_dependencies {
        command.arg("--no-deps");
    }
    let output = command.stderr(std::process::Stdio::inherit()).output().map_err(Failure::Cargo)?;
    if !output.status.success() {
        return Err(Failure::Metadata(manifest.to_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
