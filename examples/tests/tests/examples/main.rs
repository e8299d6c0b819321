//! Components that other tool chains made, in the real host. Each is tested for the same behaviours (`examples/README.md`).
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use crate::harness::Example;

include!(concat!(env!("OUT_DIR"), "/examples.rs"));

mod behaviours;
mod figures;
mod harness;
mod inspection;
mod limits;
mod table;
