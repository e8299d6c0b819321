//! Components that other tool chains made, in the real host: each is asked for the same behaviours (`examples/README.md`).
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod harness;

/// Makes tests of the functions named, one for each example.
macro_rules! each_example {
    ($($test:ident),+ $(,)?) => {
        each_example!(@ javascript, crate::harness::JAVASCRIPT; $($test),+);
        each_example!(@ python, crate::harness::PYTHON; $($test),+);
        each_example!(@ python_p3, crate::harness::PYTHON_P3; $($test),+);
        each_example!(@ go, crate::harness::GO; $($test),+);
        each_example!(@ rust_wstd, crate::harness::RUST_WSTD; $($test),+);
        each_example!(@ rust_spin_sdk, crate::harness::RUST_SPIN_SDK; $($test),+);
    };
    (@ $module:ident, $example:expr; $($test:ident),+) => {
        mod $module { $(#[tokio::test] async fn $test() { Box::pin(super::$test(&$example)).await; })+ }
    };
}

mod behaviours;
mod figures;
mod inspection;
mod limits;
