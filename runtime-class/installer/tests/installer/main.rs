//! The installer on the files of nodes as they are found: installing, again, and removing.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod containerds;
mod labels;
mod lifecycle;
mod nodes;
mod refusals;
