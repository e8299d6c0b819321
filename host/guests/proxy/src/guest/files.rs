//! Behaviours that take files of the host, in the first mounted directory.

use std::mem::forget;

use wasip2::filesystem::{
    preopens::get_directories,
    types::{DescriptorFlags, OpenFlags, PathFlags},
};

/// Carries out a behaviour, until the host refuses. What was opened stays open. Returns how often the host did not
/// refuse, and its error.
pub(super) fn act(what: &str, number: u64, path: &str) -> String {
    let (directory, _) = get_directories().swap_remove(0);
    let open =
        || directory.open_at(PathFlags::empty(), path, OpenFlags::empty(), DescriptorFlags::READ).map(forget);
    for done in 0..number {
        let refused = match what {
            "descriptors" => open().err(),
            _ => directory.read_directory().map(forget).err(),
        };
        if let Some(error) = refused {
            return format!("{done} {}", error.name());
        }
    }
    format!("{number} all")
}

/// The number of entries of the directory.
pub(super) fn count() -> String {
    let (directory, _) = get_directories().swap_remove(0);
    let entries = directory.read_directory().expect("the directory can be read");
    let mut count = 0;
    while entries.read_directory_entry().expect("each entry has a name").is_some() {
        count += 1;
    }
    // The end stays the end.
    let end = entries.read_directory_entry().map(|entry| entry.is_none());
    format!("{count} {end:?}")
}
