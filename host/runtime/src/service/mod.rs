//! A request through an instance.
//!
//! Each thread has a [`Dispatch`]: a queue of [`Call`]s and the instances that take from it. An instance lives in
//! a task of its own ([`instance::run`]), serves many calls at once, and is replaced after a number of them.

mod body;
mod call;
mod call_table;
mod dispatch;
mod in_flight;
mod instance;
mod pending_heads;

pub use body::GuestBody;
pub use call::{Call, CallError, Content, Reply};
pub use dispatch::{Dispatch, Limits};
