//! Settings of components, without the interface by which guests read them.

#[path = "../../host/cli/src/settings/files.rs"]
mod files;
#[path = "../../host/cli/src/settings/name.rs"]
mod name;
#[path = "../../host/cli/src/settings/snapshot.rs"]
mod snapshot;
#[path = "../../host/cli/src/settings/sources.rs"]
mod sources;
#[path = "../../host/cli/src/settings/template.rs"]
mod template;
#[path = "../../host/cli/src/settings/value.rs"]
mod value;

pub use files::{FileError, MAX_FILE_BYTES, MAX_FILES};
pub use name::{InvalidName, Name};
pub use snapshot::Snapshot;
pub use sources::{Assignment, Assignments, InvalidAssignment, SourceError, Sources, Variable, Variables};
pub use template::{InvalidTemplate, Template, UnknownVariable};
pub use value::Value;
