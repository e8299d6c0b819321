//! A server that runs WASI HTTP components, and knows nothing of what they do.

pub mod histogram;
pub mod keyvalue;
pub mod outbound;
pub mod settings;
