//! The first rule: no two modules of a crate use each other, directly or around others.

use std::{collections::BTreeSet, fmt::Write, path::Path};

use crate::{
    config::Exception,
    graph::{self, Edges, Node},
    module::Tree,
    references,
};

/// How many references are shown for each direction of a cycle.
const SHOWN: usize = 4;

/// Says each cycle in the crates of `package` (its library, its programs), and each exception that is not needed.
///
/// Paths are shown relative to `root`.
pub(crate) fn check(package: &str, crates: &[Tree], exceptions: &[Exception], root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut needed: Vec<&Exception> = Vec::new();
    for tree in crates {
        let references = references::find(tree);
        for edges in graph::levels(tree, &references).values() {
            let (removed, kept) = apply(tree, edges, exceptions);
            needed.extend(removed);
            for knot in graph::knots(&kept) {
                wrong.push(describe(package, tree, edges, &kept, &knot, root));
            }
        }
    }
    for exception in exceptions {
        if !needed.iter().any(|&other| std::ptr::eq(other, exception)) {
            wrong.push(format!(
                "{package}: the exception {} -> {} is not needed: remove it from the list",
                exception.from, exception.to
            ));
        }
    }
    wrong
}

/// The edges without those that an exception allows, and the exceptions that break a cycle which nothing else breaks.
fn apply<'e>(
    tree: &Tree,
    edges: &Edges<'_>,
    exceptions: &'e [Exception],
) -> (Vec<&'e Exception>, BTreeSet<(Node, Node)>) {
    let mut kept: BTreeSet<(Node, Node)> = edges.keys().copied().collect();
    let mut allowed = Vec::new();
    for exception in exceptions {
        let edge = kept
            .iter()
            .copied()
            .find(|&(from, to)| tree.path(from) == exception.from && tree.path(to) == exception.to);
        if let Some(edge) = edge {
            kept.remove(&edge);
            allowed.push((exception, edge));
        }
    }
    let mut needed = Vec::new();
    for (exception, edge) in allowed {
        kept.insert(edge);
        if graph::knots(&kept).iter().any(|knot| knot.contains(&edge.0) && knot.contains(&edge.1)) {
            kept.remove(&edge);
            needed.push(exception);
        }
    }
    (needed, kept)
}

fn describe(
    package: &str,
    tree: &Tree,
    edges: &Edges<'_>,
    kept: &BTreeSet<(Node, Node)>,
    knot: &BTreeSet<Node>,
    root: &Path,
) -> String {
    let names: Vec<String> = knot.iter().map(|&node| tree.path(node)).collect();
    let mut text = format!("{package}: {} modules use one another: {}", knot.len(), names.join(", "));
    for cycle in graph::cycles(kept, knot) {
        let next = cycle.iter().cycle().skip(1);
        for (&from, &to) in cycle.iter().zip(next) {
            let uses = edges.get(&(from, to)).map_or(&[][..], Vec::as_slice);
            let _ = write!(text, "\n  {} -> {} ({})", tree.path(from), tree.path(to), uses.len());
            for reference in uses.iter().take(SHOWN) {
                let file = &tree.get(reference.from).file;
                let file = file.strip_prefix(root).unwrap_or(file).display();
                let _ = write!(text, "\n      {file}:{}: {}", reference.line, tree.path(reference.to));
                if let Some(item) = &reference.item {
                    let _ = write!(text, "::{item}");
                }
            }
            if uses.len() > SHOWN {
                let _ = write!(text, "\n      …");
            }
        }
        text.push('\n');
    }
    text
}
