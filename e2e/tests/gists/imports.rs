//! The component's imports and its size.

use std::collections::BTreeSet;
use std::process::Command;

use e2e::component;
use testkit::paths::host_program;
use wasmparser::{Parser, Payload};

use super::golden;

/// The upper bound of the size in bytes. Prototypes with the same imports had 290 to 360 kB. The page of `/docs`, with a form
/// for each operation, is 33 kB of it: before the forms, the bound was 600,000. What a GitHub App needs is 117 kB of it
/// (`docs/decisions/0048-an-app-of-github.md`): before the app, the bound was 620,000.
const LARGEST: usize = 740_000;

/// The imports of the outermost component; nested components import from it.
fn imports(bytes: &[u8]) -> BTreeSet<String> {
    let mut depth = 0_usize;
    let mut imports = BTreeSet::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    imports
}

#[test]
fn the_component_imports_only_what_spin_and_this_host_provide() {
    let allowed = golden::read("imports.txt");
    let allowed: BTreeSet<_> =
        allowed.lines().filter(|line| line.starts_with("wasi:")).map(str::to_owned).collect();
    let imports = imports(&std::fs::read(component()).unwrap());
    let strange: Vec<_> = imports.difference(&allowed).collect();
    assert!(
        strange.is_empty(),
        "imported, but not in golden/imports.txt, which both hosts provide: {strange:#?}"
    );
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
    for import in imports(&std::fs::read(component()).unwrap()) {
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
