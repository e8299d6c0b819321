//! The stateful half over fakes, under a paused clock: many requests, instances and crashes, and no waiting.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes only functions with #[test] for tests, not what they call"
)]

mod fake;

mod bypass;
mod counting;
mod failures;
mod gate;
mod generations;
mod lease_model;
mod requests;
mod rings;
mod single_flight;
mod staleness;
