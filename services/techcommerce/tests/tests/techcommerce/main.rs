//! The shop's three services in the real host, chained in one process.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

/// Makes two tests of each function: one with fresh and one with reused instances.
macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        mod fresh { $(#[tokio::test] async fn $test() { Box::pin(super::$test(techcommerce_e2e::Instances::Fresh)).await; })+ }
        mod reused { $(#[tokio::test] async fn $test() { Box::pin(super::$test(techcommerce_e2e::Instances::Reused)).await; })+ }
    };
}

mod purchase;
mod storm;
