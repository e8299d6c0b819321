//! A component's settings, which the guest reads through `wasi:config@0.2.0-draft-2024-09-27`, and the sources of
//! their values.
//!
//! The manifest declares variables. The host reads only declared names from the other sources, so that the host's own
//! environment does not leak into guests, and refuses the names of variables that the host reads for itself
//! ([`wasi_http_host_core::environment`]). A later source overrides an earlier one:
//!
//! 1. the manifest's `default`
//! 2. the environment variable `NAME`, then `SPIN_VARIABLE_NAME`
//! 3. the file `name` or `NAME` in the settings directory (a mounted ConfigMap or Secret)
//! 4. `--var name=value`
//!
//! A component sees the keys of its `[component.ID.variables]`. The value of each key is a [`Template`] over the
//! variables.

mod files;
mod name;
mod snapshot;
mod sources;
mod template;
mod value;

pub use files::{FileError, MAX_FILE_BYTES, MAX_FILES};
pub use name::{InvalidName, Name, ReservedName};
pub use snapshot::Snapshot;
pub use sources::{Assignment, Assignments, InvalidAssignment, SourceError, Sources, Variable, Variables};
pub use template::{InvalidTemplate, Template, UnknownVariable};
pub use value::Value;
