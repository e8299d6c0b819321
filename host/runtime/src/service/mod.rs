//! Runs a request in an instance.
//!
//! Each thread has a [`Dispatch`]: a queue of [`Call`]s, and the instances that take calls from the queue. An
//! instance runs in its own task (`instance::run`), serves many calls, and is replaced after a number of them.

mod body;
mod call;
mod call_table;
mod dispatch;
mod in_flight;
mod instance;
mod lifecycle;
mod pending_heads;
mod proxy_reply;
mod wakeups;

pub use body::GuestBody;
pub use call::{Call, CallError, Content, Reply};
pub use dispatch::{Dispatch, DispatchContext, Limits};
