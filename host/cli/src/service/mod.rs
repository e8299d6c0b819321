//! A request through an instance.
//!
//! Each thread has a [`Dispatch`]: a queue of [`Call`]s and the instances that take from it. An instance lives in
//! a task of its own ([`instance::run`]), serves many calls at once, and is replaced after a number of them.

mod board;
mod body;
mod call;
mod dispatch;
mod flight;
mod heads;
mod instance;

pub(crate) use body::GuestBody;
pub(crate) use call::{Call, CallError, Content, Reply};
pub(crate) use dispatch::{Dispatch, Limits};
