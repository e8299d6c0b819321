//! Loads a component: finds its kind, links it, and makes it ready for instantiation.

mod client;
mod error;
mod filesystem;
mod future_errors;
mod imports;
mod kind;
mod linked;
mod linker;
mod listing;
mod response_body;
mod retaining;

pub use error::ComponentError;
pub use imports::{Import, Inspection};
pub use kind::Kind;
pub use linked::{Linked, check_binary};
