//! The contract, asked of the real host with the real component: one file a behaviour, each test with fresh and with
//! reused instances.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

/// Makes tests of the functions named: each runs with fresh and with reused instances.
macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        mod fresh { $(#[tokio::test] async fn $test() { Box::pin(super::$test(e2e::harness::Instances::Fresh)).await; })+ }
        mod reused { $(#[tokio::test] async fn $test() { Box::pin(super::$test(e2e::harness::Instances::Reused)).await; })+ }
    };
}

mod answers;
mod bodies;
mod caching;
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
mod routes;
mod settings;
mod shutdown;
mod spin_store;
mod stale;
mod stats;
mod traces;
mod upstream;
mod validation;
