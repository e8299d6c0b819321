//! Changes to the node's files. They are planned first, applied together, and undone if containerd does not start again.

use std::path::PathBuf;

use crate::{error::Result, node::Node};

/// Mode of new files: containerd's configuration is readable for everyone.
const MODE: u32 = 0o644;

/// A change of one file's content. `None` stands for "no such file".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file's path on the node.
    pub path: PathBuf,
    /// The content before the change.
    pub before: Option<String>,
    /// The content after the change.
    pub after: Option<String>,
}

impl Change {
    fn write(&self, node: &Node, content: Option<&str>) -> Result<()> {
        match content {
            Some(content) => node.write(&self.path, content.as_bytes(), MODE),
            None => node.remove(&self.path),
        }
    }

    /// The kind of change as a verb, for a progress line.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "writes",
            (_, None) => "removes",
            _ => "changes",
        }
    }
}

/// Applies all changes. If one fails, the changes before it are undone.
///
/// # Errors
/// The error of the change that failed, or of undoing the others.
pub fn apply(node: &Node, changes: &[Change]) -> Result<()> {
    for (applied, change) in changes.iter().enumerate() {
        if let Err(error) = change.write(node, change.after.as_deref()) {
            undo(node, changes.get(..applied).unwrap_or_default())?;
            return Err(error);
        }
    }
    Ok(())
}

/// Restores the content before the changes, in reverse order.
///
/// # Errors
/// The error of the first file that cannot be restored.
pub fn undo(node: &Node, changes: &[Change]) -> Result<()> {
    changes.iter().rev().try_for_each(|change| change.write(node, change.before.as_deref()))
}
