//! Counters and gauges. Each thread counts its requests in memory of its own, so that cores do not contend for it; a
//! scrape adds the threads up.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that only grows.
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

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
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

    /// The present value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Declares an enum whose values are a label's, and a set of counters indexed by it.
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

            /// The counts by their label values, in the order of declaration.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($label, self.$variant.get()),)+].into_iter()
            }
        }
    };
}
