//! Counters and gauges. Each thread counts its requests in its own memory, so cores do not contend for a counter. A
//! scrape adds up the threads' values.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that only grows. All operations are relaxed atomics.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Adds `n`.
    pub fn inc_by(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Returns the present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down. All operations are relaxed atomics.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.sub(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Subtracts `n`.
    pub fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Relaxed);
    }

    /// Returns the present value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Declares an enum whose variants are the values of a label, and a struct with one counter for each variant.
#[macro_export]
macro_rules! labelled_counters {
    ($(#[$doc:meta])* $name:ident, $counters:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        #[doc = concat!("One counter for each [`", stringify!($name), "`].")]
        #[derive(Debug, Default)]
        #[expect(non_snake_case, reason = "one counter a variant, by its name")]
        pub struct $counters { $($variant: $crate::Counter,)+ }

        impl $counters {
            /// Adds one.
            pub fn count(&self, by: $name) {
                match by { $($name::$variant => self.$variant.inc(),)+ }
            }

            /// Returns each label value with its count, in the order of declaration.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($label, self.$variant.get()),)+].into_iter()
            }
        }
    };
}
