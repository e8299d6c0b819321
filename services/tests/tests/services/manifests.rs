//! The manifests of the systems and the components that they name.

use std::path::{Path, PathBuf};

use e2e::imports;
use testkit::paths;

/// The upper bound of a component, in bytes: an image of one service has less than a megabyte.
const LARGEST: u64 = 990_000;

/// The manifests of all systems.
pub(crate) fn manifests() -> Vec<PathBuf> {
    let systems = std::fs::read_dir(paths::workspace().join("services")).unwrap();
    let manifests = systems.map(|system| system.unwrap().path().join("spin.toml"));
    let mut manifests: Vec<_> = manifests.filter(|manifest| manifest.is_file()).collect();
    manifests.sort();
    assert!(manifests.len() >= 3, "{manifests:?}");
    manifests
}

/// The components of all systems, by package.
pub(crate) fn components() -> Vec<(String, PathBuf)> {
    let text = |manifest: &Path| std::fs::read_to_string(manifest).unwrap();
    let texts: Vec<_> = manifests().iter().map(|manifest| text(manifest)).collect();
    let mut components = Vec::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        if let Some(command) = line.strip_prefix("command = ") {
            let words: Vec<_> = command.split_whitespace().collect();
            let index = words.iter().position(|word| *word == "--package").unwrap();
            let package = words[index + 1].to_owned();
            let file = format!("wasm32-wasip2/dist/{}.wasm", package.replace('-', "_"));
            components.push((package, built(&file)));
        }
    }
    components
}

fn built(file: &str) -> PathBuf {
    let path = paths::target().join(file);
    assert!(path.is_file(), "{} does not exist; build it with `make services`", path.display());
    path
}

#[test]
fn components_import_only_what_spin_and_this_host_provide() {
    for (_, component) in components() {
        imports::assert_standard(&component);
    }
}

#[test]
fn components_are_small() {
    for (package, component) in components() {
        let size = std::fs::metadata(&component).unwrap().len();
        println!("{package}: {size} bytes");
        assert!(size < LARGEST, "{package}: {size} bytes");
    }
}
