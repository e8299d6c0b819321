//! A fake GitHub: generated users and gists by default, any misbehaviour on demand, and a journal of the requests.
//!
//! The fake writes HTTP/1.1 by hand: a server library refuses to send what a broken server sends.

mod app;
mod cases;
mod common;
mod connection;
mod control;
mod deliver;
mod demo_data;
mod github;
mod journal;
mod lock;
mod random;
mod request;
mod response;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod unreachable;
mod users;

pub use app::AppKey;
pub use cases::Case;
pub use journal::{Call, Journal};
pub use response::{Delivery, ScriptedResponse};
pub use server::{FakeGitHub, Hold};
pub use state::{APP, EVERYONE};
pub use unreachable::Unreachable;
pub use users::{File, Gist, User, Users};
