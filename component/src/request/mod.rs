//! What a client asks for: routing and validation. A request is either valid by construction, or a [`rejection`] says
//! everything that is wrong with it.

pub mod number;
pub mod percent;
pub mod query;
pub mod rejection;
pub mod route;
pub mod target;
pub mod username;
pub mod violation;
