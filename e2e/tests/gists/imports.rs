//! The component's imports and its size.

use std::process::Command;

use e2e::{component, imports};
use testkit::paths::host_program;

/// The upper bound of the size in bytes. Prototypes with the same imports had 290 to 360 kB. The page of `/docs`, with a form
/// for each operation, is 33 kB of it: before the forms, the bound was 600,000. What a GitHub App needs is 117 kB of it
/// (`docs/decisions/0048-an-app-of-github.md`): before the app, the bound was 620,000.
const LARGEST: usize = 740_000;

#[test]
fn the_component_imports_only_what_spin_and_this_host_provide() {
    imports::assert_standard(&component());
    let imports = imports::of(&component());
    for needed in ["wasi:http/client@0.3.0", "wasi:keyvalue/store@0.2.0-draft2"] {
        assert!(imports.contains(needed), "{needed} is not imported: is this the component? {imports:#?}");
    }
}

#[test]
fn inspect_names_every_import_and_finds_it_satisfied() {
    let output = Command::new(host_program()).arg("inspect").arg(component()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    for import in imports::of(&component()) {
        assert!(text.contains(&import), "{import} is missing from:\n{text}");
    }
    assert!(text.contains("wasi:http/handler@0.3.0"), "the export is missing from:\n{text}");
}

#[test]
fn the_component_is_small() {
    let size = std::fs::metadata(component()).unwrap().len();
    println!("gists.wasm: {size} bytes");
    assert!(size < LARGEST as u64, "{size} bytes");
}
