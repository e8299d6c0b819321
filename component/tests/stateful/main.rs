//! Tests of the service with fakes of its platform and a paused clock: many requests, instances and crashes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy applies its exceptions for tests only to functions with #[test], not to the functions that they call"
)]

mod fake;
#[path = "../../src/crypto/test_keys.rs"]
mod test_keys;

mod app;
mod bypass;
mod counting;
mod eviction;
mod failures;
mod formats;
mod gate;
mod generations;
mod lease_model;
mod requests;
mod rings;
mod singleflight;
mod staleness;
mod version;
