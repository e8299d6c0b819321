//! Settings of components, without the interface by which guests read them.

#[path = "../../host/src/settings/files.rs"]
mod files;
#[path = "../../host/src/settings/name.rs"]
mod name;
#[path = "../../host/src/settings/snapshot.rs"]
mod snapshot;
#[path = "../../host/src/settings/sources.rs"]
mod sources;
#[path = "../../host/src/settings/template.rs"]
mod template;
#[path = "../../host/src/settings/value.rs"]
mod value;

pub use files::{FileError, MAX_FILE_BYTES, MAX_FILES};
pub use name::{InvalidName, Name};
pub use snapshot::Snapshot;
pub use sources::{Assignment, Assignments, InvalidAssignment, SourceError, Sources, Variable, Variables};
pub use template::{InvalidTemplate, Template, UnknownVariable};
pub use value::Value;
