//! The API's contract, tested with the real host and the real component. One file for each subject; each test runs with fresh and with
//! reused instances.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

/// Makes two tests of each function: one with fresh and one with reused instances.
macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        mod fresh { $(#[tokio::test] async fn $test() { Box::pin(super::$test(e2e::Instances::Fresh)).await; })+ }
        mod reused { $(#[tokio::test] async fn $test() { Box::pin(super::$test(e2e::Instances::Reused)).await; })+ }
    };
}

mod answers;
mod app;
mod bodies;
mod caching;
mod cases;
mod clients;
mod documents;
mod expect;
mod flight;
mod golden;
mod imports;
mod metrics;
mod pages;
mod provider;
mod random;
mod rate;
mod redis;
mod response_cache;
mod routes;
mod settings;
mod shutdown;
mod spin_store;
mod stale;
mod stats;
mod traces;
mod upstream;
mod validation;
