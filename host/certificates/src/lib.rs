//! Certificates, keys and authorities from PEM files, and their replacement when the files change.
//!
//! - [`PairFiles`]: a certificate with its chain, and its key.
//! - [`AuthorityFile`]: certificates to trust.
//! - [`Watched`]: what such files hold. Valid new contents replace the old ones, and invalid contents leave them in use.
//! - [`Names`]: the names in a certificate, for people.

mod authorities;
mod der;
mod file;
mod names;
mod pair;
mod validity;
mod watched;

pub use authorities::{AuthorityFile, RootsError};
pub use names::Names;
pub use pair::{Pair, PairError, PairFiles};
pub use watched::{CHECK_INTERVAL, Change, Source, Watched};
