//! The installer on the files of real distributions: installation, repeated installation, removal, refusals, and the label.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod containerds;
mod labels;
mod lifecycle;
mod nodes;
mod refusals;
mod services;
