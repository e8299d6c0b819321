//! The yardstick: what a native axum service costs for equal work.

fn main() {}
