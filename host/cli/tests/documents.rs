//! Links between documents lead somewhere. What SECURITY.md and docs/host.md name as shown by a test is: each link's test exists, and
//! each row has one.

#![expect(clippy::panic, reason = "a test that finds something else than it expects is to fail there")]

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in the workspace")
        .to_owned()
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
        (!target.contains("://") && !target.starts_with("mailto:")).then_some((label, target))
    };
    ends.filter_map(|(at, _)| link(at)).collect()
}

/// A document's lines that are not a block of code's.
fn prose(text: &str) -> String {
    let mut code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What links to a document's headings are called, by GitHub's rule.
fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for line in prose(text).lines() {
        let heading = line.trim_start_matches('#');
        let Some(heading) = heading.strip_prefix(' ').filter(|_| line.starts_with('#')) else { continue };
        let anchor: String = (heading.trim().to_lowercase().chars())
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let another = (0..).map(|n| if n == 0 { anchor.clone() } else { format!("{anchor}-{n}") });
        anchors.extend(another.into_iter().find(|name| !anchors.contains(name)));
    }
    anchors
}

/// The repository's documents; neither what was built nor what others brought.
fn documents(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("it is there").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() || name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            documents(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
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

/// The document's links to tests by name.
fn tests_of(document: &str) -> Vec<(String, PathBuf)> {
    let file = root().join(document);
    let text = read(&file);
    let directory = file.parent().expect("it lies in the repository");
    let mut tests = Vec::new();
    for (label, target) in links(&text) {
        let path = directory.join(target.split('#').next().unwrap_or_default());
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
fn each_link_leads_somewhere() {
    let mut found = Vec::new();
    documents(&root(), &mut found);
    assert!(found.len() >= 15, "documents that were found: {found:?}");
    for file in found {
        let text = read(&file);
        for (label, target) in links(&prose(&text)) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if path.is_empty() { file.clone() } else { file.with_file_name(path) };
            let from = file.display();
            assert!(there.exists(), "{from}: [{label}]({target}) does not exist");
            assert!(
                anchor.is_empty() || anchors(&read(&there)).contains(anchor),
                "{from}: [{label}]({target}): no such heading"
            );
        }
    }
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
                links(row).iter().any(|(label, target)| label.starts_with('`') && !target.starts_with('#')),
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
    assert_eq!(links("a [`b`](c.rs) [d](https://e) [f](#g)"), [("`b`", "c.rs"), ("f", "#g")]);
}

#[test]
fn headings_are_called_as_they_are_linked_to() {
    let text = "# The host: `x-y`\n## Of 2 kinds\n```\n# no heading\n```\n#nor this\n## Of 2 kinds\n";
    let expected = ["the-host-x-y", "of-2-kinds", "of-2-kinds-1"].map(str::to_owned);
    assert_eq!(anchors(text), HashSet::from(expected));
}
