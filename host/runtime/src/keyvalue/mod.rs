//! `wasi:keyvalue@0.2.0-draft2`: the functions that give a guest access to its stores.
//!
//! - [`operations`] is the table of operations.
//! - [`functions`] links each of them: it counts, traces and asks the store.
//! - [`client`] is what an instance holds: its access, and compare-and-swaps that have begun.
//!
//! Where all stores of a component are local, the interface is linked with synchronous functions: a call costs no fiber switch, and
//! the instance serves its other requests. Otherwise it is linked with asynchronous functions. While such a function waits, the whole
//! instance waits, and says so ([`OnWait`]): other instances take its calls.

mod client;
mod functions;
mod limits;
mod operations;

pub(crate) use client::{Client, MAX_CAS_BYTES, OnWait};
pub(crate) use operations::add_to_linker;
