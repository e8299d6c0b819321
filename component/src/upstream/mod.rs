//! What all requests to GitHub share: the rate-limit gate, the limit of requests in flight, and the form of outcomes
//! and failures in memory and in the store.

pub mod failure;
pub mod gate;
pub mod outcome;
pub mod permits;
