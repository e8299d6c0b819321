//! A component, loaded: told by its exports, linked, and ready to be instantiated.

mod client;
mod error;
mod imports;
mod kind;
mod linked;
mod linker;

pub use error::ComponentError;
pub use imports::{Import, Inspection};
pub use kind::Kind;
pub use linked::{Linked, check_binary};
