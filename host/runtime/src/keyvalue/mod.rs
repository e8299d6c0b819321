//! `wasi:keyvalue@0.2.0-draft2`: the functions that give a guest access to its stores.
//!
//! Where a component is granted none but local stores, the interface is linked with synchronous host functions: such a call
//! costs no fiber switch, and the other requests of the instance lose nothing. A remote store has to be waited for, and the
//! whole instance with it: it is linked with asynchronous host functions, and the instance says that it stands still
//! ([`OnWait`]), so that others take over.

mod client;
mod link;

pub(crate) use client::{Client, OnWait};
pub(crate) use link::add_to_linker;
