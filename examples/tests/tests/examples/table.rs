//! The table of examples is complete.

use std::path::{Path, PathBuf};

use testkit::paths::workspace;

/// The folders below `directory` that have a manifest.
fn manifests(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            manifests(&path, found);
        } else if path.ends_with("spin.toml") {
            found.push(directory.to_owned());
        }
    }
}

#[test]
fn each_folder_with_a_manifest_has_an_entry_that_is_served() {
    let examples = workspace().join("examples");
    let mut folders = Vec::new();
    manifests(&examples, &mut folders);
    assert!(!folders.is_empty());
    for folder in folders {
        let directory = folder.strip_prefix(&examples).unwrap();
        let served = crate::EXAMPLES.iter().any(|example| directory == Path::new(example.directory));
        assert!(served, "{}: no entry with a greeting in examples.toml", folder.display());
    }
}

#[test]
fn each_entry_has_a_folder_and_names_its_component() {
    for example in crate::EXAMPLES {
        let manifest = std::fs::read_to_string(example.manifest());
        let manifest: toml::Table =
            manifest.unwrap_or_else(|error| panic!("{}: {error}", example.name)).parse().unwrap();
        let component = &manifest["component"][example.name];
        assert!(component["source"].as_str().unwrap().ends_with(&format!("/{}.wasm", example.name)));
    }
}
