//! What components import.

use std::collections::BTreeSet;
use std::path::Path;

use testkit::paths;
use wasmparser::{Parser, Payload};

/// The imports of the outermost component of a file; nested components import from it.
#[must_use]
pub fn of(component: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(component).expect("the component can be read");
    let mut depth = 0_usize;
    let mut imports = BTreeSet::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.expect("the file is a component") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                let imported =
                    section.into_iter().map(|import| import.expect("an import").name.name.to_owned());
                imports.extend(imported);
            }
            _ => {}
        }
    }
    imports
}

/// The interfaces that Spin and this host provide, as `e2e/golden/imports.txt` lists them.
#[must_use]
pub fn allowed() -> BTreeSet<String> {
    let path = paths::workspace().join("e2e/golden/imports.txt");
    let text = std::fs::read_to_string(path).expect("the repository has the list");
    text.lines().filter(|line| line.starts_with("wasi:")).map(str::to_owned).collect()
}

/// Asserts that a component imports nothing that Spin or this host lacks.
#[track_caller]
pub fn assert_standard(component: &Path) {
    let imports = of(component);
    let allowed = allowed();
    let strange: Vec<_> = imports.difference(&allowed).collect();
    assert!(
        strange.is_empty(),
        "{} imports what is not in golden/imports.txt, which both hosts provide: {strange:#?}",
        component.display()
    );
}
