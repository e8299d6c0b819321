//! What was asked: valid by construction, or a list of all that is wrong with it.

pub mod number;
pub mod percent;
pub mod query;
pub mod route;
pub mod username;
pub mod violation;
