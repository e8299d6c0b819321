//! The host's readers, without the runtime that they serve: instrumented, that would take a quarter of an hour to build.
//!
//! They are the host's own files. One that comes to need a module which is not here shows when this crate is built.

pub mod config;
mod keyvalue {
    pub(crate) const DEFAULT_STORE: &str = "default";
}
#[path = "../../host/cli/src/manifest/mod.rs"]
#[expect(dead_code, reason = "nothing is reloaded here")]
pub mod manifest;
pub mod outbound;
#[path = "../../host/cli/src/keyvalue/redis/address.rs"]
pub mod redis;
#[expect(dead_code, reason = "what guests read settings by is not here")]
pub mod settings;
#[path = "../../host/cli/src/random.rs"]
#[expect(dead_code, reason = "nothing is drawn here")]
mod random;
#[expect(dead_code, reason = "spans are not begun here")]
pub mod trace;

pub mod oracle;
