//! This crate has tests only (`tests/`).
