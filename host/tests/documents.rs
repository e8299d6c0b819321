//! What SECURITY.md and docs/host.md name as shown by a test is: each link's test exists, and each row has one.

#![expect(clippy::panic, reason = "a test that finds something else than it expects is to fail there")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The texts and targets of a document's links that do not leave the repository.
fn links(text: &str) -> Vec<(&str, &str)> {
    let ends = text.match_indices("](");
    let link = |at: usize| {
        let label = text.get(..at)?.rsplit_once('[')?.1;
        let target = text.get(at + 2..)?.split_once(')')?.0;
        (!target.contains("://") && !target.starts_with('#')).then_some((label, target))
    };
    ends.filter_map(|(at, _)| link(at)).collect()
}

/// Whether the source has a test of this name: a function with an attribute above it.
fn has_test(source: &str, name: &str) -> bool {
    let mut attributed = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            attributed = true;
        } else {
            let function = line.trim_start_matches("async ").strip_prefix("fn ");
            let named =
                function.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('));
            if named && attributed {
                return true;
            }
            attributed &= line.starts_with("//") || line.is_empty();
        }
    }
    // Of those for the real component, `suite!` makes one for each way of running instances; of those for the examples,
    // `each_example!` one for each.
    ["suite!(", "each_example!("].iter().any(|made_by| {
        let suite = source.split_once(made_by).and_then(|(_, rest)| rest.split_once(");"));
        suite.is_some_and(|(names, _)| names.split(',').any(|listed| listed.trim() == name))
    })
}

/// The document's links, each of which leads somewhere; those to tests by name.
fn tests_of(document: &str) -> Vec<(String, PathBuf)> {
    let file = root().join(document);
    let text = read(&file);
    let directory = file.parent().expect("it lies in the repository");
    let mut tests = Vec::new();
    for (label, target) in links(&text) {
        let path = directory.join(target.split('#').next().unwrap_or_default());
        assert!(path.exists(), "{document} links to {target}, which does not exist");
        if let Some(name) = label.strip_prefix('`').and_then(|label| label.strip_suffix('`'))
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && path.extension().is_some_and(|extension| extension == "rs")
        {
            assert!(has_test(&read(&path), name), "{document}: {target} has no test {name}");
            tests.push((name.to_owned(), path));
        }
    }
    tests
}

#[test]
fn each_test_that_is_named_exists() {
    for (document, least) in [("SECURITY.md", 30), ("docs/host.md", 40)] {
        let tests = tests_of(document);
        assert!(tests.len() >= least, "{document} names {} tests: {tests:?}", tests.len());
    }
}

#[test]
fn each_row_of_a_table_of_guarantees_names_a_test() {
    for (document, heading, least) in [("SECURITY.md", "| who", 20), ("docs/host.md", "| area", 18)] {
        let text = read(&root().join(document));
        let tables = text.split("\n\n").filter(|block| block.starts_with(heading));
        let rows: Vec<&str> = tables.flat_map(|table| table.lines().skip(2)).collect();
        assert!(rows.len() >= least, "{document} has {} rows", rows.len());
        for row in rows {
            assert!(
                links(row).iter().any(|(label, _)| label.starts_with('`')),
                "{document}: no test in {row}"
            );
        }
    }
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let source = "fn helper() {}\n#[test]\nfn shown() {}\n    #[tokio::test]\n    async fn awaited() {}\n";
    assert!(has_test(source, "shown") && has_test(source, "awaited"));
    assert!(!has_test(source, "helper") && !has_test(source, "show") && !has_test(source, "gone"));
    assert_eq!(links("a [`b`](c.rs) [d](https://e) [f](#g)"), [("`b`", "c.rs")]);
}
