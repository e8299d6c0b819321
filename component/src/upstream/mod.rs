//! What all requests to GitHub share: the rate-limit gate, the limit of requests in flight, the token of an app, and the
//! form of outcomes and failures in memory and in the store.

pub mod failure;
pub mod gate;
pub mod installation;
pub mod outcome;
pub mod permits;
