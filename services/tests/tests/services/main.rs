//! The services of `services/`, in the real host. One file for each system; each test runs with fresh and with reused instances.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

/// Makes two tests of each function: one with fresh and one with reused instances.
macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        mod fresh { $(#[tokio::test] async fn $test() { Box::pin(super::$test(e2e::Instances::Fresh)).await; })+ }
        mod reused { $(#[tokio::test] async fn $test() { Box::pin(super::$test(e2e::Instances::Reused)).await; })+ }
    };
}

mod alike;
mod greeting;
mod manifests;
mod my_app;
mod platform;
mod run;
mod upstream;
