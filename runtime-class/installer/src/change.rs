//! Changes to the node's files: planned first, then made together, and undone when containerd does not like them.

use std::path::PathBuf;

use crate::{error::Result, node::Node};

/// containerd runs as root, and others may read how.
const MODE: u32 = 0o644;

/// A file before and after; `None` is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// On the node.
    pub path: PathBuf,
    /// What is there now.
    pub before: Option<String>,
    /// What is to be there.
    pub after: Option<String>,
}

impl Change {
    fn put(&self, node: &Node, content: Option<&str>) -> Result<()> {
        match content {
            Some(content) => node.write(&self.path, content.as_bytes(), MODE),
            None => node.remove(&self.path),
        }
    }

    /// For the log.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "writes",
            (_, None) => "removes",
            _ => "changes",
        }
    }
}

/// Makes all changes, or none: at the first failure what was made is undone.
///
/// # Errors
/// What the failing change met.
pub fn make(node: &Node, changes: &[Change]) -> Result<()> {
    for (made, change) in changes.iter().enumerate() {
        if let Err(error) = change.put(node, change.after.as_deref()) {
            undo(node, changes.get(..made).unwrap_or_default())?;
            return Err(error);
        }
    }
    Ok(())
}

/// Brings back what was there, in the reverse order.
///
/// # Errors
/// What the failing change met.
pub fn undo(node: &Node, changes: &[Change]) -> Result<()> {
    changes.iter().rev().try_for_each(|change| change.put(node, change.before.as_deref()))
}
