//! The graph of one level of a crate, and its cycles.
//!
//! A level is a module together with its submodules. Each submodule is a node, with all that lies in it. The module's own code, that of its
//! own file, is a node, too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    module::{ModuleId, Tree},
    references::Reference,
};

/// A node of a level: a submodule, or the level's module itself, which stands for its own code.
pub(crate) type Node = ModuleId;

/// The references from one node to another.
pub(crate) type Edges<'a> = BTreeMap<(Node, Node), Vec<&'a Reference>>;

/// The edges of each level, by the level's module.
pub(crate) fn levels<'a>(tree: &Tree, references: &'a [Reference]) -> BTreeMap<ModuleId, Edges<'a>> {
    let mut levels: BTreeMap<ModuleId, Edges<'a>> = BTreeMap::new();
    for reference in references {
        let (level, from, to) = place(tree, reference);
        levels.entry(level).or_default().entry((from, to)).or_default().push(reference);
    }
    levels
}

/// The innermost module that has both ends of the reference, and the ends as nodes of that level.
fn place(tree: &Tree, reference: &Reference) -> (ModuleId, Node, Node) {
    let downwards = |id| {
        let mut ids: Vec<ModuleId> = tree.ancestors(id).collect();
        ids.reverse();
        ids
    };
    let (from, to) = (downwards(reference.from), downwards(reference.to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let level = shared.checked_sub(1).and_then(|last| from.get(last)).copied().unwrap_or(reference.from);
    (level, from.get(shared).copied().unwrap_or(level), to.get(shared).copied().unwrap_or(level))
}

/// The groups of nodes that reach one another, each of two nodes or more.
pub(crate) fn knots(edges: &BTreeSet<(Node, Node)>) -> Vec<BTreeSet<Node>> {
    let mut reach: BTreeMap<Node, BTreeSet<Node>> = BTreeMap::new();
    for &(from, _) in edges {
        reach.entry(from).or_insert_with(|| reachable(edges, from));
    }
    let mut knots: Vec<BTreeSet<Node>> = Vec::new();
    for (&node, reached) in &reach {
        if !reached.contains(&node) || knots.iter().any(|knot| knot.contains(&node)) {
            continue;
        }
        let knot = reached
            .iter()
            .copied()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(&node)))
            .collect();
        knots.push(knot);
    }
    knots
}

/// All nodes that can be reached from `start` by one edge or more.
fn reachable(edges: &BTreeSet<(Node, Node)>, start: Node) -> BTreeSet<Node> {
    let mut reached = BTreeSet::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        for &(from, to) in edges {
            if from == at && reached.insert(to) {
                waiting.push_back(to);
            }
        }
    }
    reached
}

/// The shortest way from `start` to `end`, both included; `None` where there is none.
fn way(edges: &BTreeSet<(Node, Node)>, start: Node, end: Node) -> Option<Vec<Node>> {
    let mut before: BTreeMap<Node, Node> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        if at == end {
            let mut way: Vec<Node> =
                std::iter::successors(Some(end), |node| before.get(node).copied()).collect();
            way.reverse();
            return Some(way);
        }
        for &(from, to) in edges {
            if from == at && to != start && !before.contains_key(&to) {
                before.insert(to, at);
                waiting.push_back(to);
            }
        }
    }
    None
}

/// Cycles that together cover the knot: first each pair whose nodes use each other, then a shortest cycle through each node that is in
/// no pair. The first node is not repeated at the end.
pub(crate) fn cycles(edges: &BTreeSet<(Node, Node)>, knot: &BTreeSet<Node>) -> Vec<Vec<Node>> {
    let inside: BTreeSet<(Node, Node)> =
        edges.iter().copied().filter(|(from, to)| knot.contains(from) && knot.contains(to)).collect();
    let mut cycles: Vec<Vec<Node>> = inside
        .iter()
        .filter(|&&(from, to)| from < to && inside.contains(&(to, from)))
        .map(|&(from, to)| vec![from, to])
        .collect();
    for &node in knot {
        if cycles.iter().any(|cycle| cycle.contains(&node)) {
            continue;
        }
        let shortest = inside
            .iter()
            .filter(|&&(from, _)| from == node)
            .filter_map(|&(_, to)| way(&inside, to, node))
            .min_by_key(Vec::len);
        cycles.extend(shortest);
    }
    cycles
}
