//! `wasi:config@0.2.0-draft-2024-09-27`: a component's settings, where their values come from, and how a guest
//! reads them.
//!
//! The manifest declares variables; only declared names are read from anywhere else, so that the host's own
//! environment does not leak into guests. Later sources win:
//!
//! 1. the manifest's `default`
//! 2. the environment variable `NAME`, then `SPIN_VARIABLE_NAME`
//! 3. the file `name` or `NAME` in the settings directory (a mounted ConfigMap or Secret)
//! 4. `--var name=value`
//!
//! A component sees the keys of its `[component.ID.variables]`, each a [`Template`] over those variables.

mod files;
mod name;
mod snapshot;
mod sources;
mod template;
mod value;

pub use files::{FileError, MAX_FILE_BYTES, MAX_FILES};
pub use name::{InvalidName, Name};
pub use snapshot::Snapshot;
pub use sources::{Assignment, Assignments, InvalidAssignment, SourceError, Sources, Variable, Variables};
pub use template::{InvalidTemplate, Template, UnknownVariable};
pub use value::Value;
