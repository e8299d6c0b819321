//! Singleflight: of all requests for the same page, one asks GitHub and the others share its outcome. Within an
//! instance, requests join a [`call`] in memory. Across instances and pods, a [`lease`] in the store elects the one
//! that asks.

pub mod call;
pub mod lease;
